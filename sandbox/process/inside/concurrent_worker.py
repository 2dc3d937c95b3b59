"""Answers several events at once in one Python instance: coroutines on one
event loop, plain functions on threads. What is printed goes out with the event
that it belongs to."""
import asyncio
import concurrent.futures.thread  # now: what it imports may be the code's own later
import contextvars
import inspect
import io
import sys

import worker

current = contextvars.ContextVar('event')


class Tagged(io.TextIOBase):
    """A standard stream whose lines are frames with their event's number."""

    def __init__(self, pipe, number, plain):
        self.pipe, self.number, self.plain = pipe, bytes([number]), plain
        self.rest = contextvars.ContextVar('rest', default='')

    encoding = 'utf-8'

    def writable(self):
        return True

    def fileno(self):
        return self.plain.fileno()

    def write(self, text):
        sequence = current.get(None)
        if sequence is None:
            return self.plain.write(text)
        lines = (self.rest.get() + text).split('\n')
        self.rest.set(lines.pop())
        for line in lines:
            self.pipe.send('L', sequence, self.number + line.encode('utf-8', 'replace'))
        return len(text)

    def flush(self):
        sequence = current.get(None)
        if sequence is None:
            self.plain.flush()
        elif self.rest.get():
            self.pipe.send('L', sequence, self.number + self.rest.get().encode('utf-8', 'replace'))
            self.rest.set('')


class ConcurrentWorker(worker.Worker):
    async def answer_one(self, loop, pool, sequence, body):
        current.set(sequence)
        try:
            event, http, payload = self.parse(body)
            context = contextvars.copy_context()
            if getattr(self.handle, 'is_async', False):
                result = self.handle(payload, http, event)
            else:
                result = await loop.run_in_executor(pool, context.run, self.in_thread, payload, http, event)
            if inspect.isawaitable(result):
                result = await result
            if hasattr(result, '__anext__'):
                result = iter([chunk async for chunk in result])
            worker.flush()
            await loop.run_in_executor(pool, self.answer, sequence, result, http)
        except SystemExit as e:
            worker.leave(e)
        except BaseException as e:
            worker.flush()
            self.fail(sequence, e)

    def in_thread(self, payload, http, event):
        result = self.handle(payload, http, event)
        worker.flush()
        return result

    async def run_all(self):
        loop = asyncio.get_running_loop()
        pool = concurrent.futures.ThreadPoolExecutor(self.start['concurrency'])
        reader = concurrent.futures.ThreadPoolExecutor(1)
        tasks = set()
        while True:
            frame = await loop.run_in_executor(reader, self.pipe.read)
            if frame is None:
                worker.leave(None)
            task = loop.create_task(self.answer_one(loop, pool, frame[1], frame[2]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


def serve(start, pipe, handle):
    worker.encoder = None  # it is for one thread
    sys.stdout = Tagged(pipe, 1, sys.stdout)
    sys.stderr = Tagged(pipe, 2, sys.stderr)
    w = ConcurrentWorker(start, pipe, handle)
    pipe.send('R', 0, b'')
    asyncio.run(w.run_all())

"""What runs in every Python instance: it loads the function through the shim
of its contract and answers events, or runs the code as a program.

A frame is, little-endian, length (4 bytes, of what follows), type (1),
sequence (4), body. From the platform come events, E: deadline in ms since
1970 (8, float), length of the id (1), id, length of the head (4), head in JSON,
payload. The head is that of an HTTP request, or the contentType of a payload
that is not JSON; mostly there is none. The worker says R when ready, A with an answer (1 byte
kind: 0 JSON, 1 text, 2 bytes), H, C and Z for head, chunk and end of a
streamed answer, F with a failure {type, message, stack}, L with a line of
log (1 byte: 1 stdout, 2 stderr).

This file is for Python 2.7 as well as 3.
"""
import json
import os
import struct
import sys
import threading
import time
import traceback

HEADER = struct.Struct('<IBI')
LENGTH = struct.Struct('<I').unpack_from
EVENT = struct.Struct('<dB').unpack_from
FRAME = struct.Struct('<IBIdB').unpack_from  # one of an event, up to the id
NO_HEAD = b'\0\0\0\0'
ANSWER = ord('A')
MORE = 1 << 16
JSON, TEXT, BYTES = b'\0', b'\1', b'\2'
OWN = os.path.join(os.path.dirname(os.path.abspath(__file__)), '')
code = '/fn'  # folder of the bundle; a stack says "/fn" wherever it is
MODULES = OWN + 'lib/python'
client = None  # code of the module rouse, where a zygote has compiled it
text = type(u'')
library = json.JSONEncoder(separators=(',', ':'), ensure_ascii=False, allow_nan=False)


def keep_encoder():
    """Returns the encoder in C that the library makes anew for each value, and the
    dict in which it notes where it is. To keep it makes an answer shorter, and
    touches a fifth less memory: where many functions take turns, each page that
    one touches takes longer than what is done there. It is None where this
    Python has another, or none."""
    within = {}
    if sys.version_info[0] < 3:
        return None, within
    try:
        encoder = json.encoder.c_make_encoder(within, library.default, json.encoder.encode_basestring, None, ':', ',', False, False, False)
        sample = {'a': [1, 2.5, u'\xe4"', None, True, {}]}
        return (encoder if ''.join(encoder(sample, 0)) == library.encode(sample) else None), within
    except Exception:
        return None, within


encoder, within = keep_encoder()


def dumps(value):
    """Writes a value as JSON. Only one thread may be here."""
    if encoder is None:
        return library.encode(value)
    try:
        return ''.join(encoder(value, 0))
    except BaseException:
        within.clear()
        raise


decode = json.JSONDecoder().decode
scan = json.JSONDecoder().scan_once


def loads(written):
    """Reads JSON as the library does, which first looks for white space."""
    try:
        value, end = scan(written, 0)
    except StopIteration:
        return decode(written)
    return value if end == len(written) else decode(written)


class Context(object):
    """What a function may know of its invocation. What is the same for all of an
    instance is the class's."""
    __slots__ = ('activation', 'deadline', 'content_type')
    function = namespace = version = memory = None

    def __init__(self, activation, deadline):
        self.activation = activation
        self.deadline = deadline
        self.content_type = ''  # of an event that is neither JSON nor an HTTP request

    @classmethod
    def of(cls, start):
        """Says what is the same for all."""
        cls.function, cls.namespace = start['name'], start['namespace']
        cls.version, cls.memory = start['version'], start['memory']

    def remaining_ms(self):
        """Milliseconds until the platform ends the call."""
        return max(0, self.deadline - time.time() * 1000)


class Pipe(object):
    """The frames from and to the platform."""

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.buffer = b''
        self.lock = threading.Lock()

    def read(self):
        """Returns the type, sequence and body of the next frame; None at the end."""
        buffer = self.buffer
        while len(buffer) < 4:
            more = os.read(self.source, MORE)
            if not more:
                return None
            buffer = buffer + more if buffer else more
        end = 4 + LENGTH(buffer)[0]
        if len(buffer) < end:
            parts, have = [buffer], len(buffer)
            while have < end:
                more = os.read(self.source, max(MORE, min(end - have, 1 << 20)))
                if not more:
                    return None
                parts.append(more)
                have += len(more)
            buffer = b''.join(parts)
        _, kind, sequence = HEADER.unpack_from(buffer)
        self.buffer = buffer[end:]
        return kind, sequence, buffer[9:end]

    def write(self, data):
        written = os.write(self.sink, data)
        while written < len(data):
            data = data[written:]
            written = os.write(self.sink, data)

    def send(self, kind, sequence, body):
        data = HEADER.pack(len(body) + 5, ord(kind), sequence) + body
        with self.lock:
            self.write(data)


class AnswerTooLarge(Exception):
    """The answer exceeds the function's limit."""
    __module__ = 'builtins'


class NotJSON(TypeError):
    """The answer can't be written as JSON."""
    __module__ = 'builtins'


def failure(e):
    """Describes an exception as its language prints it, without our own frames."""
    kind, _, trace = type(e), e, sys.exc_info()[2]
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OWN):
        trace = trace.tb_next
    lines = traceback.format_exception(kind, e, trace)
    name = kind.__name__
    try:
        message = text(e)
    except Exception:
        message = repr(e)
    return {'type': name, 'message': cut(message), 'stack': cut(''.join(lines).replace(code + '/', '/fn/'))}


def cut(said, most=1 << 16):
    """Leaves out the middle of a text that nobody would read."""
    if len(said) <= most:
        return said
    return '%s ... %d more ... %s' % (said[:most // 2], len(said) - most, said[-most // 2:])


def encode(value, limit):
    try:
        out = dumps(value).encode('utf-8')
    except (TypeError, ValueError, RecursionError if sys.version_info[0] > 2 else RuntimeError) as e:
        refusal = NotJSON('the result is not JSON: %s' % e)
        refusal.__suppress_context__ = True  # what the encoder saw tells nobody more
        raise refusal
    if len(out) > limit:
        raise AnswerTooLarge('the answer has %d bytes; the limit is %d' % (len(out), limit))
    return out


def decoded(body):
    """Decodes a body in base64, of one line or several."""
    import base64
    written = ''.join(body.split())
    try:
        raw = base64.b64decode(written)
        if base64.b64encode(raw).decode('ascii') == written:
            return raw
    except (TypeError, ValueError):
        pass
    raise ValueError('isBase64Encoded is set, and the body is not in base64')


class Worker(object):
    """Answers events with a handler that the contract's shim made."""

    def __init__(self, start, pipe, handle):
        self.start, self.pipe, self.handle = start, pipe, handle
        Context.of(start)
        self.limit = start['answer']
        self.loop = None

    def parse(self, body):
        deadline, length = EVENT(body)
        at = 9 + length
        activation = body[9:at].decode()
        size, = LENGTH(body, at)
        at += 4
        context, http = Context(activation, deadline), None
        if size:
            http = json.loads(body[at:at + size].decode('utf-8'))
            at += size
            if 'method' not in http:
                context.content_type, http = http['contentType'], None
        return context, http, body[at:]

    def answer(self, sequence, result, http):
        """Sends what a handler returned."""
        if hasattr(result, '__next__') or hasattr(result, 'next'):
            return self.stream(sequence, 200, {}, result)
        if http is not None:
            if isinstance(result, dict) and isinstance(result.get('status', result.get('statusCode')), int):
                return self.respond(sequence, result)
            if isinstance(result, text):
                return self.plain(sequence, TEXT, result.encode('utf-8'))
        if isinstance(result, (bytes, bytearray)) and (http is not None or bytes is not str):  # Python 2 has one type for both
            return self.plain(sequence, BYTES, bytes(result))
        self.pipe.send('A', sequence, JSON + encode(result, self.limit))

    def plain(self, sequence, kind, body):
        if len(body) > self.limit:
            raise AnswerTooLarge('the answer has %d bytes; the limit is %d' % (len(body), self.limit))
        self.pipe.send('A', sequence, kind + body)

    def respond(self, sequence, result):
        """Sends an HTTP answer {status, headers, body}."""
        body = result.get('body')
        headers = dict(result.get('headers') or {})
        status = result.get('status', result.get('statusCode'))
        if not 200 <= status <= 999:
            raise ValueError('an HTTP status is a number from 200 to 999, not %r' % status)
        if hasattr(body, '__next__') or hasattr(body, 'next'):
            return self.stream(sequence, status, headers, body)
        if body is None:
            body = b''
        elif isinstance(body, text):
            if result.get('isBase64Encoded'):
                body = decoded(body)
            else:
                body = body.encode('utf-8')
                self.default(headers, 'text/plain; charset=utf-8')
        elif not isinstance(body, (bytes, bytearray)):
            body = encode(body, self.limit)
            self.default(headers, 'application/json')
        if len(body) > self.limit:
            raise AnswerTooLarge('the answer has %d bytes; the limit is %d' % (len(body), self.limit))
        for name in [k for k in headers if k.lower() == 'content-length']:
            del headers[name]  # it may lie
        headers['Content-Length'] = str(len(body))
        self.pipe.send('H', sequence, encode({'status': status, 'headers': headers}, 1 << 20))
        if body:
            self.pipe.send('C', sequence, bytes(body))
        self.pipe.send('Z', sequence, b'')

    @staticmethod
    def default(headers, content_type):
        if not any(k.lower() == 'content-type' for k in headers):
            headers['Content-Type'] = content_type

    def stream(self, sequence, status, headers, chunks):
        self.pipe.send('H', sequence, encode({'status': status, 'headers': headers}, 1 << 20))
        for chunk in chunks:
            if isinstance(chunk, text):
                chunk = chunk.encode('utf-8')
            elif not isinstance(chunk, (bytes, bytearray, memoryview)):
                chunk = encode(chunk, self.limit) + b'\n'  # a line of JSON
            self.pipe.send('C', sequence, bytes(chunk))
        self.pipe.send('Z', sequence, b'')

    def fail(self, sequence, e):
        self.pipe.send('F', sequence, json.dumps(failure(e)).encode('utf-8'))

    def run(self, sequence, context, http, payload):
        """Answers one event."""
        try:
            result = self.handle(payload, http, context)
            if type(result) is not dict:
                if hasattr(result, '__await__'):
                    result = self.wait(result)
                if hasattr(result, '__anext__'):
                    result = self.drain(result)
            flush()
            if type(result) is dict and http is None:
                out = encode(result, self.limit)
                self.pipe.write(HEADER.pack(len(out) + 6, ANSWER, sequence) + JSON + out)
            else:
                self.answer(sequence, result, http)
        except SystemExit as e:
            leave(e)
        except BaseException as e:
            flush()
            self.fail(sequence, e)

    def wait(self, awaitable):
        import asyncio
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(as_coroutine(awaitable))

    def drain(self, generator):
        """Makes an asynchronous generator a plain one."""
        while True:
            try:
                yield self.wait(generator.__anext__())
            except StopAsyncIteration:  # noqa: F821 (Python 3 only)
                return

    def serve(self):
        """Answers events one after the other until the platform closes the pipe.
        Mostly one read has one event, without a head."""
        read, pipe, run = os.read, self.pipe, self.run
        while True:
            data = read(pipe.source, MORE)
            if len(data) > 22:
                length, _, sequence, deadline, at = FRAME(data)
                at += 22
                if len(data) == length + 4 and data[at - 4:at] == NO_HEAD:
                    run(sequence, Context(data[18:at - 4].decode(), deadline), None, data[at:])
                    continue
            pipe.buffer = data
            while pipe.buffer:
                frame = pipe.read()
                if frame is None:
                    leave(None)
                run(frame[1], *self.parse(frame[2]))
            if not data:
                leave(None)


if sys.version_info[0] > 2:
    exec('''
async def as_coroutine(awaitable):
    return await awaitable
''')


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def leave(e):
    """Ends the process as sys.exit would."""
    flush()
    code = getattr(e, 'code', None)
    if code is not None and not isinstance(code, int):
        sys.stderr.write('%s\n' % code)
        flush()
        code = 1
    os._exit((code or 0) & 255)


def reopen():
    """Makes the standard streams write each line as it is printed. Python 2.7 is
    started so."""
    if sys.version_info[0] > 2:
        import io
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, 'r', closefd=False)), encoding='utf-8', errors='replace')
        for name, fd in (('stdout', 1), ('stderr', 2)):
            raw = io.BufferedWriter(io.FileIO(fd, 'w', closefd=False))
            stream = io.TextIOWrapper(raw, encoding='utf-8', errors='backslashreplace', line_buffering=True)
            setattr(sys, name, stream)
            setattr(sys, '__%s__' % name, stream)


def reseed():
    """A fork has its parent's random numbers; Python's own module reseeds itself."""
    numbers = sys.modules.get('numpy.random')  # not by attribute: that would import it
    if numbers is not None:
        numbers.seed()


class Client(object):
    """Finds the module rouse where nobody else does."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == 'rouse':
            import importlib.util
            return importlib.util.spec_from_loader(name, cls, origin=client.co_filename)

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        module.__file__ = client.co_filename
        exec(client, module.__dict__)


def program(start):
    """Runs the handler as a program: its file, or a module with "-m"."""
    import runpy
    target = start['handler']
    sys.argv = [target]
    try:
        if target.endswith('.py'):
            runpy.run_path(os.path.join(code, target), run_name='__main__')
        else:
            runpy.run_module(target, run_name='__main__', alter_sys=True)
    except SystemExit as e:
        wind_up()
        leave(e)
    except BaseException as e:
        sys.stderr.write(failure(e)['stack'])
        wind_up()
        flush()
        os._exit(1)
    wind_up()
    leave(None)


def wind_up():
    """Waits for threads and runs atexit, as the end of an interpreter does."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    import atexit
    if hasattr(atexit, '_run_exitfuncs'):
        atexit._run_exitfuncs()


def warm_up(shims):
    """Does once, for nobody, what an instance does at its start: the pages that
    this writes to are copied while the instance waits, not when it is wanted."""
    environment = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    reopen()
    source, sink = os.pipe()
    start = json.loads('{"handler":"warm.main","name":"","namespace":"","version":1,"memory":1,"answer":1000,"env":{"A":"B"}}')
    for name in shims:
        w = Worker(start, Pipe(source, sink), __import__(name).load(start))
        for _ in range(2):
            w.run(1, *w.parse(struct.pack('<dB', 0.0, 2) + b'id' + struct.pack('<I', 0) + b'{"a":[1,2.5,"x",null]}'))
    sys.modules.pop('warm', None)
    os.close(source)
    os.close(sink)


FIRST = frozenset(sys.builtin_module_names + (
    '__main__', '_collections_abc', '_sitebuiltins', 'abc', 'codecs', 'encodings', 'genericpath', 'importlib', 'io',
    'ntpath', 'os', 'posixpath', 'runpy', 'site', 'stat', 'zipimport'))


def make_way(handler):
    """Forgets modules that were imported for all where the code has ones of the
    same name, but for those that no code can replace: every interpreter begins
    with them. The handler's own file is found in any case, and its name is left
    to others."""
    for entry in os.listdir(code):
        name, _, end = entry.partition('.')
        if name not in sys.modules or name in FIRST or end == 'py' and name == handler:
            continue
        if end == 'py' or end.endswith('.so') or not end and os.path.exists(os.path.join(code, name, '__init__.py')):
            for other in list(sys.modules):
                if other == name or other.startswith(name + '.'):
                    del sys.modules[other]


def become(start, source, sink):
    """Becomes an instance of the function that start names. Never returns."""
    global code
    mode = start['mode']
    if mode == 'worker':
        shim = __import__('shim_' + start['shim'])
        if start['concurrency'] > 1:
            import concurrent_worker
    sys.path[:] = [folder for folder in sys.path if os.path.join(folder, '') != OWN]
    for name in ('worker', 'concurrent_worker', 'shim_native', 'shim_openwhisk'):
        sys.modules.pop(name, None)
    code = start['code']
    os.environ.clear()
    os.environ.update(start['env'])
    if hasattr(time, 'tzset'):
        time.tzset()
    if start['deps']:
        import site
        site.addsitedir(start['deps'])
    sys.path.insert(0, code)
    # Where Python would look if it began now; what is the platform's comes last.
    asked = start['env'].get('PYTHONPATH', '').split(':')
    sys.path[1:1] = [folder for folder in asked if folder not in ('', MODULES, start['deps'])]
    if client is None:
        sys.path.append(MODULES)
    else:
        sys.meta_path.append(Client)
    sys.dont_write_bytecode = True
    reseed()
    make_way(start['handler'].rpartition('.')[0] if mode == 'worker' else '')
    if mode != 'worker':
        if mode == 'once':
            os.dup2(source, 0)
            os.dup2(sink, 1)
        os.close(source)
        os.close(sink)
        reopen()
        program(start)
    reopen()
    pipe = Pipe(source, sink)
    try:
        handle = shim.load(start)
    except SystemExit as e:
        leave(e)
    except BaseException as e:
        flush()
        pipe.send('F', 0, json.dumps(failure(e)).encode('utf-8'))
        os._exit(0)
    flush()
    if start['concurrency'] > 1:
        concurrent_worker.serve(start, pipe, handle)
    pipe.send('R', 0, b'')
    Worker(start, pipe, handle).serve()


if __name__ == '__main__':
    # A worker that was not forked: its start comes as the first frame.
    sys.modules['worker'] = sys.modules['__main__']
    first = Pipe(4, 5).read()
    if first is None:
        os._exit(0)
    begin = json.loads(first[2].decode('utf-8'))
    become(begin, 4, 5)

"""The contract of OpenWhisk actions: def main(args) in __main__.py, which
returns a dict or a list. Where the kind is another language's, this is the
proxy of a program, one named exec or an interpreter: see Loop and Once.

The first event is {kind, main, env, provideKey}, answered with {ok, message,
stack}. All others are arguments, after the name of their transaction where it
is not the activation's; for a program, lines of the ActionLoop protocol.

This file is for Python 2.7 as well as 3.
"""
import ctypes
import errno
import fcntl
import glob
import json
import os
import select
import signal
import sys
import threading
import types

import worker

SENTINEL = b'XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX'  # what the programs of old images end their logs with
MAX_ARGUMENT = 131071  # bytes; the kernel takes no more in one argument
MORE = 1 << 16

NO_OBJECT = 'The action did not return a dictionary or array.'
NOT_JSON = 'The action did not produce a valid JSON or JSON Array response: '
NO_BINARY = 'The action failed to generate or locate a binary. See logs for details.'
NO_START = 'Cannot start action. Check logs for details.'
FAILED = 'The action failed during initialization: '

decode = worker.loads
raw_decode = json.JSONDecoder().raw_decode
environ = os.environ


class DeveloperError(Exception):
    """What is wrong with the code, as its caller is told."""


def shown(e):
    try:
        return worker.text(e)
    except Exception:
        return repr(e)


def threw(e):
    """Makes an exception of main a result. Called while it is handled."""
    sys.stderr.write(worker.failure(e)['stack'])
    return {'error': shown(e)}


def check(result):
    """Returns a result that may be one."""
    if isinstance(result, (dict, list, tuple)):
        return result
    if result is None:
        raise DeveloperError(NOT_JSON + 'null')
    raise DeveloperError(NO_OBJECT)


if sys.version_info[0] > 2:
    exec('''
async def finish(awaitable):
    try:
        result = await awaitable
    except Exception as e:
        return threw(e)
    return check(result)
''')


class Variable(object):
    """An environment variable that each event has another value of. The C
    library keeps for ever whatever setenv was given, so it is given one buffer,
    in which the value is written."""

    def __init__(self, name, size):
        self.name, self.size = name, size
        head = (name + '=').encode('ascii')
        self.buffer = ctypes.create_string_buffer(head, len(head) + size + 1)
        self.at = len(head)
        self.known = None
        # A call of the C library takes longer, where Python can write there itself.
        self.view = memoryview(self.buffer).cast('B') if sys.version_info[0] > 2 else None

    def attach(self):
        """Puts the variable into the environment."""
        environ[self.name] = ''
        self.known = getattr(environ, '_data', None) or environ.data
        self.key = next(k for k in self.known if k in (self.name, self.name.encode('ascii')))
        LIBC.putenv(ctypes.c_void_p(ctypes.addressof(self.buffer)))

    def set(self, raw):
        """Gives it a value, of size bytes at most."""
        self.known[self.key] = raw
        if self.view is not None:
            self.view[self.at:self.at + len(raw) + 1] = raw + b'\0'
        else:
            ctypes.memmove(ctypes.addressof(self.buffer) + self.at, raw + b'\0', len(raw) + 1)


LIBC = ctypes.CDLL(None)
# They are never freed: an environment may still name them.
ACTIVATION, TRANSACTION, DEADLINE = Variable('__OW_ACTIVATION_ID', 64), Variable('__OW_TRANSACTION_ID', 256), Variable('__OW_DEADLINE', 32)


class Action(object):
    """Answers events with the code that the first of them describes."""

    def __init__(self, code):
        self.code = code
        self.run = self.initialize
        self.function = None
        self.attached = False  # the variables of events are in the environment
        self.is_async = True  # the code is to be loaded in the main thread

    def __call__(self, payload, http, context):
        if self.attached:
            activation = context.activation.encode('ascii')
            ACTIVATION.set(activation)
            TRANSACTION.set(activation)
            DEADLINE.set(str(int(context.deadline)).encode('ascii'))
        return self.run(payload)

    def call(self, payload):
        """Runs the function."""
        try:
            arguments = payload.decode('utf-8')
            if arguments[0] == '"':
                transaction, end = raw_decode(arguments)
                TRANSACTION.set(transaction.encode('utf-8')[:TRANSACTION.size])
                arguments = arguments[end:]
            arguments = decode(arguments)
        except (ValueError, RuntimeError):  # numbers too long, too many brackets
            raise DeveloperError('The action did not receive a dictionary or array as an argument.')
        try:
            result = self.function(arguments)
        except Exception as e:
            return threw(e)
        if type(result) is dict:
            return result
        if hasattr(result, '__await__'):
            return finish(result)
        return check(result)

    def initialize(self, payload):
        """Loads the code; the answer says how that went."""
        init = decode(payload.decode('utf-8'))
        for name, value in init['env'].items():
            environ[str(name)] = str(value)
        if 'ROUSE_API' in environ:
            environ['__OW_API_HOST'] = environ['ROUSE_API']
        if init['provideKey'] and 'ROUSE_TOKEN' in environ:
            environ['__OW_API_KEY'] = 'instance:' + environ['ROUSE_TOKEN']
        try:
            if init['kind'].startswith('python'):
                self.use(function(self.code, str(init['main'])))
            else:
                self.is_async = False
                if init.get('loop'):
                    self.run = Loop(interpreted(self.code, init['kind'], init['loop'], str(init['main']))).run
                elif init['kind'] == 'blackbox':
                    self.run = Once(executable(self.code)).run
                else:
                    self.run = Loop([executable(self.code)]).run
        except DeveloperError as e:
            sys.stderr.write('%s\n' % e)
            return {'ok': False, 'message': str(e)}
        except Exception as e:
            told = worker.failure(e)
            sys.stderr.write(told['stack'])
            return {'ok': False, 'message': FAILED + '%s: %s' % (told['type'], told['message']), 'stack': told['stack']}
        for variable in (ACTIVATION, TRANSACTION, DEADLINE):
            variable.attach()
        self.attached = True
        return {'ok': True}

    def use(self, function):
        self.run, self.function = self.call, function
        self.is_async = bool(getattr(getattr(function, '__code__', None), 'co_flags', 0) & 0x80)  # a coroutine


def load(start):
    action = Action(start.get('code'))
    if action.code is None:  # for nobody
        action.use(lambda arguments: arguments)
    return action


# Python.

def function(code, name):
    """Loads the code, and returns its function."""
    virtualenv(code)
    file = next((f for f in (os.path.join(code, '__main__.py'), os.path.join(code, 'exec')) if os.path.isfile(f)), None)
    if file is None:
        raise DeveloperError(FAILED + 'there is no __main__.py at the top of the code, which has: ' + ', '.join(sorted(os.listdir(code))))
    # It is not to take itself for a program: what it does only as __main__, an
    # action does not do.
    module = types.ModuleType('main__')
    module.__file__ = file
    sys.modules['main__'] = module
    with open(file, 'rb') as f:
        exec(compile(f.read(), file, 'exec', 0, True), module.__dict__)
    found = module
    for part in name.split('.'):
        found = getattr(found, part, None)
    if not callable(found):
        names = [n for n, v in vars(module).items() if isinstance(v, types.FunctionType) and not n.startswith('_')]
        raise DeveloperError(FAILED + '%s has no function %s; it has: %s' % (os.path.basename(file), name, ', '.join(names) or 'none'))
    return found


def virtualenv(code):
    """Makes the packages of a folder virtualenv importable."""
    home = os.path.join(code, 'virtualenv')
    if not os.path.isdir(home):
        return
    for script in (os.path.join(home, 'bin', 'activate_this.py'), os.path.join(home, 'Scripts', 'activate_this.py')):
        if os.path.exists(script):
            with open(script, 'rb') as f:
                exec(compile(f.read(), script, 'exec', 0, True), {'__file__': script, '__name__': 'activate_this'})
            return
    packages = glob.glob(os.path.join(home, 'lib', 'python*', 'site-packages'))
    if not packages:
        raise DeveloperError(FAILED + "Invalid virtualenv. Zip file does not include 'activate_this.py'.")
    import site
    before = list(sys.path)
    for folder in packages:
        site.addsitedir(folder)
    # They come before those of the interpreter.
    sys.path[1:] = [p for p in sys.path if p not in before] + before[1:]


# Programs.

def executable(code):
    """Returns the file of the program. Its mode may have been lost on its way."""
    file = os.path.join(code, 'exec')
    if not os.path.isfile(file):
        sys.stderr.write('There is no file exec at the top of the code, which has: %s\n' % ', '.join(sorted(os.listdir(code))))
        raise DeveloperError(NO_BINARY)
    if os.access(file, os.X_OK):
        return file
    copy = os.path.join(environ.get('TMPDIR', '/tmp'), '.exec')
    with open(file, 'rb') as source, open(copy, 'wb') as sink:
        while True:
            data = source.read(1 << 20)
            if not data:
                break
            sink.write(data)
    os.chmod(copy, 0o755)
    return copy


def interpreted(code, kind, loop, main):
    """Returns the arguments of the interpreter that runs code of a kind: that of
    its version, or else of another."""
    if not os.path.isfile(os.path.join(code, loop['file'])):
        raise DeveloperError(FAILED + loop['missing'])
    family, _, number = kind.partition(':')
    names = [os.path.join(folder, name) for name in (family + number, family) for folder in ('/usr/local/bin', '/usr/bin')]
    names += sorted(glob.glob('/usr/bin/%s[0-9]*' % family))
    file = next((name for name in names if os.access(name, os.X_OK)), None)
    if file is None:
        raise DeveloperError(FAILED + 'this server has no interpreter for %s any more' % kind)
    return [str(part) for part in [file] + loop['args'] + [main]]


def spawn(args, fds):
    """Starts a program with fds as its descriptors 0, 1, 2 and so on."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for number, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 16) for fd in fds]):
            os.dup2(fd, number)
        os.closerange(len(fds), 1024)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv(args[0], args)
    except BaseException as e:
        os.write(2, ('%s: %s\n' % (os.path.basename(args[0]), e)).encode('utf-8'))
    os._exit(127)


def reap(pid):
    """Waits for a program, and returns its exit code and signal."""
    status = os.waitpid(pid, 0)[1]
    return (status >> 8) & 255, status & 127


def write(fd, data):
    while data:
        data = data[os.write(fd, data):]


class Lines(object):
    """Hands on what is printed line by line; with hold, all but the last one."""

    def __init__(self, sink, hold=False):
        self.sink, self.hold = sink, hold
        self.parts, self.last = [], None

    def feed(self, data):
        begin, found, rest = data.rpartition(b'\n')
        if not found:
            self.parts.append(data)
            return
        lines = (b''.join(self.parts) + begin).split(b'\n')
        self.parts = [rest] if rest else []
        for line in lines:
            self.line(line)

    def line(self, line):
        if line.rstrip().endswith(SENTINEL):
            line = line.rstrip()[:-len(SENTINEL)]
            if not line:
                return
        if self.hold:
            line, self.last = self.last, line
        if line is not None:
            write(self.sink, line + b'\n')

    def end(self):
        """Takes what is printed so far for a line."""
        if self.parts:
            line, self.parts = b''.join(self.parts), []
            self.line(line)


class Program(object):
    """A program and its pipes. With result it has one more than usual, 3."""

    def __init__(self, args, out, result=None):
        theirs, own = os.pipe()
        self.stdin, given, self.sinks = own, [theirs], {}
        for sink in (out, Lines(2), result):
            if sink is not None:
                own, theirs = os.pipe()
                self.sinks[own] = sink
                given.append(theirs)
                fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK)
        fcntl.fcntl(self.stdin, fcntl.F_SETFL, os.O_NONBLOCK)
        for fd in list(self.sinks) + [self.stdin]:
            fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        self.pid = spawn(args, given)
        for fd in given:
            os.close(fd)
        self.poll = select.poll()
        for fd in self.sinks:
            self.poll.register(fd, select.POLLIN)

    def exchange(self, request, done, last=False):
        """Sends request, after which nothing more is sent if it is the last, and
        hands on what comes, until done says so or nothing more will."""
        if request:
            self.poll.register(self.stdin, select.POLLOUT)
        while self.sinks and not done():
            for fd, _ in self.poll.poll():
                if fd != self.stdin:
                    self.receive(fd)
                    continue
                request = self.send(request)
                if not request:
                    self.poll.unregister(self.stdin)
                    if last:
                        self.close()

    def send(self, request):
        try:
            return request[os.write(self.stdin, request):]
        except (OSError, IOError) as e:
            if e.errno == errno.EAGAIN:
                return request
            return b''  # it does not read; what it says counts

    def close(self):
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def receive(self, fd):
        """Takes what one pipe has; False where that is nothing."""
        try:
            data = os.read(fd, MORE)
        except (OSError, IOError):
            return False
        if data:
            self.sinks[fd].feed(data)
        else:
            self.poll.unregister(fd)
            self.sinks.pop(fd).end()
            os.close(fd)
        return bool(data)

    def drain(self):
        """Hands on what was printed so far."""
        for fd, sink in list(self.sinks.items()):
            while self.receive(fd):
                pass
            sink.end()


def parse(line):
    """Reads a result as programs print it."""
    try:
        return check(decode(line.decode('utf-8')))
    except (ValueError, RuntimeError):
        raise DeveloperError(NO_OBJECT)


class Once(object):
    """Runs a program for each event: its argument, and its input, are the
    arguments in JSON, and the last line that it prints is the result."""

    def __init__(self, file):
        self.file = file

    def run(self, payload):
        event = decode(payload.decode('utf-8'))
        TRANSACTION.set(event['transaction_id'].encode('utf-8')[:TRANSACTION.size])
        arguments = json.dumps(event['value'])
        args = [self.file, arguments]
        if len(arguments) > MAX_ARGUMENT:
            args.pop()
            write(2, ('exec gets its arguments on standard input only: they have %d bytes, and the kernel takes no more than %d in one argument\n' % (len(arguments), MAX_ARGUMENT)).encode('utf-8'))
        out = Lines(1, hold=True)
        program = Program(args, out)
        program.exchange(arguments.encode('utf-8'), lambda: False, last=True)
        program.close()
        _, killed = reap(program.pid)
        line = out.last or b''
        try:
            return parse(line)
        except DeveloperError:
            if line:
                write(1, line + b'\n')
            if killed:
                write(2, ('exec was ended by signal %d\n' % killed).encode('utf-8'))
            raise


class Results(object):
    """Keeps the lines that a program answers with."""

    def __init__(self):
        self.parts, self.lines = [], []

    def feed(self, data):
        begin, found, rest = data.rpartition(b'\n')
        if found:
            self.lines += (b''.join(self.parts) + begin).split(b'\n')
            self.parts = []
        if rest:
            self.parts.append(rest)

    def end(self):
        pass


class Loop(object):
    """Speaks the ActionLoop protocol with a program that is started once."""

    def __init__(self, args):
        environ['__OW_WAIT_FOR_ACK'] = '1'
        self.results = Results()
        self.program = Program(args, Lines(1), self.results)
        self.pipe = next(fd for fd, sink in self.program.sinks.items() if sink is self.results)
        self.lock = threading.Lock()
        line = self.ask(b'')
        if line is None:
            raise DeveloperError(NO_START)
        try:
            ready = decode(line.decode('utf-8'))
        except ValueError:
            raise DeveloperError(NO_START)
        if not isinstance(ready, dict) or ready.get('ok') is not True:
            raise DeveloperError('The action did not initialize properly.')

    def ask(self, request):
        """Sends a line and returns the one that answers it; None where the
        program is gone, or says no more."""
        self.program.exchange(request, lambda: self.results.lines or self.pipe not in self.program.sinks)
        self.program.drain()
        return self.results.lines.pop(0) if self.results.lines else None

    def run(self, payload):
        with self.lock:
            # JSON has line ends between its parts only.
            line = self.ask(payload.replace(b'\n', b' ').replace(b'\r', b' ') + b'\n')
        if line is None:
            self.leave()
        return parse(line)

    def leave(self):
        """Ends as the program did, so that the platform sees how."""
        os.kill(self.program.pid, signal.SIGKILL)
        code, killed = reap(self.program.pid)
        worker.flush()
        os._exit(code or 128 + killed)

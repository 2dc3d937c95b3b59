"""The zygote: a warm interpreter of which every instance is a fork.

It runs as root of a user namespace of its own, behind a seccomp filter, with
no network; where there are no namespaces, as the server's own user, and imports
nothing but what the interpreter brings. It has one thread: a fork copies no
other. Descriptor 3 is its control socket (SEQPACKET). A request {"id",
"wanted"} comes with five descriptors: the child's own control socket, input,
output, standard output, standard error. The child moves into namespaces of its
own, says hello and waits; a start then tells it which function to become. One
that is wanted at once does not warm up before.

The zygote answers {"up"} once, then {"id", "status"} for each child that ended.
"""
import array
import ctypes
import fcntl
import gc
import importlib
import importlib.util
import json
import os
import select
import signal
import site
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import worker  # noqa: E402

CONTROL = 3
NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
SYS_MOVE_MOUNT, SYS_LANDLOCK_RESTRICT_SELF = 429, 446  # the same on every architecture, as all calls since 424
SYS_SECCOMP = {'x86_64': 317, 'aarch64': 277}[os.uname().machine]
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

libc = ctypes.CDLL(None, use_errno=True)
libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


class Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]


def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, '%s: %s' % (what, os.strerror(number)))


def receive(sock):
    """Returns one message and the descriptors that came with it; b'' at the end."""
    data, ancillary, _, _ = sock.recvmsg(1 << 20, socket.CMSG_SPACE(16 * 4), socket.MSG_CMSG_CLOEXEC)
    fds = array.array('i')
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
    return data, list(fds)


def loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack('16sH14x', b'lo', IFF_UP)
        fcntl.ioctl(s, SIOCSIFFLAGS, request)


def isolate():
    """Moves this child, already first of its pid namespace, into the others."""
    check(libc.unshare(NEWNS | NEWIPC | NEWUTS | NEWNET), 'unshare')
    check(libc.mount(None, b'/', None, MS_PRIVATE | MS_REC, None), 'make mounts private')
    check(libc.mount(b'proc', b'/proc', b'proc', MS_NOSUID | MS_NODEV | MS_NOEXEC, None), 'mount proc')
    loopback()


def furnish(start, fds):
    """Mounts what the function brings."""
    for fd, at in zip(fds, start['mounts']):
        check(libc.syscall(SYS_MOVE_MOUNT, fd, b'', -100, at.encode(), 4), 'mount ' + at)
        os.close(fd)
    size = start['tmp']
    options = 'mode=1777,size=%d,nr_inodes=%d' % (size, max(64, size >> 12))
    check(libc.mount(b'tmpfs', b'/tmp', b'tmpfs', MS_NOSUID | MS_NODEV, options.encode()), 'mount tmp')


def assemble(text):
    """Makes a filter of its hex form."""
    code = bytes.fromhex(text)
    return Program(len(code) // 8, ctypes.cast(ctypes.c_char_p(code), ctypes.c_void_p))


def surrender(user, program, rules):
    """Gives up all power. The bounding set was emptied by the zygote. A user of
    0 is to stay the one that this is; rules are a Landlock ruleset, or none."""
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    if rules:
        # The change of user made the kernel forget it.
        check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), 'end with the zygote')
    # The change of user hid /proc/self from the function itself.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 'no new privileges')
    for fd in rules:
        check(libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, fd, 0), 'landlock')
        os.close(fd)
    check(libc.syscall(SYS_SECCOMP, 1, 0, ctypes.byref(program)), 'seccomp')


def child(fds, program, namespaces, shims, keep):
    """Becomes an instance, having warmed up for the shims. Never returns."""
    own, stdin, stdout, out, err = fds
    for fd in keep:
        os.close(fd)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    control = socket.socket(fileno=own)
    if namespaces:
        isolate()
    if shims:
        worker.warm_up(shims)
    control.send(b'hello')
    message, brought = receive(control)
    if not message:
        os._exit(0)
    start = json.loads(message)
    rules = []
    if namespaces:
        furnish(start, brought)
    else:
        rules = brought
    control.close()
    os.chdir(start['code'])
    if start['filter']:
        program = assemble(start['filter'])
    surrender(start['user'], program, rules)
    worker.become(start, stdin, stdout)


def preload(names):
    """Imports what the functions of this zygote will, as far as it goes."""
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as e:  # the function will meet it again, and say so
            sys.stderr.write('preload %s: %r\n' % (name, e))
    threads = len(os.listdir('/proc/self/task'))
    if threads > 1:
        sys.stderr.write('imports left %d threads running\n' % threads)
        sys.exit(3)


def compile_client():
    """Compiles the module rouse for all children; most never run it."""
    file = worker.MODULES + '/rouse.py'
    with open(file, 'rb') as f:
        worker.client = compile(f.read(), file, 'exec')


def immortalize():
    """Makes all objects that there are immortal (PEP 683), as None is: nobody
    counts references to them any more, for each count would make the child that
    does it copy a page. They live as long as the children anyway."""
    immortal = ctypes.c_uint32.from_address(id(None)).value
    counted = sys.getrefcount(None) & 0xffffffff
    if not (3, 12) <= sys.version_info < (3, 14) or immortal != counted or immortal < 1 << 31:
        return  # it has none, or keeps the count elsewhere
    code = type(main.__code__)  # the collector does not look into these
    found = gc.get_objects()
    while found:
        mortal = []
        for thing in found:
            count = ctypes.c_uint32.from_address(id(thing))
            if count.value != immortal:
                count.value = immortal
                mortal.append(thing)
        found = gc.get_referents(*mortal)
        for thing in mortal:
            if type(thing) is code:
                found += (thing.co_consts, thing.co_names, thing.co_name, thing.co_qualname, thing.co_filename)


def fill_gaps():
    """Takes what is free between the small objects that there are: a child that
    filled these gaps with its own would copy a page for a few of them. Returns
    what is to be kept."""
    header, most = 48, 1 << 18  # of a pool, and bytes of one size
    pool = 1 << 14 if sys.version_info >= (3, 10) else 1 << 12  # obmalloc.c
    empty = sys.getsizeof(b'')
    kept = []
    for size in range(empty + 16 & ~15, 513, 16):
        # They go into pools of objects of their size; where as many as one has
        # room for lie in a row, that was a new one.
        wanted = (pool - header) // size
        gaps, row = [], [None] * wanted
        n = last = 0
        while n < wanted and len(gaps) * size < most:
            thing = bytes(size - empty)
            if id(thing) != last + size:
                gaps += row[:n]
                n = 0
            row[n] = thing
            last = id(thing)
            n += 1
        if n == wanted:  # else there are no pools
            kept.append(gaps)
    return kept


def collapse():
    """Moves memory to huge pages where the kernel has them (madvise(2), since
    6.1): a fork copies the table of pages entry by entry, and the child's end
    clears it so."""
    huge, advice = 2 << 20, 25  # MADV_COLLAPSE
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    with open('/proc/self/maps') as f:
        lines = f.read().splitlines()
    for line in lines:
        span, access, _, _, inode, *name = line.split()
        if access == 'rw-p' and inode == '0' and name in ([], ['[heap]']):
            first, last = (int(address, 16) for address in span.split('-'))
            for block in range(-(-first // huge) * huge, last - huge + 1, huge):
                libc.madvise(block, huge, advice)


def main():
    control = socket.socket(fileno=CONTROL)
    setup = json.loads(control.recv(1 << 20))
    site.setquit()
    site.setcopyright()
    site.sethelper()
    if setup['deps']:
        site.addsitedir('/deps')
    preload(setup['preload'] + setup['shims'])
    compile_client()
    program = assemble(setup['filter'])
    namespaces = setup['namespaces']
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    home = os.open('/proc/self/ns/pid', os.O_RDONLY | os.O_CLOEXEC)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    poll = select.poll()
    poll.register(CONTROL, select.POLLIN)
    poll.register(woken, select.POLLIN)
    ids = {}
    for _ in range(8):
        # The interpreter rewrites code that it runs often: here, for all children.
        worker.warm_up(setup['shims'])
    gc.collect()
    immortalize()
    kept = fill_gaps()  # noqa: F841
    gc.freeze()
    collapse()
    control.send(json.dumps({'up': os.getpid()}).encode())
    while True:
        for fd, _ in poll.poll():
            if fd == woken:
                os.read(woken, 4096)
                reap(control, ids)
                continue
            message, fds = receive(control)
            if not message:
                os._exit(0)
            request = json.loads(message)
            if namespaces:
                check(libc.unshare(NEWPID), 'unshare')
            pid = fork(control, request['id'])
            if pid == 0:
                try:
                    child(fds, program, namespaces, [] if request['wanted'] else setup['shims'], (CONTROL, home, woken, wake))
                except BaseException as e:
                    sys.stderr.write('rouse: sandbox: %s\n' % e)
                    sys.stderr.flush()
                os._exit(125)
            if namespaces:
                check(libc.setns(home, NEWPID), 'return to the pid namespace')
            for fd in fds:
                os.close(fd)
            if pid > 0:
                ids[pid] = request['id']


def fork(control, id):
    """Forks; a refusal by the kernel is reported as the child's end."""
    try:
        return os.fork()
    except OSError as e:
        control.send(json.dumps({'id': id, 'error': str(e)}).encode())
        return -1


def reap(control, ids):
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in ids:
            control.send(json.dumps({'id': ids.pop(pid), 'status': status}).encode())


if __name__ == '__main__':
    main()

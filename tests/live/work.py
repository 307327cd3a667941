"""What the tools see: `work.py WHICH [words]` gets ready, says so, and waits for a byte; does a known piece of work, says
so, and waits: what it leaves behind can be looked at.

Its thread is called by the name of the work. Only the standard library, and late imports: starting is to be quick.
"""

import contextlib
import os
import socket
import sys
import time


def opens() -> None:
    """A file that is there, one that is not."""
    for path in ("/etc/hostname", "/no/such/file"):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDONLY))


def ends() -> None:
    """A child that returns 3, one that is killed."""
    if not os.fork():
        os._exit(3)
    os.wait()
    child = os.fork()
    if not child:
        time.sleep(9)
    os.kill(child, 9)
    os.wait()


def kills() -> None:
    """Two signals to itself, of which it takes no notice; one to nobody."""
    for pid, number in ((os.getpid(), 18), (os.getpid(), 0), (4194303, 15)):
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def stats() -> None:
    """stat() of a file that is there, and of one that is not; statfs()."""
    os.statvfs("/etc/hostname")
    os.stat("/etc/hostname")
    os.path.exists("/no/such/file")


def syncs() -> None:
    """A file written and synced."""
    path = sys.argv[2]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x" * 5000)
    os.fsync(fd)
    os.fdatasync(fd)


def users() -> None:
    """Another user, then a change that this user may not make."""
    os.setresuid(-1, 65534, -1)
    with contextlib.suppress(OSError):
        os.setuid(1234)


def roots() -> None:
    """chroot() with the privilege, and without."""
    os.chroot("/")
    os.setresuid(-1, 65534, -1)
    with contextlib.suppress(OSError):
        os.chroot("/")


def threads() -> None:
    """Three threads."""
    import _thread

    for _ in range(3):
        _thread.start_new_thread(lambda: None, ())
    time.sleep(0.1)


def names() -> None:
    """Looking up a host's addresses, by both ways of the C library."""
    import ctypes

    socket.getaddrinfo("localhost", 80)
    ctypes.CDLL(None).gethostbyname(b"localhost")


def naps() -> None:
    """Sleeping for 10 ms, three times, and once for 123 ms."""
    for seconds in (0.01, 0.01, 0.01, 0.123):
        time.sleep(seconds)


def calls() -> None:
    """getppid() 1234 times, and 7 files that are not there."""
    for _ in range(1234):
        os.getppid()
    for _ in range(7):
        with contextlib.suppress(OSError):
            os.open("/no/such/file", 0)


def writes() -> None:
    """One file made; 100 writes of 1000 bytes, 50 reads of 100."""
    fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
    for _ in range(100):
        os.write(fd, b"x" * 1000)
    os.lseek(fd, 0, 0)
    for _ in range(50):
        os.read(fd, 100)


def forks() -> None:
    """40 processes, 10 threads."""
    import _thread

    for _ in range(40):
        if not os.fork():
            os._exit(0)
        os.wait()
    for _ in range(10):
        _thread.start_new_thread(lambda: None, ())
    time.sleep(0.1)


def disk() -> None:
    """Eight writes of 64 KiB past the page cache."""
    import mmap

    block = mmap.mmap(-1, 65536)
    fd = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    for _ in range(8):
        os.write(fd, block)


def dirty() -> None:
    """Pages changed, then everything synced."""
    with open(sys.argv[2], "wb") as file:
        file.write(b"x" * 1000000)
    os.sync()


def spins() -> None:
    """300 ms of work on the highest processor that it may have."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    while time.process_time() < 0.4:
        pass


def zeros() -> None:
    """300 ms of the kernel's work: zeros made to be read."""
    fd, end = os.open("/dev/zero", os.O_RDONLY), os.times().system + 0.3
    while os.times().system < end:
        os.read(fd, 1 << 20)


def crowds() -> None:
    """Three processes that want the same processor, for half a second."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    child = not os.fork() or not os.fork()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    if child:
        os._exit(0)


def faults() -> None:
    """1000 pages touched for the first time."""
    import mmap

    block = mmap.mmap(-1, 4096 * 1000)
    block.madvise(mmap.MADV_NOHUGEPAGE)
    for page in range(1000):
        block[page * 4096] = 1


def connects() -> None:
    """A connection that says 5000 bytes and hears 3000; one that is refused. The ports: argv[2] and [3]."""
    server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    client = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    other, _ = server.accept()
    client.sendall(b"x" * 5000)
    other.sendall(b"y" * 3000)
    for side, size in ((other, 5000), (client, 3000)):
        while size:
            size -= len(side.recv(size))
    client.close()
    other.close()
    refused = socket.socket()
    refused.connect_ex(("127.0.0.1", int(sys.argv[3])))


def waits() -> None:
    """More connections than a server has room for: the last ones ask again and again."""
    server = socket.socket()
    server.bind(("127.0.0.1", int(sys.argv[2])))
    server.listen(0)
    clients = [socket.socket() for _ in range(4)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", int(sys.argv[2])))
    time.sleep(1.5)


def secrets() -> None:
    """A line through TLS, in memory."""
    import ssl

    def side(kind: int) -> ssl.SSLContext:
        context = ssl.SSLContext(kind)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("aNULL:@SECLEVEL=0")
        return context

    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = side(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(back, there)
    server = side(ssl.PROTOCOL_TLS_SERVER).wrap_bio(there, back, server_side=True)
    for one in (client, server) * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            one.do_handshake()
    client.write(b"GET /secret HTTP/1.1\r\n")
    server.read(100)


def types() -> None:
    """A line typed to bash at a terminal."""
    import pty

    pid, fd = pty.fork()
    if not pid:
        os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "-i"])
    time.sleep(0.3)
    os.write(fd, b"echo typed at a prompt\nexit\n")
    try:
        while os.read(fd, 1000):
            pass
    except OSError:
        pass
    os.wait()


def main() -> None:
    which = sys.argv[1]
    with open("/proc/self/comm", "w") as comm:
        comm.write(which)
    os.write(1, b"!")
    os.read(0, 1)
    globals()[which]()
    os.write(1, b"!")
    os.read(0, 1)


main()

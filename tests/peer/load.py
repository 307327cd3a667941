"""What the probes of a script see: `load.py WHICH NAME` does a known piece of work as a process called NAME."""

import ctypes
import os
import struct
import sys
import time
from contextlib import suppress

libc = ctypes.CDLL(None, use_errno=True)


def labs() -> None:
    """Calls with numbers: 5, -5, 1 << 40, -(1 << 63), 0."""
    libc.labs.restype = ctypes.c_long
    for number in (5, -5, 1 << 40, -(1 << 63), 0):
        libc.labs(ctypes.c_long(number))


def labs_wait() -> None:
    """The same; then wait, so that its addresses have names."""
    labs()
    time.sleep(3)


def memory() -> None:
    """One call of a64l with the address of 64 bytes: numbers of all sizes, then text."""
    data = struct.pack("<bBhHiIqQ", -2, 254, -300, 65000, -70000, 4000000000, -5000000000, 1 << 63)
    libc.a64l(ctypes.create_string_buffer(data.ljust(32, b"\0") + b"hello, world\0\1\2\xff" + bytes(16)))


def text() -> None:
    """Calls of a64l with texts: hello, nothing, 100 letters."""
    for word in (b"hello", b"", b"abcdefghij" * 10):
        libc.a64l(ctypes.create_string_buffer(word))


def nested() -> None:
    """One call of a64l with a struct that holds a struct, an array, a union, bitfields and a pointer."""
    inner = ctypes.create_string_buffer(struct.pack("<ii", 71, 72))
    bits = 5 | 9 << 3 | 1 << 31
    data = struct.pack("<iii4h", 11, 21, 22, 31, -32, 33, 34) + struct.pack(
        "<IIQ", 0x04030201, bits, ctypes.addressof(inner)
    )
    libc.a64l(ctypes.create_string_buffer(data))


def arguments() -> None:
    """One call of a64l with the address of an array of texts, as argv is."""
    words = (ctypes.c_char_p * 4)(b"one", b"two words", b"three", None)
    libc.a64l(words)


def sockets() -> None:
    """Seven descriptors duplicated to 100 + n, three closed."""
    for n in range(7):
        os.dup2(2, 100 + n)
    for n in range(3):
        os.close(100 + n)


def opens() -> None:
    """Three files opened, one that is not there."""
    for path in ("/dev/null", "/proc/self/comm", "/no/such/file"):
        with suppress(OSError):
            os.close(os.open(path, os.O_RDONLY))


def kills() -> None:
    """kill(own pid, 0) five times."""
    for _ in range(5):
        os.kill(os.getpid(), 0)


def main() -> None:
    with open("/proc/self/comm", "w") as comm:
        comm.write(sys.argv[2])
    globals()[sys.argv[1]]()


main()

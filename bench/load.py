"""Known work for the probes of bench/scripts to see: `load.py KIND COUNT`."""

import os
import sys
from contextlib import suppress


def reads(count: int) -> None:
    """read() of sizes from 1 to 512 bytes."""
    fd, sizes = os.open("/dev/zero", os.O_RDONLY), [1 << n for n in range(10)]
    for n in range(count):
        os.read(fd, sizes[n % 10])


def opens(count: int) -> None:
    """openat() of a file that is not there, with paths of several lengths."""
    names = ["/nowhere/" + "x" * n for n in (1, 8, 20, 40)]
    for n in range(count):
        with suppress(OSError):
            os.open(names[n % 4], os.O_RDONLY)


def kills(count: int) -> None:
    pid = os.getpid()
    for _ in range(count):
        os.kill(pid, 0)


def writes(count: int) -> None:
    fd = os.open("/dev/null", os.O_WRONLY)
    for n in range(count):
        os.write(fd, b"x" * (n % 64))


def main() -> None:
    {f.__name__: f for f in (reads, opens, kills, writes)}[sys.argv[1]](int(sys.argv[2]))


main()

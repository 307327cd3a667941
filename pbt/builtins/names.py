"""Numbers that print as names: strerror signal_name syscall_name."""

from __future__ import annotations

from pbt.feature import Builtin, Call, Mem, Presentation
from pbt.types import Opaque, Type, is_integral
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbt.views import Checks, Gen, World

MOST = 1024  # above all numbers that have names
_UNKNOWN = "Unknown error"
KINDS = {"strerror": "errno", "signal_name": "signal", "syscall_name": "syscall"}


def _check(checks: Checks, call: Call) -> Type:
    if not is_integral(call.types[0]):
        raise checks.error(
            f"{call.name}() expects an integer ({call.types[0]} provided)", checks.span(call.args[0])
        )
    machine = checks.target.arch.name if call.name == "syscall_name" else ""
    return Opaque(KINDS[call.name], 8, 8, machine)


def _keep(gen: Gen, call: Call, to: Mem) -> None:
    gen.b.store(to.base, to.offset, 8, gen.value(call.args[0]))


def _errno(number: int, machine: str) -> str:
    """What the C library says; the kernel's functions return errors as negative numbers."""
    import os

    code = abs((number + (1 << 31)) % (1 << 32) - (1 << 31))  # an int, as in C
    text = os.strerror(code) if code < 1 << 31 else ""
    return text if text and not text.startswith(_UNKNOWN) else _UNKNOWN


def _signal(number: int, machine: str) -> str:
    """What the shell says of a process that the signal ended."""
    import signal

    if not 0 <= number < signal.NSIG:
        return "N/A"
    return (number and signal.strsignal(number)) or f"Unknown signal {number}"


def _syscall(number: int, machine: str) -> str:
    from pbt.uapi.syscalls import name

    return name(machine, number) or "Unknown syscall"


def _presentation(kind: str, text: Callable[[int, str], str]) -> Presentation:
    def draw(world: World, raw: bytes, detail: str) -> str:
        import sys

        return text(int.from_bytes(raw, sys.byteorder, signed=True), detail)

    def numbers(wanted: str, machine: str) -> Sequence[int]:
        return [number for number in range(-MOST, MOST) if text(number, machine) == wanted]

    return Presentation(
        kind, lambda world, raw, detail: draw(world, raw, detail).encode(), draw, numbers=numbers
    )


STRERROR = Builtin("strerror", "(number) -> errno_t", "What an error number means.", _check, into=_keep)
SIGNAL_NAME = Builtin("signal_name", "(number) -> signal_t", "The name of a signal.", _check, into=_keep)
SYSCALL_NAME = Builtin(
    "syscall_name", "(number) -> syscall_t", "The name of a system call.", _check, into=_keep
)
DRAW_ERRNO = _presentation("errno", _errno)
DRAW_SIGNAL = _presentation("signal", _signal)
DRAW_SYSCALL = _presentation("syscall", _syscall)

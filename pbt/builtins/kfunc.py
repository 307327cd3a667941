"""What the kernel lets programs call beside its helpers: kfunc_exist kfunc_allowed."""

from __future__ import annotations

from pbt.feature import Builtin, Call
from pbt.source import KernelError
from pbt.types import Type
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.views import Checks


def _number(checks: Checks, call: Call) -> int | None:
    """The BTF id of the function named by the argument."""
    name = checks.literal_str(call.args[0], f"{call.name}() name")
    return checks.target.types.find("func", name) if checks.target.types else None


def _check_exist(checks: Checks, call: Call) -> Type:
    return checks.become(call.node, _number(checks, call) is not None)


def _check_allowed(checks: Checks, call: Call) -> Type:
    found = _number(checks, call)
    return checks.become(call.node, found is not None and _allowed(call, found))


def _allowed(call: Call, number: int) -> bool:
    """By loading a program of the probe's type that calls it: of a wrong argument the kernel speaks later."""
    from pbt.sys import bpf

    program = (
        bytes((0x85, 0x20, 0, 0)) + number.to_bytes(4, "little") + bytes((0xB7, *bytes(7), 0x95, *bytes(7)))
    )
    try:
        bpf.prog_load(call.probe.prog_type, program).close()
    except KernelError as error:
        return bool(error.log) and "is not allowed" not in error.log and "not found" not in error.log
    return True


KFUNC_EXIST = Builtin(
    "kfunc_exist",
    "(name) -> bool",
    "Whether the kernel's BTF has a function of that name.",
    _check_exist,
    raw_args=True,
)
KFUNC_ALLOWED = Builtin(
    "kfunc_allowed", "(name) -> bool", "Whether the kernel lets this probe's program call that function.",
    _check_allowed, raw_args=True,
)  # fmt: skip

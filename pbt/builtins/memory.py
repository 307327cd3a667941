"""Bytes at addresses: memcmp write_user is_err."""

from __future__ import annotations

from pbt.builtins.process import always
from pbt.feature import Builtin, Call, Mem
from pbt.types import BOOL, I64, Array, Type, is_integral, is_text
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen


def _check_bytes(checks: Checks, call: Call, first: int, least: int) -> None:
    """Arguments from `first` up to the last are memory; the last is how much of it, kept for lowering."""
    nodes, kinds = call.args[first:-1], call.types[first:-1]
    most = int(checks.config["max_strlen"])
    for node, kind in zip(nodes, kinds, strict=True):
        if not (is_integral(kind) or is_text(kind) or isinstance(kind, Array)):
            raise checks.error(
                f"{call.name}() expects addresses, arrays or strings ({kind} provided)", checks.span(node)
            )
        most = most if is_integral(kind) else min(most, kind.size)
    size = checks.literal_int(call.args[-1], f"{call.name}() length")
    if not least <= size <= most:
        raise checks.error(
            f"{call.name}() length must be between {least} and {most} (provided {size})",
            checks.span(call.args[-1]),
        )
    checks.keep(call.node, size)


def _check_memcmp(checks: Checks, call: Call) -> Type:
    _check_bytes(checks, call, 0, 0)
    return I64


def _memcmp(gen: Gen, call: Call) -> Value:
    """-1, 0 or 1: words are compared in the order of their bytes, the first that differs decides."""
    b, size = gen.b, gen.kept(call.node)
    left, right = (_bytes(gen, call, i, size) for i in (0, 1))
    after = b.block("compared")
    b.assign("memcmp", 0)
    for at, width in b.pieces(size, left.offset, right.offset):
        x, y = (_big_endian(gen, place, at, width) for place in (left, right))
        more, differs = b.block("same"), b.block("differs")
        b.branch("eq", x, y, more, differs)
        b.place(differs)
        b.assign("memcmp", b.select(b.compare("ult", x, y), -1, 1))
        b.jump(after)
        b.place(more)
        b.assign("memcmp", 0)
    b.jump(after)
    b.place(after)
    return b.read("memcmp")


def _bytes(gen: Gen, call: Call, index: int, size: int) -> Mem:
    """The bytes of an argument in the program's own memory."""
    kind, node = call.types[index], call.args[index]
    room = gen.temp(max(size, 1), call.name)
    if is_integral(kind):
        gen.read(room, size, gen.value(node), gen.space(kind))
        return room
    space, place = gen.locate(node)
    if space in ("bpf", "ctx"):
        return place
    gen.read(room, size, gen.address(place), space)
    return room


def _big_endian(gen: Gen, place: Mem, at: int, width: int) -> Value:
    word = gen.b.load(place.base, place.offset + at, width)
    return word if width == 1 or gen.arch.byteorder == "big" else gen.b.bswap(word, width)


def _check_write(checks: Checks, call: Call) -> Type:
    if not is_integral(call.types[0]):
        raise checks.error(
            f"write_user() expects an address ({call.types[0]} provided)", checks.span(call.args[0])
        )
    _check_bytes(checks, call, 1, 1)
    return I64


def _write(gen: Gen, call: Call) -> Value:
    """The helper's result: 0, or minus an error number."""
    size = gen.kept(call.node)
    source = _bytes(gen, call, 1, size)
    return gen.b.call("probe_write_user", gen.value(call.args[0]), gen.address(source), size)


MEMCMP = Builtin(
    "memcmp", "(a, b, length) -> int64", "0 if the bytes are the same, else -1 or 1 as the first that differ.",
    _check_memcmp, _memcmp,
)  # fmt: skip
WRITE_USER = Builtin(
    "write_user", "(to, from, length) -> int64", "Write into the user process's memory; 0 if that worked.",
    _check_write, _write, unsafe=True, acts=True,
)  # fmt: skip
IS_ERR = Builtin(
    "is_err", "(pointer) -> bool", "Whether a kernel pointer is an error number in disguise.",
    always(BOOL), lambda gen, call: gen.b.compare("uge", gen.value(call.args[0]), -4095),
)  # fmt: skip

"""Reading and writing memory: the program's own, its context's, the kernel's and the user's."""

from __future__ import annotations

from pbt.bundle import Map
from pbt.data import NamedTuple
from pbt.feature import Mem
from pbt.lower import failures, walk
from pbt.types import Int, Member, Pointer, Space, Type, is_signed
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.ir.build import Number
    from pbt.ir.core import Value
    from pbt.lower.body import Body

INLINE = 64  # bytes: more are cleared or copied by one helper call
ZEROS = "zeros"
MOST_ZEROS = 4096


class Loc(NamedTuple):
    """Where a value lies: `offset` bytes after `base`, in `space`.

    "bpf" and "ctx" memory is loaded directly, and "kernel" memory where the verifier knows the type of what is
    there (see walk.py); other "kernel" and "user" addresses are probe-read.
    """

    space: Space
    base: Value
    offset: int = 0

    def plus(self, offset: int) -> Loc:
        return self._replace(offset=self.offset + offset)


def address(body: Body, place: Mem) -> Value:
    """The pointer (or number) base + offset."""
    return body.b.add(place.base, place.offset) if place.offset else place.base


def probe_read(body: Body, to: Mem, size: Number, source: Value, space: str) -> Value:
    """Copy bytes from kernel or user memory; clears `to` and returns < 0 where that fails."""
    helper = _reader(body, space, "")
    result = body.b.call(helper, address(body, to), size, source)
    failures.watch(body, helper, result, level=2)
    return result


def _copy_own(body: Body, to: Mem, size: int, source: Value) -> None:
    """Copy bytes that the program owns by one call, which does not fail."""
    body.b.call(_reader(body, "kernel", ""), address(body, to), size, source)


def probe_read_str(body: Body, to: Mem, size: Number, source: Value, space: str) -> Value:
    """Copy text up to its NUL, which is always written; the tail of `to` stays as it was."""
    helper = _reader(body, space, "_str")
    result = body.b.call(helper, address(body, to), size, source)
    failures.watch(body, helper, result, level=2)
    return result


def _reader(body: Body, space: str, suffix: str) -> str:
    """Before v5.5 (commit 6ae08ae3dea2) one helper served both address spaces."""
    if not body.has("probe_read_kernel"):
        return f"probe_read{suffix}"
    return f"probe_read_{'user' if space == 'user' else 'kernel'}{suffix}"


def load(body: Body, loc: Loc, type_: Type) -> Value:
    """A number of an integral type from wherever it lies, canonical for the type."""
    tracked = loc.space == "ctx" and isinstance(type_, Pointer) and body.probe.prog_type == "TRACING"
    if loc.space == "bpf" or (loc.space == "ctx" and not tracked):
        return body.b.load(loc.base, loc.offset, type_.size, is_signed(type_))
    direct = walk.argument(body, loc, type_) if tracked else walk.load(body, loc, type_)
    if direct is not None:
        return direct
    room = body.temp(type_.size, "read")
    probe_read(body, room, type_.size, address(body, Mem(loc.base, loc.offset)), loc.space)
    return body.b.load(room.base, room.offset, type_.size, is_signed(type_))


def load_bits(body: Body, loc: Loc, member: Member) -> Value:
    """A bitfield: the bytes that contain it, shifted down and cut."""
    size = next(n for n in (1, 2, 4, 8) if member.bit_offset + member.bit_size <= 8 * n)
    word = load(body, loc, Int(size))
    left = 64 - member.bit_size - member.bit_offset
    if body.arch.byteorder == "big":
        left = 64 - 8 * size + member.bit_offset
    up = body.b.op("shl", word, left)
    return body.b.op("ashr" if is_signed(member.type) else "lshr", up, 64 - member.bit_size)


def copy(body: Body, to: Mem, loc: Loc, size: int) -> None:
    """Copy `size` bytes from wherever they lie."""
    known = walk.loads(body, loc, size)
    if known is not None:
        body.b.copy(to.base, to.offset, known.pointer, loc.offset, size)
    elif loc.space in ("kernel", "user", ""):
        probe_read(body, to, size, address(body, Mem(loc.base, loc.offset)), loc.space)
    elif loc.space == "bpf" and size > INLINE:
        _copy_own(body, to, size, address(body, Mem(loc.base, loc.offset)))
    else:
        body.b.copy(to.base, to.offset, loc.base, loc.offset, size)


def copy_text(body: Body, to: Mem, loc: Loc, size: int) -> None:
    """Copy a char array as text: bytes after its NUL do not come along (they would spoil keys)."""
    if loc.space in ("bpf", "ctx"):
        copy(body, to, loc, size)
    else:
        body.zero_text(to, size)
        probe_read_str(body, to, size, address(body, Mem(loc.base, loc.offset)), loc.space)


def zero(body: Body, to: Mem, size: int) -> None:
    """Clear bytes: by stores, or when there are many by one copy from a map of zeros."""
    if size <= INLINE or not body.has("probe_read_kernel"):
        body.b.zero(to.base, to.offset, size)
        return
    for at in range(0, size, MOST_ZEROS):
        part = min(MOST_ZEROS, size - at)
        name = body.declare(Map(ZEROS, "ARRAY", 4, MOST_ZEROS, 1))
        _copy_own(body, to + at, part, body.b.map_value(name))


def write(body: Body, to: Mem, data: bytes) -> None:
    """Write known bytes, the widest stores that alignment allows."""
    at = 0
    while at < len(data):
        left, start = len(data) - at, to.offset + at
        width = next(w for w in (8, 4, 2, 1) if w <= left and start % w == 0)
        word = int.from_bytes(data[at : at + width], body.arch.byteorder)
        body.b.store(to.base, start, width, word)
        at += width

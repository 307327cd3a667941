"""Packets into files: skboutput.

The bytes are read where the probe is and go through the buffer of all events, so it works in every probe
that has the address of a struct sk_buff. Of packets in several pieces only the first is there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pbt.builtins.time import boot_ns
from pbt.bundle import Event
from pbt.feature import Builtin, Call
from pbt.types import I64, U32, U64, Array, Int, Pointer, Struct, Type, is_integral
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen, World

MOST = 2048  # bytes of one packet
_ENOSPC = -28
_HEADER = struct.Struct("=IHHiIII")  # https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap, section 4
_RECORD = struct.Struct("=IIII")  # seconds, nanoseconds, bytes that follow, bytes that the packet had
_MAGIC, _LINKTYPE_RAW = 0xA1B23C4D, 101
_MEMBERS = ("data", "len", "data_len")


def _check(checks: Checks, call: Call) -> Type:
    checks.keep(call.node, checks.literal_str(call.args[0], "skboutput() file"))
    kind = call.types[1]
    packet = kind.target if isinstance(kind, Pointer) else None
    if not isinstance(packet, Struct) or not all(map(packet.find, _MEMBERS)):
        raise checks.error(
            f"skboutput() expects a pointer to struct sk_buff ({kind} provided)",
            checks.span(call.args[1]),
            "(struct sk_buff *)address",
        )
    for node, given in zip(call.args[2:], call.types[2:], strict=True):
        if not is_integral(given):
            raise checks.error(f"skboutput() expects an integer ({given} provided)", checks.span(node))
    return I64


def _member(gen: Gen, call: Call, packet: Value, name: str) -> Value:
    kind = call.types[1]
    assert isinstance(kind, Pointer) and isinstance(kind.target, Struct)
    member = kind.target.find(name)
    assert member is not None
    room = gen.temp(8, f"skb->{name}")
    gen.read(room, member.type.size, gen.b.add(packet, member.offset), "kernel")
    return gen.b.load(room.base, room.offset, member.type.size)


def _least(gen: Gen, left: Value, right: Value) -> Value:
    return gen.b.select(gen.b.compare("ult", left, right), left, right)


def _skboutput(gen: Gen, call: Call) -> Value:
    """0, or what the read has said; -ENOSPC where the buffer is full."""
    b = gen.b
    packet, wanted, skipped = (gen.value(node) for node in call.args[1:])
    length, further, data = (_member(gen, call, packet, name) for name in ("len", "data_len", "data"))
    taken = gen.at_most(_least(gen, wanted, b.sub(length, further)), MOST)
    b.assign("skboutput", _ENOSPC)
    fields: list[tuple[str, Type]] = [
        ("at", U64), ("taken", U32), ("length", U32), ("skipped", U64), ("data", Array(Int(1), MOST)),
    ]  # fmt: skip
    with gen.event("skboutput", fields, gen.kept(call.node)) as (at, count, whole, skip, room):
        b.store(at.base, at.offset, 8, boot_ns(gen))
        b.store(count.base, count.offset, 4, taken)
        b.store(whole.base, whole.offset, 4, length)
        b.store(skip.base, skip.offset, 8, skipped)
        b.assign("skboutput", gen.read(room, taken, data, "kernel"))
    return b.read("skboutput")


def _act(world: World, event: Event, values: Sequence[Any]) -> None:
    """A file begins anew with the first packet of a session."""
    at, taken, length, skipped, data = values
    path, known = event.text, world.kept.setdefault("packets", set())
    seconds, rest = divmod(at + world.now_offset, 1_000_000_000)
    body = bytes(data[:taken])[skipped:]
    header = b"" if path in known else _HEADER.pack(_MAGIC, 2, 4, 0, 0, 65535, _LINKTYPE_RAW)
    try:
        with open(path, "ab" if path in known else "wb") as file:
            file.write(header + _RECORD.pack(seconds, rest, len(body), max(length - skipped, 0)) + body)
    except OSError as error:
        world.warn(f"skboutput(): cannot write {path}: {error.strerror}")
    known.add(path)


SKBOUTPUT = Builtin(
    "skboutput", "(file, struct sk_buff *, length, offset) -> int64",
    "Append a packet, without its first bytes, to a file in the format of pcap.",
    _check, _skboutput, act=_act, acts=True,
)  # fmt: skip

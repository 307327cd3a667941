"""Addresses and byte order: ntop pton macaddr bswap."""

from __future__ import annotations

from pbt.feature import Builtin, Call, Mem, Presentation
from pbt.types import U8, U32, Array, Int, Opaque, Pointer, Str, Struct, Type, is_integral
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbt.ir.core import Value
    from pbt.views import Checks, Gen, World

AF_INET, AF_INET6 = 2, 10
INET = Opaque("inet", 20, 4)  # u32 address family, then 16 bytes
MAC = Opaque("mac", 6, 1)


def _bytes_of(kind: Type) -> int:
    """How many bytes of address a type holds, 0 if it is no array of integers (a pointer: of bytes)."""
    if isinstance(kind, Pointer):
        kind = kind.target
        return kind.count if isinstance(kind, Array) and kind.element.size == 1 else 0
    return kind.size if isinstance(kind, Array) and is_integral(kind.element) else 0


def _addresses(kind: Struct) -> Iterator[str]:
    """The ways to a struct's members that are addresses: `in6_u.u6_addr8` in a struct in6_addr."""
    for member in kind.flat():
        if isinstance(member.type, Struct):
            yield from (f"{member.name}.{way}" for way in _addresses(member.type))
        elif _bytes_of(member.type) in (4, 16) or member.type == U32:
            yield member.name


def _check_ntop(checks: Checks, call: Call) -> Type:
    node, kind = call.args[-1], call.types[-1]
    if isinstance(kind, (Str, Opaque)) or not (is_integral(kind) or _bytes_of(kind) in (4, 16)):
        hint = next(_addresses(kind), "") if isinstance(kind, Struct) else ""
        raise checks.error(
            f"ntop() expects an integer, or an array of 4 or 16 bytes ({kind} provided)",
            checks.span(node),
            hint and f"its bytes are {checks.span(node).text}.{hint}",
        )
    if len(call.args) == 2 and not is_integral(call.types[0]):
        raise checks.error(
            "ntop() expects an address family first", checks.span(call.args[0]), "AF_INET or AF_INET6"
        )
    return INET


def _ntop(gen: Gen, call: Call, to: Mem) -> None:
    b, kind, node = gen.b, call.types[-1], call.args[-1]
    length = _bytes_of(kind)
    family = gen.value(call.args[0]) if len(call.args) == 2 else AF_INET6 if length == 16 else AF_INET
    b.store(to.base, to.offset, 4, family)
    if not length:
        b.store(to.base, to.offset + 4, 4, gen.value(node))
    elif isinstance(kind, Pointer):
        gen.read(to + 4, length, gen.value(node), gen.space(kind))
    else:
        gen.into(node, to + 4, Array(U8, length))
    if length != 16:
        gen.zero(to + 8, 12)


def _draw_inet(world: World, raw: bytes, detail: str) -> bytes:
    import socket

    family = int.from_bytes(raw[:4], "little")
    if family == AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, raw[4:20]).encode()
    return socket.inet_ntop(socket.AF_INET, raw[4:8]).encode()


def _check_pton(checks: Checks, call: Call) -> Type:
    import socket

    text = checks.literal_str(call.args[0], "pton() address")
    for family in (socket.AF_INET6,) if ":" in text else (socket.AF_INET,):
        try:
            data = socket.inet_pton(family, text)
        except OSError as error:
            raise checks.error(
                f"Invalid address: {text!r}", checks.span(call.args[0]), "write it as 10.0.0.1 or fe80::1"
            ) from error
    checks.keep(call.node, data)
    return Array(U8, len(data))


def _pton(gen: Gen, call: Call, to: Mem) -> None:
    gen.bytes(to, gen.kept(call.node))


def _check_macaddr(checks: Checks, call: Call) -> Type:
    kind = call.types[0]
    text = isinstance(kind, Str) and kind.size in (6, 7)  # with its NUL or without
    if not is_integral(kind) and not text and _bytes_of(kind) != 6:
        raise checks.error(f"macaddr() expects 6 bytes or their address ({kind} provided)", call.span)
    return MAC


def _macaddr(gen: Gen, call: Call, to: Mem) -> None:
    kind = call.types[0]
    if is_integral(kind):
        gen.read(to, 6, gen.value(call.args[0]), gen.space(kind))
    elif isinstance(kind, Str):
        room = gen.temp(kind.size, "macaddr")
        gen.into(call.args[0], room, kind)
        for at, width in gen.b.pieces(6, room.offset, to.offset):
            gen.b.store(to.base, to.offset + at, width, gen.b.load(room.base, room.offset + at, width))
    else:
        gen.into(call.args[0], to, Array(U8, 6))


def _draw_mac(world: World, raw: bytes, detail: str) -> bytes:
    return ":".join(f"{byte:02X}" for byte in raw).encode()


def _check_bswap(checks: Checks, call: Call) -> Type:
    kind = call.types[0]
    if not is_integral(kind) or isinstance(kind, Pointer):
        raise checks.error(f"bswap() expects an integer ({kind} provided)", checks.span(call.args[0]))
    return Int(kind.size)


def _bswap(gen: Gen, call: Call) -> Value:
    size, value = call.types[0].size, gen.value(call.args[0])
    return value if size == 1 else gen.b.bswap(value, size)


NTOP = Builtin(
    "ntop", "([family,] address) -> inet_t", "An IPv4 or IPv6 address as text.", _check_ntop, into=_ntop
)
PTON = Builtin(
    "pton", "(text) -> uint8[4] or uint8[16]", "An address in network byte order.", _check_pton, into=_pton
)
MACADDR = Builtin("macaddr", "(bytes) -> mac_t", "A MAC address as text.", _check_macaddr, into=_macaddr)
BSWAP = Builtin("bswap", "(n) -> unsigned", "The bytes of an integer in reverse order.", _check_bswap, _bswap)
DRAW_INET = Presentation(
    "inet", _draw_inet, lambda world, raw, detail: _draw_inet(world, raw, detail).decode(),
    spelled="inet", size=INET.size,
)  # fmt: skip
DRAW_MAC = Presentation(
    "mac", _draw_mac, lambda world, raw, detail: _draw_mac(world, raw, detail).decode(),
    spelled="macaddr_t", size=MAC.size,
)  # fmt: skip

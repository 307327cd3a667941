"""Text and bytes from memory: str buf strncmp kptr uptr."""

from __future__ import annotations

from pbt.feature import Builtin, Call, Mem
from pbt.types import CHAR, U64, Array, Bool, Buffer, Int, Pointer, Str, Type, is_integral
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen


def _length(checks: Checks, call: Call, index: int) -> int:
    """Room for the result: the literal length if there is one, at most max_strlen."""
    most = int(checks.config["max_strlen"])
    if len(call.args) > index:
        literal = checks.known_int(call.args[index])
        if literal is not None:
            return max(1, min(literal, most))
    return most


def _check_length(checks: Checks, call: Call) -> None:
    """Refuse a length that is no integer, or known to be negative."""
    for node, kind in zip(call.args[1:2], call.types[1:2], strict=True):
        if not is_integral(kind):
            raise checks.error(
                f"{call.name}() length must be an integer ({kind} provided)", checks.span(node)
            )
        known = checks.known_int(node)
        if known is not None and known < 0:
            raise checks.error(f"{call.name}() cannot use negative length ({known})", checks.span(node))


def _check_str(checks: Checks, call: Call) -> Type:
    _check_length(checks, call)
    kind, given = call.types[0], checks.parameter(call.args[0])
    if given is not None:
        text = given.encode("utf-8", "surrogateescape")
        if len(call.args) > 1:
            text = text[: _length(checks, call, 1)]
        return checks.become(call.node, text.decode("utf-8", "surrogateescape"))
    if isinstance(kind, Str):
        return Str(min(kind.size, _length(checks, call, 1)))
    if isinstance(kind, Array) and kind.element.size == 1:
        return Str(min(kind.count, _length(checks, call, 1)))
    if not is_integral(kind) or isinstance(kind, Bool):
        raise checks.error(
            f"str() expects a string, an integer or a pointer type as first argument ({kind} provided)",
            checks.span(call.args[0]),
        )
    return Str(_length(checks, call, 1))


def _str(gen: Gen, call: Call, to: Mem) -> None:
    kind, result = call.types[0], gen.type(call.node)
    if not is_integral(kind):
        _cut(gen, call, to, result)
        return
    gen.zero_text(to, result.size)
    address = gen.value(call.args[0])
    gen.read_str(to, _size(gen, call, result.size), address, gen.space(kind))


def _cut(gen: Gen, call: Call, to: Mem, result: Type) -> None:
    """A text that is none too long, or what it is cut to when the program runs."""
    size = _size(gen, call, result.size)
    if size == result.size:
        gen.into(call.args[0], to, result)
        return
    room = gen.scratch(result.size, "text")
    gen.into(call.args[0], room, result)
    gen.zero_text(to, result.size)
    gen.read_str(to, size, gen.address(room), "kernel")


def _size(gen: Gen, call: Call, most: int, least: int = 1) -> Value | int:
    """How many bytes to read: the length that is asked for, `least` at least (0 or 1) and `most` at most."""
    if len(call.args) < 2:
        return most
    length = gen.value(call.args[1])
    known = gen.b.known(length)
    if known is not None:
        return most if known < 0 else max(least, min(known, most))
    if least:
        return gen.at_most(length, most)
    return gen.b.choose("ugt", length, most, lambda: most, lambda: length)


def _check_buf(checks: Checks, call: Call) -> Type:
    _check_length(checks, call)
    kind = call.types[0]
    if isinstance(kind, Pointer) and isinstance(kind.target, Array):
        kind = kind.target
    if isinstance(kind, Array):
        most = min(kind.size, int(checks.config["max_strlen"]))
        return Buffer(min(_length(checks, call, 1), most)) if len(call.args) > 1 else Buffer(most)
    if not is_integral(kind) and not isinstance(kind, Str):
        raise checks.error(
            f"buf() expects an integer, a pointer or an array as first argument ({kind} provided)",
            checks.span(call.args[0]),
        )
    if len(call.args) < 2:
        raise checks.error(
            "buf() expects a length argument for non-array type " + str(kind),
            call.span,
            "write buf(address, length)",
        )
    return Buffer(_length(checks, call, 1))


def _buf(gen: Gen, call: Call, to: Mem) -> None:
    result, kind = gen.type(call.node), call.types[0]
    assert isinstance(result, Buffer)
    size = _size(gen, call, result.capacity, least=0)
    gen.b.store(to.base, to.offset, 4, size)
    if size == 0:
        gen.zero(to + 4, result.capacity)
    elif is_integral(kind):
        gen.read(to + 4, size, gen.value(call.args[0]), gen.space(kind))
    else:
        gen.into(call.args[0], to + 4, Array(Int(1), result.capacity))


def _check_strncmp(checks: Checks, call: Call) -> Type:
    for node, kind in zip(call.args[:2], call.types[:2], strict=True):
        if not (isinstance(kind, Str) or (isinstance(kind, Array) and kind.element.size == 1)):
            raise checks.error(f"strncmp() expects strings ({kind} provided)", checks.span(node))
    if checks.literal_int(call.args[2], "strncmp() length") < 0:
        raise checks.error("strncmp() length must not be negative", checks.span(call.args[2]))
    return U64


def _strncmp(gen: Gen, call: Call) -> Value:
    most = min(gen.b.known(gen.value(call.args[2])) or 0, *(t.size for t in call.types[:2]))
    return gen.b.compare("eq", gen.same_text(call.args[0], call.args[1], most), 0)


def _check_pointer(checks: Checks, call: Call) -> Type:
    kind, space = call.types[0], "kernel" if call.name == "kptr" else "user"
    if isinstance(kind, Pointer):
        return Pointer(kind.target, "kernel" if space == "kernel" else "user")
    if not is_integral(kind):
        raise checks.error(f"{call.name}() expects an integer or a pointer ({kind} provided)", call.span)
    return Pointer(CHAR, "kernel" if space == "kernel" else "user")


def _pointer(gen: Gen, call: Call) -> Value:
    return gen.value(call.args[0])


STR = Builtin(
    "str", "(pointer [, length]) -> string", "The NUL-terminated text at an address.", _check_str, into=_str
)
BUF = Builtin(
    "buf", "(pointer [, length]) -> buffer", "The bytes at an address; print them with %r, %rx or %rh.",
    _check_buf, into=_buf,
)  # fmt: skip
STRNCMP = Builtin(
    "strncmp", "(a, b, length) -> uint64", "0 if the first `length` characters are the same, else 1.",
    _check_strncmp, _strncmp,
)  # fmt: skip
KPTR = Builtin(
    "kptr", "(pointer) -> pointer", "Say that an address is the kernel's.", _check_pointer, _pointer
)
UPTR = Builtin(
    "uptr", "(pointer) -> pointer", "Say that an address is the user process's.", _check_pointer, _pointer
)

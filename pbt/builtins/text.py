"""What is done with texts: strlen strcap str_concat strstr strcontains."""

from __future__ import annotations

from pbt.feature import Builtin, Call, Mem
from pbt.types import BOOL, CHAR, I8, I64, U64, Pointer, Str, Type, is_text
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbt.ir.core import Value
    from pbt.views import Checks, Gen

MOST_INLINE = 8192  # turns of a loop that the verifier walks one by one: about 30 instructions each
_BYTES = (CHAR, I8)


def _texts(call: Call, config: Mapping[str, Any]) -> list[Type]:
    """The arguments as texts: at an address there may be as long a one as str() would read."""
    longest = Str(int(config["max_strlen"]))
    return [longest if isinstance(kind, Pointer) else kind for kind in call.types]


def _want_text(checks: Checks, call: Call) -> None:
    for node, kind in zip(call.args, call.types, strict=True):
        if not (is_text(kind) or (isinstance(kind, Pointer) and kind.target in _BYTES)):
            raise checks.error(
                f"{call.name}() expects a string ({kind} provided)",
                checks.span(node),
                "str(pointer) makes one",
            )


def _copy(gen: Gen, node: Any, kind: Type, to: Mem) -> Value:
    """Text to other memory, with its NUL; how long it is without it. `to` has room for one byte more."""
    size, given = kind.size + (not isinstance(kind, Str)), gen.type(node)
    if isinstance(given, Pointer):
        length = gen.read_str(to, size, gen.value(node), gen.space(given))
    else:
        space, place = gen.locate(node)
        length = gen.read_str(to, size, gen.address(place), space if space == "user" else "kernel")
    return _below(gen, gen.b.sub(length, 1), size)


def _below(gen: Gen, value: Value, limit: int) -> Value:
    """The value if it is less than the limit (and no error number), else 0."""
    return gen.b.choose("ult", value, limit, lambda: value, lambda: 0)


def _check_strlen(checks: Checks, call: Call) -> Type:
    _want_text(checks, call)
    return U64


def _strlen(gen: Gen, call: Call) -> Value:
    (kind,) = _texts(call, gen.config)
    return _copy(gen, call.args[0], kind, gen.scratch(kind.size + 1, "text"))


def _check_strcap(checks: Checks, call: Call) -> Type:
    """What is at an address has no more room than its own length."""
    _want_text(checks, call)
    if isinstance(call.types[0], Pointer):
        return U64
    return checks.become(call.node, call.types[0].size)


# --- two texts as one -------------------------------------------------------------------------


def _check_concat(checks: Checks, call: Call) -> Type:
    _want_text(checks, call)
    most = int(checks.config["max_strlen"])
    return Str(min(sum(kind.size for kind in _texts(call, checks.config)), most))


def _concat(gen: Gen, call: Call, to: Mem) -> None:
    (left, right), kind = _texts(call, gen.config), gen.type(call.node)
    room = gen.scratch(left.size + right.size + 2, "texts")
    length = _copy(gen, call.args[0], left, room)
    _copy(gen, call.args[1], right, Mem(gen.b.add(room.base, length), room.offset))
    gen.zero_text(to, kind.size)
    gen.read_str(to, kind.size, gen.address(room), "kernel")


# --- one text in another ----------------------------------------------------------------------


def _check_strstr(checks: Checks, call: Call) -> Type:
    _want_text(checks, call)
    hay, needle = (kind.size for kind in _texts(call, checks.config))
    if hay * needle > MOST_INLINE and not checks.target.has("bpf_loop"):
        raise checks.error(
            f"{call.name}() of texts of {hay} and {needle} bytes takes too long for this kernel's verifier",
            call.span,
            "bpf_loop came with Linux 5.17; before it, shorten them with str(pointer, length)",
        )
    return I64 if call.name == "strstr" else BOOL


_AT, _MATCHED, _FOUND, _TEXTS = (
    0,
    8,
    16,
    24,
)  # u64 each: place tried, bytes that agree there, result; then the texts


def _strstr(gen: Gen, call: Call) -> Value:
    """Where the second text begins in the first, -1 if nowhere: one byte is compared in each turn."""
    (hay, needle), b = _texts(call, gen.config), gen.b
    behind = _TEXTS + hay.size + 1
    room = gen.scratch(behind + needle.size + 1, "texts")
    _copy(gen, call.args[0], hay, room + _TEXTS)
    _copy(gen, call.args[1], needle, room + behind)
    for offset, number in ((_AT, 0), (_MATCHED, 0), (_FOUND, -1)):
        b.store(room.base, room.offset + offset, 8, number)
    gen.loop(
        (hay.size + 1) * (needle.size + 1), room, lambda at: _turn(gen, at, behind, hay.size, needle.size)
    )
    return b.load(room.base, room.offset + _FOUND, 8)


def _turn(gen: Gen, room: Mem, behind: int, hay: int, needle: int) -> Value:
    """1 when the search is over: the whole of the needle has matched, or the other text has ended."""
    b = gen.b
    names = ("wanted", "compare", "found", "here", "other", "same", "different", "over", "on")
    wanted, compare, found, here, other, same, different, over, on = (b.block(name) for name in names)
    at, matched = (b.load(room.base, room.offset + offset, 8) for offset in (_AT, _MATCHED))
    b.branch("ult", matched, needle + 1, wanted, over)
    b.place(wanted)
    byte = b.load(b.add(room.base, matched), room.offset + behind, 1)
    b.branch("eq", byte, 0, found, compare)
    b.place(found)
    b.store(room.base, room.offset + _FOUND, 8, at)
    b.jump(over)
    b.place(compare)
    place = b.add(at, matched)
    b.branch("ult", place, hay + 1, here, over)
    b.place(here)
    char = b.load(b.add(room.base, place), room.offset + _TEXTS, 1)
    b.branch("eq", char, byte, same, other)
    b.place(other)
    b.branch("eq", char, 0, over, different)
    b.place(different)
    b.store(room.base, room.offset + _AT, 8, b.add(at, 1))
    b.store(room.base, room.offset + _MATCHED, 8, 0)
    b.jump(on)
    b.place(same)
    b.store(room.base, room.offset + _MATCHED, 8, b.add(matched, 1))
    b.jump(on)
    b.place(over)
    b.assign("turn.stop", 1)
    after = b.block("turn end")
    b.jump(after)
    b.place(on)
    b.assign("turn.stop", 0)
    b.jump(after)
    b.place(after)
    return b.read("turn.stop")


def _strcontains(gen: Gen, call: Call) -> Value:
    return gen.b.compare("sge", _strstr(gen, call), 0)


STRLEN = Builtin(
    "strlen", "(text) -> uint64", "How many bytes a text has before its NUL.", _check_strlen, _strlen
)
STRCAP = Builtin(
    "strcap",
    "(text) -> uint64",
    "How many bytes a text has room for, its NUL included.",
    _check_strcap,
    _strlen,
)
STR_CONCAT = Builtin(
    "str_concat", "(a, b) -> string", "Two texts behind one another.", _check_concat, into=_concat
)
STRSTR = Builtin(
    "strstr", "(text, part) -> int64", "Where the part begins in the text, counted from 0; -1 if it is not there.",
    _check_strstr, _strstr,
)  # fmt: skip
STRCONTAINS = Builtin(
    "strcontains", "(text, part) -> bool", "Whether the part is in the text.", _check_strstr, _strcontains
)

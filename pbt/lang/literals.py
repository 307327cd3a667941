"""Words of the language that mean more than themselves: numbers, strings, types in casts, attach points."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.lang import ast
from pbt.regex import Regex
from pbt.source import ScriptError, Span

_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    '"': '"',
    "\\": "\\",
}
_C_ESCAPES = {r"\'": "'", r"\?": "?", r"\a": "\a", r"\b": "\b", r"\f": "\f", r"\v": "\v", r"\e": "\x1b"}
_OCTAL, _HEXADECIMAL = "01234567", "0123456789abcdefABCDEF"
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
_INT = Regex(
    r"(?:(?P<hex>0[xX]_*[0-9a-fA-F](?:_*[0-9a-fA-F])*)|(?P<exp>[1-9])[eE](?P<power>\d+)|(?P<dec>\d(?:_*\d)*))"
    r"(?:(?P<unit>ns|us|ms|s|m|h|d)|(?i:ul|ull|llu|lu|ll|l|u))?"
)


_LONGEST = 200  # characters: far more than 64 bits take, and fewer than Python would read


def number(text: str, span: Span) -> int:
    """An integer literal: decimal, 0x, octal, 1e6, 1_000, C suffixes, durations in nanoseconds."""
    if text.isascii() and text.isdecimal() and len(text) < 20 and (text[0] != "0" or text == "0"):
        return int(text)
    if len(text) > _LONGEST:
        raise ScriptError("a number of this length does not fit 64 bits", span)
    match = _INT.fullmatch(text)
    if not match:
        hint = "one digit before e, as in 1e6" if Regex(r"\d+e\d+").fullmatch(text) else ""
        raise ScriptError(f"invalid number: {text}", span, hint)
    if match["hex"]:
        value = int(match["hex"].replace("_", ""), 16)
    elif match["exp"]:
        if int(match["power"]) > 19:
            raise ScriptError(f"{text} does not fit 64 bits", span)
        value = int(match["exp"]) * 10 ** int(match["power"])
    else:
        digits = match["dec"].replace("_", "")
        octal = len(digits) > 1 and digits[0] == "0"
        if octal and ("8" in digits or "9" in digits):
            raise ScriptError(f"invalid number: {text}", span, "a leading 0 means octal")
        value = int(digits, 8 if octal else 10)
    value *= _UNITS[match["unit"]] if match["unit"] else 1
    if value >= 1 << 64:
        raise ScriptError(f"{text} does not fit 64 bits", span)
    return value


def unquote(text: str, span: Span) -> str:
    """The characters of a string literal; bytes from 0x80 on are lone surrogates."""

    body = text[1:-1]
    parts: list[str] = []
    at = 0
    while 0 <= (found := body.find("\\", at)) < len(body) - 1:
        character, end = _escaped(body, found + 1, span)
        parts += (body[at:found], character)
        at = end
    return "".join(parts) + body[at:]


def character(text: str, span: Span) -> int:
    """The number of a character of C, which is a signed byte."""
    made = _C_ESCAPES.get(text[1:-1]) or unquote(text, span)
    (byte,) = made.encode("utf-8", "surrogateescape") if len(made) == 1 else b""
    return byte - 256 if byte >= 128 else byte


def _escaped(body: str, at: int, span: Span) -> tuple[str, int]:
    """The character that is meant by what follows a backslash, and where that ends."""
    first = body[at]
    if first in _ESCAPES:
        return _ESCAPES[first], at + 1
    start, most, allowed = (at + 1, 2, _HEXADECIMAL) if first == "x" else (at, 3, _OCTAL)
    digits = body[start : start + most]
    digits = digits[: len(digits) - len(digits.lstrip(allowed))]
    if not digits:
        hint = r"escapes are \n \t \r \" \\ \ooo \xhh"
        raise ScriptError(f"invalid escape sequence \\{first}", span, hint)
    byte = int(digits, 16 if first == "x" else 8) & 0xFF
    # bytes beyond ASCII as surrogateescape keeps single bytes
    return chr(byte) if byte < 0x80 else chr(0xDC00 + byte), start + len(digits)


MOST_SHAPE = 32
_TYPE = Regex(r"\s*([\w\s]+?)\s*((?:(?:\*|\[\s*\d*\s*\])\s*)*)")
_STEP = Regex(r"\*|\[\s*(\d*)\s*\]")


def parse_type(text: str, span: Span) -> ast.TypeName:
    """`struct x *`, `uint8[4]`: the inside of a cast."""
    match = _TYPE.fullmatch(text)
    if not match:
        raise ScriptError(
            f"cannot read the type {text.strip()}", span, "for example: struct sock *, uint8[4], int32"
        )
    steps = [
        "*" if step[0] == "*" else int(step[1]) if step[1] else None for step in _STEP.finditer(match[2])
    ]
    if len(steps) > MOST_SHAPE:
        raise ScriptError(f"a type has at most {MOST_SHAPE} stars and dimensions", span)
    return ast.TypeName(span, " ".join(match[1].split()), in_order(steps))


def in_order(steps: Sequence[str | int | None]) -> tuple[str | int | None, ...]:
    """Stars and dimensions as they are written, in the order in which a type is made of them.

    Of dimensions beside each other the last comes first: `int8[2][3]` is 2 of `int8[3]`.
    """
    made, run = list[str | int | None](), list[str | int | None]()
    for step in steps:
        if step == "*":
            made, run = [*made, *run, "*"], []
        else:
            run.insert(0, step)
    return (*made, *run)


_QUOTED = Regex(r'"(?:[^"\\]|\\.)*"')
_NAMED = Regex(r"(?s)(?:([A-Za-z_]\w*)=)?(.*)")
_PART = Regex(r':?("(?:[^"\\]|\\.)*"|(?:[^:"]|"(?:[^"\\]|\\.)*")*)')


def split_attach_point(text: str, span: Span) -> ast.AttachPoint:
    """Parts between colons; quotes taken off, and a name before `=`."""
    if "=" not in text and '"' not in text:
        return ast.AttachPoint(span, text, tuple(text.split(":")), "")
    name, text = _NAMED.fullmatch(text).groups(default="")  # type: ignore[union-attr]
    parts = _PART.findall(text)[: _count_parts(text)]
    made = tuple(unquote(p, span) if p.startswith('"') else p for p in parts)
    return ast.AttachPoint(span, text, made, name)


def _count_parts(text: str) -> int:
    return len(_QUOTED.sub("", text).split(":"))

"""Words of the language that mean more than themselves: numbers, strings, types in casts, attach points."""

from __future__ import annotations

import re

from pbt.lang import ast
from pbt.source import ScriptError, Span

_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    '"': '"',
    "\\": "\\",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "e": "\x1b",
}
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
_INT = re.compile(
    r"(?:(?P<hex>0[xX][0-9a-fA-F](?:_?[0-9a-fA-F])*)|(?P<exp>[1-9])e(?P<power>\d+)|(?P<dec>\d(?:_?\d)*))"
    r"(?:(?P<unit>ns|us|ms|s|m|h|d)|(?i:ul|ull|llu|lu|ll|l|u))?"
)


def number(text: str, span: Span) -> int:
    """An integer literal: decimal, 0x, octal, 1e6, 1_000, C suffixes, durations in nanoseconds."""
    match = _INT.fullmatch(text)
    if not match:
        hint = "one digit before e, as in 1e6" if re.fullmatch(r"\d+e\d+", text) else ""
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
        if octal and re.search("[89]", digits):
            raise ScriptError(f"invalid number: {text}", span, "a leading 0 means octal")
        value = int(digits, 8 if octal else 10)
    value *= _UNITS[match["unit"]] if match["unit"] else 1
    if value >= 1 << 64:
        raise ScriptError(f"{text} does not fit 64 bits", span)
    return value


def unquote(text: str, span: Span) -> str:
    """The characters of a string literal; bytes from 0x80 on are lone surrogates."""

    def replace(match: re.Match[str]) -> str:
        body = match[1]
        if body[0] in "x01234567" and body != "x":
            byte = int(body[1:], 16) if body[0] == "x" else int(body, 8) & 0xFF
            return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)  # as surrogateescape keeps single bytes
        if body not in _ESCAPES:
            raise ScriptError(
                f"invalid escape sequence \\{body}", span, r"escapes are \n \t \r \" \\ \ooo \xhh"
            )
        return _ESCAPES[body]

    return re.sub(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.|\n)", replace, text[1:-1])


MOST_SHAPE = 32


def parse_type(text: str, span: Span) -> ast.TypeName:
    """`struct x *`, `uint8[4]`: the inside of a cast."""
    match = re.fullmatch(r"\s*([\w\s]+?)\s*((?:\*\s*)*)((?:\[\s*\d*\s*\]\s*)*)(\*?)\s*", text)
    if not match:
        raise ScriptError(
            f"cannot read the type {text.strip()}", span, "for example: struct sock *, uint8[4], int32"
        )
    stars = match[2].count("*") + len(match[4])
    if stars > MOST_SHAPE or match[3].count("[") > MOST_SHAPE:
        raise ScriptError(f"a type has at most {MOST_SHAPE} stars and dimensions", span)
    dims = tuple(int(d) if d else None for d in re.findall(r"\[\s*(\d*)\s*\]", match[3]))
    return ast.TypeName(span, " ".join(match[1].split()), stars, dims)


def split_attach_point(text: str, span: Span) -> ast.AttachPoint:
    """Parts between colons; quotes taken off, and a name before `=`."""
    name, text = re.fullmatch(r"(?s)(?:([A-Za-z_]\w*)=)?(.*)", text).groups(default="")  # type: ignore[union-attr]
    parts = re.findall(r':?("(?:[^"\\]|\\.)*"|(?:[^:"]|"(?:[^"\\]|\\.)*")*)', text)[: _count_parts(text)]
    made = tuple(unquote(p, span) if p.startswith('"') else p for p in parts)
    return ast.AttachPoint(span, text, made, name)


def _count_parts(text: str) -> int:
    return len(re.sub(r'"(?:[^"\\]|\\.)*"', "", text).split(":"))

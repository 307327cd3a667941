"""printf format strings: text → segments, segments + values → bytes.

`%[-][+][ ][#][0][width][.precision][length]conversion` as in C, with these differences: 64-bit
values print in full without a length modifier, `%s` draws a value of any type, `%r`, `%rx` and
`%rh` draw buffers, `%gr` the flags of a memory allocation. Texts are bytes; values of strings are bytes too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pbt.data import NamedTuple
from pbt.types import Enum, Int, Type
from pbt.typing import Any

Draw = Callable[[Any], bytes]
"""How `%s` draws one argument."""


class FormatError(Exception):
    """A conversion that cannot be: what is wrong, and perhaps how to mend it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Conversion(NamedTuple):
    """One `%…`: flags, width and precision as written ("" if absent), length modifier, conversion."""

    flags: str
    width: str
    precision: str
    length: str
    name: str

    @property
    def bits(self) -> int:
        """To how many bits a length modifier narrows; 64 for none."""
        return {"hh": 8, "h": 16}.get(self.length, 64)


_FLAGS, _DIGITS = "-+ #0", "0123456789"
_LENGTHS = ("hh", "h", "ll", "l", "L", "j", "z", "t", "q")
_LONG = ("rx", "rh", "gr")  # conversions of two letters
_AS_TEXT = ("s", "c", "r", "rx", "rh", "gr", "p")
_KNOWN = frozenset(("d", "i", "u", "x", "X", "o", "c", "p", "s", "r", "rx", "rh", "gr"))
_HINT = "conversions are d i u x X o c p s r rx rh gr"


def split(text: str) -> tuple[list[str], list[Conversion]]:
    """Literal texts (one more than conversions) and conversions, in turn. A percent sign that begins none is text."""
    literals, found, at = [""], [], 0
    while (percent := text.find("%", at)) >= 0:
        literals[-1] += text[at:percent]
        if end := _percent_sign(text, percent):
            literals[-1] += "%"
            at = end
            continue
        try:
            conversion, at = _conversion(text, percent)
        except FormatError:
            literals[-1] += "%"
            at = percent + 1
            continue
        found.append(conversion)
        literals.append("")
    literals[-1] += text[at:]
    return literals, found


def stray(text: str) -> FormatError | None:
    """What is wrong with the first percent sign that begins no conversion."""
    at = 0
    while (percent := text.find("%", at)) >= 0:
        try:
            at = _percent_sign(text, percent) or _conversion(text, percent)[1]
        except FormatError as error:
            return error
    return None


def _percent_sign(text: str, percent: int) -> int:
    """The end of `%%`, which flags and a width do not change; 0 where something else begins."""
    at = _run(text, percent + 1, _FLAGS + _DIGITS)[1]
    return at + 1 if text.startswith("%", at) else 0


def _conversion(text: str, percent: int) -> tuple[Conversion, int]:
    """The conversion that begins there, and where it ends."""
    flags, at = _run(text, percent + 1, _FLAGS)
    width, at = _run(text, at, _DIGITS)
    precision = ""
    if text.startswith(".", at):
        digits, at = _run(text, at + 1, _DIGITS)
        precision = "." + (digits or "0")
    length = next((each for each in _LENGTHS if text.startswith(each, at)), "")
    at += len(length)
    name = next((each for each in _LONG if text.startswith(each, at)), text[at : at + 1])
    at += len(name)
    if not name:
        lacks = (
            "write %% for a percent sign"
            if at == percent + 1
            else f"{text[percent:]} lacks its letter: {_HINT}"
        )
        raise FormatError("the format string ends within a conversion", lacks)
    if name == "*" and not width:
        shown = text[percent:at]
        raise FormatError(f"a width must be a number: {shown}", "write the width into the format string")
    if name not in _KNOWN:
        shown = text[percent:at].encode("unicode_escape").decode()
        raise FormatError(f"unsupported format specifier: {shown}", _HINT)
    return Conversion(flags, width, precision, length, "d" if name == "i" else name), at


def _run(text: str, at: int, characters: str) -> tuple[str, int]:
    """The longest text of such characters that begins there, and where it ends."""
    end = at
    while text[end : end + 1] in characters and end < len(text):
        end += 1
    return text[at:end], end


def conversions(text: str) -> list[str]:
    """The conversion of each argument that a format wants: "d u x X o c p s r rx rh gr" (`%i` is "d")."""
    return [conversion.name for conversion in split(text)[1]]


def pieces(text: str) -> list[tuple[str, str]]:
    """Each literal text of a format with the conversion behind it, "" behind the last one."""
    literals, found = split(text)
    return list(zip(literals, [*(conversion.name for conversion in found), ""], strict=True))


class Format(NamedTuple):
    """A parsed format. `template` is in the terms of Python's bytes formatting, one item a conversion."""

    template: bytes
    conversions: tuple[Conversion, ...]

    @classmethod
    def parse(cls, text: str) -> Format:
        literals, found = split(text)
        parts = [_quoted(literals[0])]
        for conversion, literal in zip(found, literals[1:], strict=True):
            parts += [_python(conversion), _quoted(literal)]
        return cls(b"".join(parts), tuple(found))

    def bind(self, types: Sequence[Type], drawers: Sequence[Draw]) -> tuple[Draw | None, ...]:
        """For each argument, what its decoded value must go through before `template % values`.

        None where the value can be used as it is. `drawers` are asked for `%s`.
        """
        rows = zip(self.conversions, types, drawers, strict=True)
        return tuple(_prepare(conversion, type_, draw) for conversion, type_, draw in rows)

    def format(self, values: Sequence[Any], types: Sequence[Type], drawers: Sequence[Draw]) -> bytes:
        """The text of the values, each of which was decoded from its type (see pbt.record.reader)."""
        ready = self.bind(types, drawers)
        return self.template % tuple(
            value if prepare is None else prepare(value) for value, prepare in zip(values, ready, strict=True)
        )


def _quoted(text: str) -> bytes:
    return text.encode(errors="surrogateescape").replace(b"%", b"%%")


def _python(conversion: Conversion) -> bytes:
    """The item of Python's bytes formatting that pads and cuts as C does."""
    flags, width, precision, _, name = conversion
    if _drawn(conversion):
        cut = precision if name in ("s", "r", "rx", "rh") else ""
        return f"%{'-' * ('-' in flags)}{width}{cut}s".encode()
    dropped = ("0" if precision or "-" in flags else "") + ("" if name == "d" else "+ ")
    flags = "".join(flag for flag in flags if flag not in dropped + "#")
    return f"%{flags}{width}{precision}{'d' if name == 'u' else name}".encode()


def _drawn(conversion: Conversion) -> bool:
    """Whether the value becomes text before Python's formatting pads it, for all that differs from C's."""
    alternate = "#" in conversion.flags and conversion.name in "xXo"
    return alternate or conversion.precision == ".0" or conversion.name in _AS_TEXT


def _prepare(conversion: Conversion, type_: Type, draw: Draw) -> Draw | None:
    name = conversion.name
    if name == "s":
        return draw
    if name in ("r", "rx", "rh"):
        return _BUFFERS[name]
    if name == "c":
        return lambda value: b"%c" % (value & 0xFF)
    if name == "gr":
        return _gfp
    if name == "p":
        return lambda value: _filled(b"%x" % (value % _WORD), b"0x" if value else b"", conversion)
    if _drawn(conversion):
        return _number(conversion, type_)
    return _narrow(name == "d", width(conversion, type_), type_)


_WORD = 1 << 64


def _gfp(value: int) -> bytes:
    from pbt.gfp import names

    return names(value % (1 << 32)).encode()


def width(conversion: Conversion, type_: Type) -> int:
    """Bits that the number has: C widens small types to int, and `l` widens to 64."""
    if conversion.bits < 64:
        return conversion.bits
    return 64 if conversion.length else max(32, 8 * type_.size)


class Narrow:
    """Numbers modulo `modulus`, from `low` on."""

    def __init__(self, low: int, modulus: int) -> None:
        self.low, self.modulus = low, modulus

    def __call__(self, value: Any) -> Any:
        return (value - self.low) % self.modulus + self.low

    def column(self, values: Sequence[int]) -> Sequence[int]:
        """Many at once: most often all are as they should be."""
        if self.low <= min(values) and max(values) < self.low + self.modulus:
            return values
        return list(map(self, values))


def _narrow(signed: bool, bits: int, type_: Type) -> Draw | None:
    """Read a number anew as a signed or unsigned number of so many bits; None if that changes nothing."""
    if isinstance(type_, (Int, Enum)) and (
        (type_.signed == signed and 8 * type_.size <= bits)
        or (signed and not type_.signed and 8 * type_.size < bits)
    ):
        return None
    return Narrow(-(1 << bits - 1) if signed else 0, 1 << bits)


def _number(conversion: Conversion, type_: Type) -> Draw:
    """A number and its sign or prefix as C writes them: no `0x` for zero, for `%.0d` not even a digit."""
    bits, name, flags = width(conversion, type_), conversion.name, conversion.flags
    item = f"%{conversion.precision}{'d' if name == 'u' else name}".encode()
    plus = b"+" if "+" in flags else b" " if " " in flags else b""

    def draw(value: int) -> bytes:
        value %= 1 << bits
        prefix = b""
        if name == "d":
            prefix = plus
            if value >> bits - 1:
                prefix, value = b"-", (1 << bits) - value
        elif value and "#" in flags and name in "xX":
            prefix = b"0" + name.encode()
        digits = b"" if not value and conversion.precision == ".0" else item % value
        if name == "o" and "#" in flags and not digits.startswith(b"0"):
            digits = b"0" + digits
        return _filled(digits, prefix, conversion)

    return draw


def _filled(digits: bytes, prefix: bytes, conversion: Conversion) -> bytes:
    """Zeros between prefix and digits, where the flags ask for them."""
    if "0" in conversion.flags and "-" not in conversion.flags and not conversion.precision:
        digits = digits.rjust(int(conversion.width or 0) - len(prefix), b"0")
    return prefix + digits


def escaped(data: bytes) -> bytes:
    r"""Bytes as text: printable ASCII as it is, all else as \xNN."""
    return b"".join(_ESCAPED[byte] for byte in data)


_ESCAPED = tuple(b"%c" % byte if 0x20 <= byte < 0x7F else b"\\x%02x" % byte for byte in range(256))
_BUFFERS: dict[str, Draw] = {
    "r": lambda value: escaped(bytes(value)),
    "rx": lambda value: b"".join(b"\\x%02x" % byte for byte in bytes(value)),
    "rh": lambda value: bytes(value).hex(" ").encode(),
}

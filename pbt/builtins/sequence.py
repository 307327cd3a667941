"""printf() where its text goes into a file of the kernel's: what an iterator says to whoever reads its pin.

The helper seq_printf takes formats of printable ASCII with d u x X s and widths, at most 12 arguments, and
about 500 bytes of texts at once; what is more is written in several calls.
Source: bpf_bprintf_prepare in kernel/bpf/helpers.c; bpf_seq_printf in Linux 5.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbt import printf
from pbt.data import NamedTuple
from pbt.feature import Call
from pbt.types import Int, Type, is_signed, is_text
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Gen

_MOST_ARGUMENTS, _MOST_TEXTS, _MOST_BYTES = 12, 6, 480  # of one call; texts: before Linux 5.13
_WORD, _LONG_TEXT = 8, 384  # bytes that a number and at most a text are reckoned with
_NUMBERS = ("d", "u", "x", "X")
_TAKEN = "a pinned iterator's printf() takes d u x X c p s with flags - 0 + and a width: the kernel writes the text"


class Piece(NamedTuple):
    """One call: `text` is a format for these arguments (by their positions), or bytes to write as they are."""

    text: bytes
    args: tuple[int, ...] = ()
    raw: bool = False


def plan(text: str, types: Sequence[Type]) -> list[Piece]:
    """The calls that write a format. Raises FormatError for what the kernel cannot write."""
    literals, conversions = printf.split(text)
    pieces: list[Piece] = []
    texts = weight = 0
    for n, literal in enumerate(literals):
        pieces = _literal(pieces, literal.encode(errors="surrogateescape"))
        if n == len(conversions):
            break
        item, kind = _item(conversions[n], types[n]), types[n]
        own = min(kind.size, _LONG_TEXT) if is_text(kind) else _WORD
        last = pieces[-1] if pieces else Piece(b"", raw=True)
        fits = len(last.args) < _MOST_ARGUMENTS and texts < _MOST_TEXTS and weight + own <= _MOST_BYTES
        if last.raw or not fits:
            last, texts, weight = Piece(b""), 0, 0
        else:
            pieces.pop()
        pieces.append(Piece(last.text + item, (*last.args, n)))
        texts, weight = texts + is_text(kind), weight + own
    return pieces


def _literal(pieces: list[Piece], literal: bytes) -> list[Piece]:
    """Text behind what is there: part of a format where that may hold it."""
    if not literal:
        return pieces
    if not all(0x20 <= byte < 0x7F or 0x09 <= byte <= 0x0D for byte in literal):
        return [*pieces, Piece(literal, raw=True)]
    quoted = literal.replace(b"%", b"%%")
    if pieces and not pieces[-1].raw:
        return [*pieces[:-1], pieces[-1]._replace(text=pieces[-1].text + quoted)]
    return [*pieces, Piece(quoted)]


def _item(conversion: printf.Conversion, kind: Type) -> bytes:
    """A conversion in the kernel's spelling: numbers are 64 bits wide there."""
    flags, width, precision, _, name = conversion
    shown = f"%{flags}{width}{precision}{name}"
    if precision or "#" in flags or name not in (*_NUMBERS, "c", "p", "s"):
        hint = "cut the text itself: str(pointer, length)" if precision and name == "s" else _TAKEN
        raise printf.FormatError(f"{shown} cannot be written into a pinned iterator's file", hint)
    if name == "p":
        return _pointer(shown, flags, width)
    if name == "s" and not is_text(kind):
        if not isinstance(kind, Int):
            raise printf.FormatError(
                f"%s cannot write a value of type {kind} into a pinned iterator's file", _TAKEN
            )
        name = "d" if kind.signed else "u"
    return f"%{flags}{width}{'s' if name in 'sc' else 'll' + name}".encode()


def _pointer(shown: str, flags: str, width: str) -> bytes:
    """`%p` of the kernel's own hides addresses behind a hash."""
    if width and "-" not in flags and "0" not in flags:
        raise printf.FormatError(
            f"{shown} cannot be written into a pinned iterator's file", "write %-20p or %020p"
        )
    rest = str(max(int(width or 0) - 2, 0) or "")
    return f"0x%{'-' if '-' in flags else '0' if rest else ''}{rest}llx".encode()


# --- the kernel half --------------------------------------------------------------------------


def write(gen: Gen, call: Call) -> None:
    """The calls of a checked printf()."""
    assert gen.probe.sequence is not None
    b, text = gen.b, gen.kept(call.node)
    conversions = printf.split(text)[1]
    for piece in plan(text, call.types[1:]):
        written = piece.text if piece.raw else piece.text + b"\0"
        room = gen.temp(len(written), "format")
        gen.bytes(room, written)
        if piece.raw:
            b.call("seq_write", gen.probe.sequence(gen), gen.address(room), len(written))
            continue
        values = list(_values(gen, call, piece, conversions))
        data = gen.temp(max(_WORD, _WORD * len(values)), "values")
        for n, value in enumerate(values):
            b.store(data.base, data.offset + _WORD * n, _WORD, value)
        where = gen.address(data) if values else 0
        file = gen.probe.sequence(gen)
        b.call("seq_printf", file, gen.address(room), len(written), where, _WORD * len(values))


def _values(gen: Gen, call: Call, piece: Piece, conversions: Sequence[printf.Conversion]) -> Iterator[Value]:
    """A u64 for each argument of a piece: a number, or the address of a text."""
    for n in piece.args:
        node, kind, conversion = call.args[n + 1], call.types[n + 1], conversions[n]
        if conversion.name == "c":
            yield _letter(gen, node)
        elif is_text(kind):
            room = gen.temp(kind.size + 1, "text")
            gen.into(node, room, kind, pad=False)
            gen.b.store(room.base, room.offset + kind.size, 1, 0)  # an array of char may be full
            yield gen.address(room)
        else:
            yield _number(gen, node, kind, conversion)


def _letter(gen: Gen, node: Any) -> Value:
    """As a text of one character: `%c` came to the kernel with Linux 5.16."""
    room = gen.temp(_WORD, "letter")
    gen.b.store(room.base, room.offset, _WORD, gen.b.op("and", gen.value(node), 0xFF))
    return gen.address(room)


def _number(gen: Gen, node: Any, kind: Type, conversion: printf.Conversion) -> Value:
    """The number in as many bits as user space would show."""
    value = gen.value(node)
    signed = conversion.name == "d" or (conversion.name == "s" and is_signed(kind))
    bits = 64 if conversion.name in "sp" else printf.width(conversion, kind)
    return value if bits >= 64 else gen.b.extend(value, bits // 8, signed)

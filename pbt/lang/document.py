"""Documents: text with choices of where to break lines, and the choice that fits a width.

After Wadler ("A prettier printer", 2003), with two things that source code needs: a line that ends
here whatever follows (after comments), and columns that later lines align to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias


class Text(NamedTuple):
    """Characters as they are; newlines among them stay."""

    text: str


class Line(NamedTuple):
    """A newline where the group around it is broken, `flat` where it stands on one line."""

    flat: str = " "


class Fresh(NamedTuple):
    """What follows begins a line; with `blank`, after an empty one."""

    blank: bool = False


class Flush(NamedTuple):
    """A line of its own that takes no indentation."""

    text: str


class Cat(NamedTuple):
    parts: tuple[Doc, ...]


class Nest(NamedTuple):
    """Lines that begin with something inside are indented by `by` more columns."""

    by: int
    inner: Doc


class Align(NamedTuple):
    """Lines inside begin at the column where this begins."""

    inner: Doc


class Group(NamedTuple):
    """On one line if there is room, else broken at each of its own `Line`s."""

    inner: Doc


class Fill(NamedTuple):
    """Parts with a blank between each two, or a newline where the next part finds no room.

    `begun`: a part stands before the first.
    """

    parts: tuple[Doc, ...]
    begun: bool = False


Doc: TypeAlias = "Text | Line | Fresh | Flush | Cat | Nest | Align | Group | Fill"

LINE, FRESH = Line(), Fresh()


def cat(*parts: Doc | str) -> Cat:
    return Cat(tuple(Text(part) if isinstance(part, str) else part for part in parts))


def joined(parts: Sequence[Doc], between: Doc) -> Cat:
    """`parts` with `between` between each two."""
    return Cat(tuple(piece for part in parts for piece in (between, part))[1:])


class _Todo(NamedTuple):
    indent: int
    broken: bool
    doc: Doc


def render(doc: Doc, width: int) -> str:
    """The text of a document, in lines of at most `width` columns where that can be; none ends in a blank."""
    out, todo = _Out(), [_Todo(0, True, doc)]
    while todo:
        indent, broken, doc = todo.pop()
        if isinstance(doc, Text):
            out.text(doc.text, indent)
        elif isinstance(doc, Line):
            if broken:
                out.end_line()
            else:
                out.text(doc.flat, indent)
        elif isinstance(doc, Fresh):
            out.end_line(doc.blank)
        elif isinstance(doc, Flush):
            out.whole_line(doc.text)
        elif isinstance(doc, Cat):
            todo += [_Todo(indent, broken, part) for part in reversed(doc.parts)]
        elif isinstance(doc, Nest):
            todo.append(_Todo(indent + doc.by, broken, doc.inner))
        elif isinstance(doc, Align):
            todo.append(_Todo(out.column(indent), broken, doc.inner))
        elif isinstance(doc, Group):
            fits = _fits(width - out.column(indent), _Todo(indent, False, doc.inner), todo)
            todo.append(_Todo(indent, not fits, doc.inner))
        elif doc.parts:
            todo += _filled(doc, indent, broken, width - out.column(indent), todo)
    return out.finish()


def _filled(doc: Fill, indent: int, broken: bool, room: int, rest: list[_Todo]) -> list[_Todo]:
    """What to do for the next part of a `Fill`, last thing first."""
    after = [_Todo(indent, broken, Fill(doc.parts[1:], True))]
    part = _Todo(indent, broken, Group(doc.parts[0]))
    if not doc.begun:
        return [*after, part]
    fits = not broken or _fits(room - 1, part._replace(broken=False), [*rest, *after])
    return [*after, part, _Todo(indent, not fits, LINE)]


def _fits(room: int, first: _Todo, rest: Sequence[_Todo]) -> bool:
    """Whether `first`, flat, and what of `rest` must stand on the same line, find room."""
    pending, left = [first], len(rest)
    inside = True
    while room >= 0:
        if not pending:
            if not left:
                return True
            left, inside = left - 1, False
            pending.append(rest[left])
        indent, broken, doc = pending.pop()
        if isinstance(doc, Text):
            head, newline, _ = doc.text.partition("\n")
            room -= len(head)
            if newline:
                return not inside and room >= 0
        elif isinstance(doc, Line):
            if broken:
                return True
            room -= len(doc.flat)
        elif isinstance(doc, (Fresh, Flush)):
            return not inside
        elif isinstance(doc, Cat):
            pending += [_Todo(indent, broken, part) for part in reversed(doc.parts)]
        elif isinstance(doc, Fill):
            if not inside and doc.begun and doc.parts:
                return True
            pending += [_Todo(indent, False, part) for part in reversed(_spaced(doc))]
        else:
            flat = inside or isinstance(doc, Group)
            pending.append(_Todo(indent, broken and not flat, doc.inner))
    return False


def _spaced(doc: Fill) -> list[Doc]:
    return [piece for part in doc.parts for piece in (LINE, part)][0 if doc.begun else 1 :]


class _Out:
    """What is written so far; newlines wait until something follows them."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._column = 0
        self._newlines = 0

    def column(self, indent: int) -> int:
        """Where the next text begins."""
        return indent if self._newlines or not self._pieces else self._column

    def end_line(self, blank: bool = False) -> None:
        if self._pieces:
            self._newlines = max(self._newlines, 1 + blank)

    def text(self, text: str, indent: int) -> None:
        if self._newlines or not self._pieces:
            text = text.lstrip(" ")
        self._put(text, " " * indent)

    def whole_line(self, text: str) -> None:
        self.end_line()
        self._put(text, "")
        self.end_line()

    def _put(self, text: str, indent: str) -> None:
        if not text:
            return
        if self._newlines or not self._pieces:
            self._strip()
            text = "\n" * self._newlines + indent + text
            self._newlines, self._column = 0, 0
        self._pieces.append(text)
        last = text.rpartition("\n")
        self._column = len(last[2]) + (0 if last[1] else self._column)

    def _strip(self) -> None:
        while self._pieces and not self._pieces[-1].strip(" "):
            self._pieces.pop()
        if self._pieces:
            self._pieces[-1] = self._pieces[-1].rstrip(" ")

    def finish(self) -> str:
        self._strip()
        return "".join(self._pieces) + ("\n" if self._pieces else "")

"""Script text, places in it, and the two kinds of error a user sees."""

from __future__ import annotations

import errno as _errno
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from pbt.data import dataclass, field
from pbt.typing import Any


@dataclass(frozen=True, eq=False)
class Source:
    """A script: the name shown in messages (a path or "stdin") and its text."""

    name: str
    text: str
    _starts: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts, at = [0], 0
        while at := self.text.find("\n", at) + 1:
            starts.append(at)
        object.__setattr__(self, "_starts", starts)

    def position(self, offset: int) -> tuple[int, int]:
        """Character offset → line and column, both from 1."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Text of line `number` (from 1), without its newline."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[start:end].rstrip("\r")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters start (included) to end (excluded) of a source; `use`: of a macro's text, where it was called."""

    source: Source
    start: int
    end: int
    use: Span | None = field(default=None, compare=False, repr=False)

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def width(self) -> int:
        """Columns to underline: up to the end of the first line, at least one."""
        line, column = self.source.position(self.start)
        room = len(self.source.line(line)) - column + 1
        return max(1, min(self.end - self.start, room))

    def locate(self) -> tuple[int, int, str]:
        """Line and column (from 1) of the start, and the text of that line."""
        line, column = self.source.position(self.start)
        return line, column, self.source.line(line)

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of the other."""
        return Span(self.source, self.start, other.end, self.use)

    def used(self, use: Span) -> Span:
        """The same place, reached by a call of a macro."""
        return Span(self.source, self.start, self.end, use)


_LINES = 3  # lines after the first that are shown of a place
_ROOM = 160  # columns of a source line that are shown; of longer ones, the part around the place


def _window(text: str, start: int, width: int) -> tuple[str, int, int]:
    """The part of a line to show, and where and how wide its caret stands (columns from 0)."""
    if len(text) <= _ROOM:
        return text, start, width
    left = max(0, min(start - _ROOM // 2, len(text) - _ROOM))
    cut = ("..." if left else "") + text[left : left + _ROOM] + ("..." if left + _ROOM < len(text) else "")
    at = start - left + 3 * bool(left)
    return cut, at, min(width, len(cut) - at)


NOWHERE = Span(Source("<pbt>", ""), 0, 0)


def show(level: str, message: str, span: Span, hint: str = "") -> str:
    """Draw one diagnostic: place, source lines, caret under the first, the calls of macros that led there, hint.

    Tabs and control characters become one blank each, so that the caret stays under its column.
    """
    rows = list(_place(level, message, span))
    while span.use is not None:
        inner, span = span, span.use
        if (inner.source, inner.start) != (span.source, span.start):  # a macro that calls itself, again
            rows += _place(level, "expanded from", span)
    return "\n".join([*rows, f"HINT: {hint}"] if hint else rows)


def _place(level: str, message: str, span: Span) -> Iterator[str]:
    line, column, text = span.locate()
    where = f"{span.source.name}:{line}:{column}: {level}: {message}"
    shown, at, width = _window(text, column - 1, span.width)
    caret = " " * at + "^" + "~" * (width - 1)
    yield where
    if shown.strip():
        yield from (_plain(shown), caret, *_more(span, line))


def _more(span: Span, first: int) -> Iterator[str]:
    """The lines that a place goes on for, if they are not too many."""
    last, _ = span.source.position(max(span.end - 1, span.start))
    for number in range(first + 1, min(last, first + _LINES) + 1):
        yield _plain(_window(span.source.line(number), 0, 1)[0])
    if last > first + _LINES:
        yield "..."


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


class PbtError(Exception):
    """Anything that pbt reports to its user in words. Other processes may be sent it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[PbtError], args: tuple[object, ...]) -> PbtError:
    """An error as it was, without its `__init__`, whose parameters are not `args`."""
    return kind.__new__(kind, *args)


class ScriptError(PbtError):
    """A mistake in the user's script: what, where, and perhaps how to mend it.

    `fix`: text that mends it, put in the place of `span`.
    """

    def __init__(self, message: str, span: Span, hint: str = "", fix: str = "") -> None:
        super().__init__(message)
        self.message, self.span, self.hint, self.fix = message, span, hint, fix

    def __str__(self) -> str:
        return show("ERROR", self.message, self.span, self.hint)


class Undefined(ScriptError):
    """A name that nothing in the script defines, as far as the script could be read."""


class ScriptErrors(PbtError):
    """Several independent mistakes found in one run, in source order."""

    def __init__(self, errors: Sequence[ScriptError]) -> None:
        super().__init__(errors)
        self.errors = tuple(sorted(errors, key=lambda e: (e.span.start, e.span.end)))

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class caught:
    """`with caught(errors):` mistakes inside go to the list."""

    def __init__(self, errors: list[ScriptError]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, ScriptError):
            self._errors.append(error)
        elif isinstance(error, ScriptErrors):
            self._errors.extend(error.errors)
        return isinstance(error, (ScriptError, ScriptErrors))


def give(found: Sequence[ScriptError], errors: list[ScriptError] | None) -> None:
    """Add mistakes to a list from which others go on, or raise them if there is none."""
    if errors is not None:
        errors.extend(found)
    elif found:
        raise ScriptErrors(found) if len(found) > 1 else found[0]


class UsageError(PbtError):
    """A wrong command line, environment or file: message and hint, no place in a script."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"ERROR: {self.message}" + (f"\nHINT: {self.hint}" if self.hint else "")


class KernelError(PbtError):
    """The kernel refused: what was asked, errno, what to do, and the verifier's log if any."""

    def __init__(self, what: str, errno: int, hint: str = "", log: str = "") -> None:
        super().__init__(what)
        self.what, self.errno, self.hint, self.log = what, errno, hint, log

    @property
    def name(self) -> str:
        return _errno.errorcode.get(self.errno, str(self.errno))

    def __str__(self) -> str:
        text = f"ERROR: {self.what}: {self.name} ({os.strerror(self.errno)})"
        return text + (f"\nHINT: {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True)
class ScriptWarning:
    """Something odd but not wrong; printed to standard error unless warnings are off."""

    message: str
    span: Span
    hint: str = ""

    def __str__(self) -> str:
        return show("WARNING", self.message, self.span, self.hint)


class Notice(ScriptWarning):
    """What was done about a script beside what it says: one line."""

    __slots__ = ()

    def __str__(self) -> str:
        line, column, _ = self.span.locate()
        return f"{self.span.source.name}:{line}:{column}: NOTE: {self.message}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint naming the nearest of the known names; "" if none is near."""
    close = nearest(name, known, 1)
    return f"did you mean {close[0]}?" if close else ""


_MANY = 500  # difflib takes seconds for the functions of a kernel
_NOISE = 0.15


def nearest(name: str, known: Iterable[str], most: int = 3, likeness: float = 0.6) -> list[str]:
    """Known names that look like `name`, best first: for "did you mean" hints. `likeness`: from 0 to 1.

    Those with the same letters, in another order or with other capitals, come before all others; much shorter ones look
    like anything. What is far less like it than the best is noise.
    """
    from difflib import SequenceMatcher, get_close_matches

    names = [other for other in known if other != name and 5 * len(other) >= 3 * len(name)]
    same = [other for other in names if other.lower() == name.lower()]
    if len(names) > _MANY:
        names = _likely(name, names, likeness)
    close = same or get_close_matches(name, names, max(most, 3), likeness)
    likenesses = [SequenceMatcher(None, other, name).ratio() for other in close]
    close = [other for other, like in zip(close, likenesses, strict=True) if like > likenesses[0] - _NOISE]
    return sorted(close, key=lambda other: sorted(other) != sorted(name))[:most]


def _likely(name: str, names: Sequence[str], likeness: float) -> list[str]:
    """At most _MANY of the names: of a length that may be so like, and with as many pieces of `name` as can be had."""
    size = 3 if len(name) > 5 else 1
    pieces = {name[at : at + size] for at in range(max(len(name) - size + 1, 1))}
    short, long = len(name) * likeness / (2 - likeness), len(name) * (2 - likeness) / likeness
    fit = [known for known in names if short <= len(known) <= long]
    shared: dict[str, int] = {}
    for piece in pieces:
        for known in [known for known in fit if piece in known]:
            shared[known] = shared.get(known, 0) + 1
    return sorted(shared, key=lambda n: (-shared[n], abs(len(n) - len(name)), n))[:_MANY]


def mistyped(name: str, other: str) -> bool:
    """Whether `other` is `name` typed rightly, or all of `name` with more before or behind it.

    Among very many names something looks a little like any word; this tells what may have been meant.
    """
    return other.startswith(name) or other.endswith(f"_{name}") or _slips(name, other) <= 1 + len(name) // 8


def _slips(name: str, other: str) -> int:
    """How many letters are put in, left out, mistaken or swapped with the next between two names.

    It is their optimal string alignment distance.
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(name):
        earlier, before, row = before, row, [i + 1]
        for j, there in enumerate(other):
            least = min(before[j + 1] + 1, row[j] + 1, before[j] + (letter != there))
            if i and j and letter == other[j - 1] and there == name[i - 1]:
                least = min(least, earlier[j - 1] + 1)
            row.append(least)
    return row[-1]

"""The C preprocessor's part of the language: `#define NAME value`, conditionals, `#include`.

Directives and text that conditionals leave out become blanks, so every offset stays what it was in
the file. What headers define is looked up in `headers.Headers`, which is told of all directives in
their order. A line that starts with `#` and is no directive is a comment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pbt.data import NamedTuple
from pbt.regex import Regex
from pbt.source import ScriptError, ScriptWarning, Source, Span
from pbt.typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from re import Match

IS_DIRECTIVE = Regex(
    r"(?s)[ \t]*#[ \t]*(include|define|undef|ifdef|ifndef|if|elif|else|endif|pragma|error|warning)\b(.*)"
)
_READS_HEADERS = Regex(r"(?m)^[ \t]*#[ \t]*include\b|\bimport\b")
_HASH = Regex(r"[ \t]*#")
_SKIP = Regex(r'"([^"\\\n]|\\.)*"|//[^\n]*|/\*(?:.|\n)*?\*/')
_COMMENT = Regex(r'("(?:[^"\\\n]|\\.)*")|//.*|/\*(?:.|\n)*?\*/')


PREDEFINED = {"BPFTRACE_HAVE_BTF": "1", "_LINUX_TYPES_H": "1", "__KERNEL__": "1"}
"""What conditionals go by where no machine is asked."""


class Define(NamedTuple):
    """An object-like macro: where its value stands in the source; empty for `#define X`."""

    name: str
    span: Span


class Include(NamedTuple):
    """`#include <name>` or, `quoted`, `#include "name"`."""

    name: str
    quoted: bool
    span: Span


class Known(Protocol):
    """What headers define (see `headers.Headers`)."""

    def directive(self, text: str, include: Include | None) -> None: ...

    def define(self, name: str) -> Define | None: ...


class Preprocessed(NamedTuple):
    text: str  # as long as the source's
    defines: Mapping[str, Define]
    includes: tuple[Include, ...]
    warnings: tuple[ScriptWarning, ...]


def reads_headers(text: str) -> bool:
    """Whether a script may include something; others do not, nor does what they import."""
    rest = text.removeprefix("#!")
    words = ("import" in text) or ("include" in text and "#" in rest)
    return words and _READS_HEADERS.search(text) is not None


class _Conditional(NamedTuple):
    active: bool  # this branch is read
    taken: bool  # some branch was
    span: Span


def preprocess(source: Source, predefined: Mapping[str, str], headers: Known | None = None) -> Preprocessed:
    """Carry out the directives of a script. `predefined`: names that `#ifdef` knows, with values."""
    text = source.text
    if "#" not in text.removeprefix("#!"):  # most scripts: `re` need not be imported for them
        first = text.partition("\n")[0] if text.startswith("#") else ""
        if not first.endswith("\\"):
            return Preprocessed(_blank(first) + text[len(first) :], {}, (), ())
    return _Preprocessor(source, predefined, headers).run()


class _Preprocessor:
    def __init__(self, source: Source, predefined: Mapping[str, str], headers: Known | None) -> None:
        self.source, self.predefined, self.headers = source, predefined, headers
        self.defines: dict[str, Define] = {}
        self.undefined: set[str] = set()
        self.includes: list[Include] = []
        self.warnings: list[ScriptWarning] = []
        self.stack: list[_Conditional] = []

    @property
    def active(self) -> bool:
        return not self.stack or self.stack[-1].active  # never within one that is not

    def run(self) -> Preprocessed:
        text = self.source.text
        comments = comment_lines(text)
        kept = []
        for start, line in _logical_lines(text):
            body = line.rstrip("\r\n")
            span = Span(
                self.source, start + len(body) - len(body.lstrip()), start + max(len(body.rstrip()), 1)
            )
            match = None if start in comments else IS_DIRECTIVE.fullmatch(body)
            keep = self.active
            if match:
                self.directive(match, start, span)
                keep = False
            elif start not in comments and _HASH.match(body):
                keep = False
                if not (start == 0 and body.startswith("#!")):
                    self.comment(span)
            kept.append(line if keep else _blank(line))
        if self.stack:
            raise ScriptError("this conditional has no #endif", self.stack[-1].span)
        return Preprocessed("".join(kept), self.defines, tuple(self.includes), tuple(self.warnings))

    def comment(self, span: Span) -> None:
        if not self.warnings and self.active:
            self.warnings.append(
                ScriptWarning(
                    "this line starts with # and is taken for a comment", span, "comments start with //"
                )
            )

    def directive(self, match: Match[str], start: int, span: Span) -> None:
        word, rest = match[1], _without_comments(match[2]).replace("\\\n", " ").strip()
        if word in ("ifdef", "ifndef", "if"):
            holds = self.active and self.holds(word, rest, span)
            self.stack.append(_Conditional(holds, holds or not self.active, span))
        elif word in ("elif", "else", "endif"):
            self.next_branch(word, rest, span)
        elif self.active:
            self.act(word, rest, match, start, span)

    def next_branch(self, word: str, rest: str, span: Span) -> None:
        if not self.stack:
            raise ScriptError(f"#{word} without #if", span)
        last = self.stack.pop()
        if word != "endif":
            holds = self.active and not last.taken and (word == "else" or self.holds("if", rest, span))
            self.stack.append(_Conditional(holds, last.taken or holds, last.span))

    def act(self, word: str, rest: str, match: Match[str], start: int, span: Span) -> None:
        """A directive that is no conditional and is not left out."""
        if word == "include":
            self.include(rest, span)
        elif word == "undef":
            self.defines.pop(rest, None)
            self.undefined.add(rest)
            self.tell(f"#undef {rest}")
        elif word == "error":
            raise ScriptError(f"#error {rest}", span)
        elif word == "warning":
            self.warnings.append(ScriptWarning(f"#warning {rest}", span))
        elif word == "define":
            self.define(match, start, span)
            self.tell(f"#define {rest}")

    def include(self, rest: str, span: Span) -> None:
        match = Regex(r'<([^>]+)>|"([^"]+)"').fullmatch(rest)
        if match is None:
            raise ScriptError(
                "#include needs the name of a file", span, '#include <name.h> or #include "name.h"'
            )
        made = Include(match[1] or match[2], match[2] is not None, span)
        self.includes.append(made)
        self.tell(f"#include {rest}", made)

    def tell(self, text: str, include: Include | None = None) -> None:
        if self.headers is not None:
            self.headers.directive(text, include)

    def define(self, match: Match[str], start: int, span: Span) -> None:
        name = Regex(r"\s*(\w+)(\()?").match(match[2])
        if not name:
            raise ScriptError("#define needs a name", span)
        if name[2]:
            return  # with parameters: ignored, as bpftrace does
        value = match.start(2) + name.end()
        text = _without_comments(match[2][name.end() :])
        first = start + value + len(text) - len(text.lstrip())
        self.undefined.discard(name[1])
        self.defines[name[1]] = Define(name[1], Span(self.source, first, first + len(text.strip())))

    # --- conditions

    def holds(self, word: str, rest: str, span: Span) -> bool:
        if word != "if":
            return (self.value_of(rest) is not None) == (word == "ifdef")
        from pbt.lang.conditions import NotConstant, evaluate

        try:
            return evaluate(rest, self.value_of, {"KERNEL_VERSION": _kernel_version}) != 0
        except NotConstant as error:
            raise ScriptError(
                f"cannot evaluate this condition: {error}", span, "defined(NAME), numbers and operators of C"
            ) from None

    def value_of(self, name: str) -> str | None:
        """The text of a macro; None where it is not defined."""
        if name in self.undefined:
            return None
        if name in self.predefined and name not in self.defines:
            return self.predefined[name]
        found = self.defines.get(name)
        if found is None and self.headers is not None:
            found = self.headers.define(name)
        return None if found is None else _without_comments(found.span.text).replace("\\\n", " ")


def _kernel_version(args: list[int]) -> int:
    """KERNEL_VERSION(major, minor, patch) of <linux/version.h>."""
    major, minor, patch, *_ = [*args, 0, 0, 0]
    return (major << 16) + (minor << 8) + min(patch, 255)


def _without_comments(text: str) -> str:
    """Comments as blanks; strings stay."""
    return _COMMENT.sub(lambda m: m[1] or _blank(m[0]), text)


_LINE = Regex(r"[ \t]*#(?:[^\n\\]|\\\n|\\)*\n?|[^\n]*\n|[^\n]+")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their offsets; a directive goes on where its line ends with a backslash."""
    at = 0
    for match in _LINE.finditer(text):
        yield at, match[0]
        at = match.end()


def _blank(line: str) -> str:
    return "".join(c if c in "\r\n" else " " for c in line)


def comment_lines(text: str) -> set[int]:
    """Offsets of lines that begin within a block comment: `#` means nothing there."""
    inside: set[int] = set()
    for match in _SKIP.finditer(text):
        if match[0].startswith("/*"):
            inside.update(match.start() + i + 1 for i, c in enumerate(match[0]) if c == "\n")
    return inside

"""The C preprocessor's part of the language: `#define NAME value`, conditionals, `#include`.

Directives and text that conditionals leave out become blanks, so every offset stays what it was in
the file. Includes are noted, not read: types come from BTF, constants from `headers`. A line that
starts with `#` and is no directive is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pbt.data import NamedTuple
from pbt.source import ScriptError, ScriptWarning, Source, Span

_DIRECTIVE = re.compile(
    r"[ \t]*#[ \t]*(include|define|undef|ifdef|ifndef|if|elif|else|endif|pragma|error)\b(.*)"
)
_HASH = re.compile(r"[ \t]*#")
_ARITHMETIC = re.compile(r"(?:\s+|0x[0-9a-fA-F]+|\d+|and\b|or\b|not\b|[<>=!]=|[<>()+*-])*")
_NO_ARITHMETIC = re.compile(
    r"\*\*|<<|>>|[\d)]\s*\("
)  # powers and shifts could take all memory; 1(2) is a call
_SKIP = re.compile(r'"([^"\\\n]|\\.)*"|//[^\n]*|/\*(?:.|\n)*?\*/')


class Define(NamedTuple):
    """An object-like macro: where its value stands in the source; empty for `#define X`."""

    name: str
    span: Span


class Preprocessed(NamedTuple):
    text: str  # as long as the source's
    defines: Mapping[str, Define]
    includes: tuple[str, ...]
    warnings: tuple[ScriptWarning, ...]


class _Conditional(NamedTuple):
    active: bool  # this branch is read
    taken: bool  # some branch was
    span: Span


def preprocess(source: Source, predefined: Mapping[str, str]) -> Preprocessed:
    """Carry out the directives of a script. `predefined`: names that `#ifdef` knows, with values."""
    if "#" not in source.text:
        return Preprocessed(source.text, {}, (), ())
    comments = _line_starts_inside_comments(source.text)
    defines: dict[str, Define] = {
        name: Define(name, Span(Source("<predefined>", value), 0, len(value)))
        for name, value in predefined.items()
    }
    includes: list[str] = []
    warnings: list[ScriptWarning] = []
    stack: list[_Conditional] = []
    lines, at = [], 0
    for line in source.text.splitlines(keepends=True):
        start, at = at, at + len(line)
        body = line.rstrip("\r\n")
        span = Span(source, start + len(body) - len(body.lstrip()), start + max(len(body.rstrip()), 1))
        match = None if start in comments else _DIRECTIVE.match(body)
        keep = all(level.active for level in stack)
        if match:
            _directive(match, start, source, span, defines, includes, stack)
            keep = False
        elif start not in comments and _HASH.match(body) and not (start == 0 and body.startswith("#!")):
            keep = False
            if not warnings and all(level.active for level in stack):
                warnings.append(
                    ScriptWarning(
                        "this line starts with # and is taken for a comment", span, "comments start with //"
                    )
                )
        elif start == 0 and body.startswith("#!"):
            keep = False
        lines.append(line if keep else _blank(line))
    if stack:
        raise ScriptError("this conditional has no #endif", stack[-1].span)
    user = {name: define for name, define in defines.items() if name not in predefined}
    return Preprocessed("".join(lines), user, tuple(includes), tuple(warnings))


def _blank(line: str) -> str:
    return "".join(c if c in "\r\n" else " " for c in line)


def _line_starts_inside_comments(text: str) -> set[int]:
    """Offsets of lines that begin within a block comment: `#` means nothing there."""
    inside: set[int] = set()
    for match in _SKIP.finditer(text):
        if match[0].startswith("/*"):
            inside.update(match.start() + i + 1 for i, c in enumerate(match[0]) if c == "\n")
    return inside


def _directive(
    match: re.Match[str],
    start: int,
    source: Source,
    span: Span,
    defines: dict[str, Define],
    includes: list[str],
    stack: list[_Conditional],
) -> None:
    word, rest = match[1], re.sub(r"//.*|/\*.*?\*/", "", match[2]).strip()
    active = all(level.active for level in stack)
    if word in ("ifdef", "ifndef", "if"):
        holds = active and _holds(word, rest, defines, span)
        stack.append(_Conditional(holds, holds or not active, span))
    elif word in ("elif", "else", "endif"):
        if not stack:
            raise ScriptError(f"#{word} without #if", span)
        last = stack.pop()
        if word != "endif":
            outer = all(level.active for level in stack)
            holds = outer and not last.taken and (word == "else" or _holds("if", rest, defines, span))
            stack.append(_Conditional(holds, last.taken or holds, last.span))
    elif not active:
        return
    elif word == "include":
        includes.append(rest.strip('<>"'))
    elif word == "undef":
        defines.pop(rest, None)
    elif word == "error":
        raise ScriptError(f"#error {rest}", span)
    elif word == "define":
        name = re.match(r"\s*(\w+)(\()?", match[2])
        if not name:
            raise ScriptError("#define needs a name", span)
        if not name[2]:  # with parameters: ignored, as bpftrace does
            value = match.start(2) + name.end()
            text = re.sub(r"//.*|/\*.*?\*/", lambda m: " " * len(m[0]), match[2][name.end() :])
            lead = len(text) - len(text.lstrip())
            first = start + value + lead
            defines[name[1]] = Define(name[1], Span(source, first, first + len(text.strip())))


def _holds(word: str, rest: str, defines: Mapping[str, Define], span: Span) -> bool:
    if word != "if":
        return (rest in defines) == (word == "ifdef")
    text = re.sub(r"defined\s*(?:\(\s*(\w+)\s*\)|(\w+))", lambda m: str(int((m[1] or m[2]) in defines)), rest)
    text = re.sub(r"[A-Za-z_]\w*", lambda m: _number(m[0], defines), text)
    text = text.replace("&&", " and ").replace("||", " or ")
    text = re.sub(r"!(?!=)", " not ", text)
    if not _ARITHMETIC.fullmatch(text) or _NO_ARITHMETIC.search(text):
        raise ScriptError(
            "cannot evaluate this condition", span, "defined(NAME), numbers, ! && || and comparisons"
        )
    try:
        return bool(eval(text, {"__builtins__": {}}))  # digits, parentheses and operators alone
    except (SyntaxError, TypeError, ValueError) as error:
        raise ScriptError("cannot evaluate this condition", span) from error


def _number(name: str, defines: Mapping[str, Define]) -> str:
    if name not in defines:
        return "0"
    value = defines[name].span.text.strip()
    return value if re.fullmatch(r"\d+|0x[0-9a-fA-F]+", value) else "0"

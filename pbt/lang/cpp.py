"""Headers through the preprocessor `pcpp`: macros, and the declarations that are left, one by one.

What compilers add to C is taken out on the way: attributes other than `packed` and `aligned`, assembler,
the bodies of functions, names that only compilers know. What is packed or aligned is told to the reader
(`cdefs`) by members with names that nobody else uses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from io import StringIO

from pcpp import Preprocessor
from pcpp.parser import Action, OutputDirective

from pbt.data import NamedTuple
from pbt.lang.headers import Search
from pbt.lang.preprocess import Define
from pbt.source import Source, Span
from pbt.typing import Any

MARK = "__pbt_"
"""What begins the names of members that stand for attributes."""

_NEXT = re.compile(r"^([ \t]*#[ \t]*)include_next[ \t]*[<\"]([^>\"\n]+)[>\"]", re.MULTILINE)
_TOKEN = re.compile(
    r"\#[^\n]*|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_$]\w*|\.\.\.|\.?\d(?:[eEpP][+-]|[\w.])*"
    r"|<<|>>|->|&&|\|\||[-+*/%&|^=!<>]=|\S"
)
_PLACE = re.compile(r'#\s*(?:line\s+)?(\d+)\s+"([^"]*)"')


class Declaration(NamedTuple):
    """A definition of C on one line, and where its first word stands."""

    text: str
    path: str
    line: int


class Made(NamedTuple):
    defines: Mapping[str, Define]
    declarations: tuple[Declaration, ...]


def run(text: str, where: Search) -> Made:
    """Carry out directives. What they ask for and cannot be had is left out, without a word."""
    reader = _Reader(where)
    reader.parse(text, "<script>")
    out = StringIO()
    reader.write(out)
    return Made(_Defines(reader), tuple(_declarations(out.getvalue())))


class _Reader(Preprocessor):  # type: ignore[misc]
    def __init__(self, where: Search) -> None:
        super().__init__()
        self.where = where
        self.line_directive = "#line"
        self.rewrite_paths: list[tuple[str, str]] = []
        for folder in where.folders:
            self.add_path(folder)
        for define in where.defines:
            self.define(define)
        self.first = frozenset(self.macros)  # those of the machine are not the script's

    def on_error(self, file: str, line: int, message: str) -> None:
        """Headers are taken as they are."""

    def on_directive_unknown(self, directive: Any, toks: Any, ifpassthru: Any, precedingtoks: Any) -> Any:
        if directive.value == "pragma" and any(tok.value == "pack" for tok in toks):
            return None  # it stays in the text
        return True

    def on_include_not_found(self, is_malformed: bool, is_system: bool, folder: str, path: str) -> str:
        raise OutputDirective(Action.IgnoreAndRemove)

    def on_file_open(self, is_system_include: bool, includepath: str) -> Any:
        with open(includepath, encoding="utf-8", errors="replace") as file:
            text = file.read()
        return StringIO(_NEXT.sub(lambda m: f'{m[1]}include "{self.after(includepath, m[2])}"', text))

    def after(self, path: str, name: str) -> str:
        """The file of that name in the folders behind the one that `path` was found in."""
        folders = [os.path.abspath(folder) for folder in self.where.folders]
        here = next((n for n, folder in enumerate(folders) if path == os.path.join(folder, name)), -1)
        paths = (os.path.join(folder, name) for folder in folders[here + 1 :])
        return next((p for p in paths if os.path.isfile(p) and p != path), name)


class _Defines(Mapping[str, Define]):
    """Macros without parameters, each expanded when it is asked for."""

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader

    def __getitem__(self, name: str) -> Define:
        macro = self.reader.macros.get(name)
        if macro is None or macro.arglist is not None or name in self.reader.first:
            raise KeyError(name)
        tokens = self.reader.expand_macros([*map(_copy, macro.value)])
        value = _plain("".join(token.value for token in tokens).strip())
        if value == name:  # `#define X X` beside an enum constant says that there is one
            raise KeyError(name)
        before = "\n" * (max(macro.lineno or 1, 1) - 1) + f"#define {name} "
        source = Source(macro.source or "<headers>", before + value)
        return Define(name, Span(source, len(before), len(before) + len(value)))

    def __iter__(self) -> Iterator[str]:
        return (n for n, m in self.reader.macros.items() if m.arglist is None and n not in self.reader.first)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _copy(token: Any) -> Any:
    from copy import copy

    return copy(token)


def _plain(text: str) -> str:
    """A value as the language writes it: characters as numbers."""
    one = re.compile(r"'((?:[^'\\]|\\.)+)'")
    return one.sub(lambda m: str(ord(m[1].encode().decode("unicode_escape")[0])), text)


# --- declarations -----------------------------------------------------------------------------

_DROPPED = frozenset(
    (
        "__extension__", "__inline", "__inline__", "inline", "__restrict", "__restrict__", "restrict", "__const",
        "__const__", "__volatile", "__volatile__", "_Noreturn", "__signed__", "extern", "static", "_Thread_local",
        "__thread", "register", "auto", "_Nullable", "_Nonnull",
    )
)  # fmt: skip
_CALLS = frozenset(("__attribute__", "__attribute", "__asm__", "__asm", "asm", "__declspec", "_Alignas"))
_FLOATS = {
    "_Float16": "short", "_Float32": "float", "_Float64": "double", "_Float32x": "double",
    "_Float64x": "long double", "_Float128": "long double", "__float128": "long double", "__bf16": "short",
}  # fmt: skip


def _declarations(text: str) -> Iterator[Declaration]:
    """Definitions of types; functions and variables are left out."""
    path, line, packed = "<script>", 1, False
    words: list[str] = []
    depth, first = 0, ("", 0)
    skipping = 0  # depth of braces within the body of a function
    for token, newlines in _tokens(text):
        line += newlines
        if token[0] == "#":
            place = _PLACE.match(token)
            if place:
                path, line = place[2], int(place[1]) - 1
            elif "pack" in token:
                packed = re.search(r"\(.*\b1\s*\)", token) is not None
            continue
        if skipping:
            skipping += (token == "{") - (token == "}")
            if not skipping:
                words = []
            continue
        if not words:
            first = (path, line)
        if (
            token == "{"
            and not depth
            and words[-1:] == [")"]
            and words[0] != "typedef"
            and not _is_type(words)
        ):
            skipping = 1
            continue
        depth += (token in "{([") - (token in "})]")
        words.append(token)
        if token == ";" and depth <= 0:
            if _is_type(words):
                yield Declaration(_cleaned(words, packed), *first)
            words, depth = [], 0


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Words, each with the number of lines that began since the last."""
    at = 0
    for match in _TOKEN.finditer(text):
        yield match[0], text.count("\n", at, match.start())
        at = match.start()


def _is_type(words: list[str]) -> bool:
    plain = [word for word in words if word not in _DROPPED]
    return bool(plain) and (
        plain[0] == "typedef" or (plain[0] in ("struct", "union", "enum") and "{" in plain)
    )


def _cleaned(words: list[str], packed: bool) -> str:
    """Without what only compilers understand; attributes that count become members."""
    out: list[str] = []
    opened: list[int] = []  # where the braces of `out` that are open begin
    closed = -1  # where the last closed one ends
    pending = ""  # a member that stands for the attributes before a brace, or of the member before
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word in _DROPPED:
            continue
        if word in _CALLS or word.startswith(("__typeof", "__alignof")):
            end = _group_end(words, at)
            marks = _marks(word, words[at:end])
            at = end
            if word not in _CALLS:
                out.append("int" if "typeof" in word else "8")
            elif marks and out and out[-1] == "}":
                out[closed:closed] = marks
                closed += len(marks)
            elif marks and (opened or out[-1:] in (["struct"], ["union"])):
                own = out[-1] in ("struct", "union")
                pending += " ".join(marks if own else [m.replace(MARK, f"{MARK}member_") for m in marks])
            continue
        out.append(_FLOATS.get(word, word))
        if word == "{":
            opened.append(len(out) - 1)
            struct = next((w for w in reversed(out[:-1]) if w in ("struct", "union", "enum")), "")
            if packed and struct in ("struct", "union"):
                out.append(f"char {MARK}packed ;")
            if pending and struct != "enum":
                out.append(pending)
            pending = ""
        elif word == "}" and opened:
            opened.pop()
            closed = len(out) - 1
        elif word == ";" and pending and opened:
            out.append(pending)
            pending = ""
    return " ".join(out)


def _group_end(words: list[str], at: int) -> int:
    """Where the parenthesised group that begins at `at` ends."""
    depth = 0
    while at < len(words):
        depth += (words[at] == "(") - (words[at] == ")")
        if words[at] not in ("(", "volatile", "__volatile__", "goto") and not depth:
            return at + (words[at] == ")")
        at += 1
    return at


def _marks(word: str, group: list[str]) -> list[str]:
    """The members that stand for `packed` and `aligned`."""
    text = " ".join(group)
    found = [f"char {MARK}packed ;"] if re.search(r"\b(__)?packed(__)?\b", text) else []
    match = re.search(r"\b(?:__)?aligned(?:__)?\b\s*(?:\(((?:[^()]|\([^()]*\))*)\))?", text)
    if word == "_Alignas":
        match = re.match(r"\((.*)\)", text)
    if match:
        found.append(f"char {MARK}aligned [ {match[1] or 16} ] ;")
    return found

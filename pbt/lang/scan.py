"""Terminals of nearly every script, matched by hand; `re` is imported for scripts that have others.

Each function takes a text and the position of one of the characters that its terminal begins with, and gives the
position of its end, -1 where there is none, or `UNSURE`, where the terminal's regular expression has to say.
tests/property/test_scan.py holds all of them against their expressions.
"""

from __future__ import annotations

from collections.abc import Callable

Scan = Callable[[str, int], int]

UNSURE = -2

_PIECE = 256  # characters looked at together: a #define's value stands behind as many blanks as the script has text


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _words(text: str, at: int) -> int:
    """The end of the letters, digits and underscores from a position on."""
    size = len(text)
    while at < size and ((character := text[at]).isalnum() or character == "_"):
        at += 1
    return at


def _begins_name(character: str) -> bool:
    return character == "_" or (character.isascii() and character.isalpha())


def blanks(text: str, at: int) -> int:
    start = at
    while piece := text[at : at + _PIECE]:
        rest = len(piece.lstrip())
        at += len(piece) - rest
        if rest:
            break
    return at if at > start else -1


def name(text: str, at: int) -> int:
    return _words(text, at + 1) if _begins_name(text[at]) else -1


def variable(text: str, at: int) -> int:
    return _words(text, at + 2) if _begins_name(text[at + 1 : at + 2]) else -1


def map_name(text: str, at: int) -> int:
    return _words(text, at + 2) if _begins_name(text[at + 1 : at + 2]) else at + 1


def number(text: str, at: int) -> int:
    return _words(text, at + 1) if text[at].isdecimal() else -1


def string(text: str, at: int) -> int:
    size = len(text)
    at += 1
    while at < size and (character := text[at]) not in '"\n':
        at += 2 if character == "\\" else 1
    return at + 1 if at < size and text[at] == '"' else -1


def attach_point(text: str, at: int) -> int:
    """Parts of letters, digits, `_*?` and whatever has no meaning there, between colons."""
    start, end = at, at
    size = len(text)
    while end < size and (character := text[end]) not in " \n\t,{":
        if character in '/"[=' or not character.isascii() or character.isspace():
            return UNSURE
        end += 1
    while at < end and (_is_word(text[at]) or text[at] in "*?"):
        at += 1
    if at == start or text[start].isdecimal() or (at < end and text[at] != ":") or _is_named(text, end):
        return UNSURE
    return end


def _is_named(text: str, at: int) -> bool:
    """Whether a bracket follows on the same line."""
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    return text[at : at + 1] == "["


def line_comment(text: str, at: int) -> int:
    if not text.startswith("//", at):
        return -1
    end = text.find("\n", at)
    return end if end >= 0 else len(text)


def comment(text: str, at: int) -> int:
    if not text.startswith("/*", at):
        return -1
    end = text.find("*/", at + 2)
    return end + 2 if end >= 0 else -1


def end_of_predicate(text: str, at: int) -> int:
    """A slash with only blanks between it and a brace."""
    end = at + 1
    size = len(text)
    while end < size and text[end].isspace():
        end += 1
    following = text[end : end + 1]
    return at + 1 if following == "{" else UNSURE if following == "/" else -1


def cast(text: str, at: int) -> int:
    """Nothing begins one but words, and behind these a bracket or a star."""
    end, size = at + 1, len(text)
    while end < size and text[end].isspace():
        end += 1
    if not _begins_name(text[end : end + 1]):
        return -1
    while end < size and (text[end].isspace() or _is_word(text[end])):
        end += 1
    return UNSURE if text[end : end + 1] in (")", "*", "[") else -1


def _either(*choices: str) -> Scan:
    def scan(text: str, at: int) -> int:
        return next((at + len(choice) for choice in choices if text.startswith(choice, at)), -1)

    return scan


def _keyword(*words: str) -> Scan:
    def scan(text: str, at: int) -> int:
        end = _words(text, at)
        return end if text[at:end] in words else -1

    return scan


SCANS: dict[str, Scan] = {
    r"\s+": blanks,
    r"[A-Za-z_]\w*": name,
    r"\$[A-Za-z_]\w*": variable,
    r"@([A-Za-z_]\w*)?": map_name,
    r"0[xX][0-9a-fA-F_]+\w*|\d[\w]*": number,
    '"([^"\\\\\n]|\\\\(.|\n))*"': string,
    '([A-Za-z_]\\w*=)?[A-Za-z_*?][\\w*?]*(:("([^"\\\\\n]|\\\\.)*"|\\/[^\\s,{:]*|[^\\s,{:\\/"]*(\\/[^\\s,{:]*(?=:))?))*'
    "([ \t]+\\[\\w+\\])?": attach_point,
    "\\/\\/[^\n]*": line_comment,
    "\\/\\*(.|\n)*?\\*\\/": comment,
    "\\/(?=(\\s|\\/\\/[^\n]*|\\/\\*(.|\n)*?\\*\\/)*\\{)": end_of_predicate,
    r"(?:<<|>>)": _either("<<", ">>"),
    r"(?:<=|>=|<|>)": _either("<=", ">=", "<", ">"),
    r"(?:\+\+|\-\-)": _either("++", "--"),
    r"(?:==|!=)": _either("==", "!="),
    r"(?:!|\~)": _either("!", "~"),
    r"\(\s*((struct|union|enum)\s+\w+(\s*\*|\s*\[\s*\d*\s*\])*\s*\)"
    r"|[A-Za-z_]\w*(\s+[A-Za-z_]\w*)*((\s*\*)+(\s*\[\s*\d*\s*\])*|\s*\[\s*\])\s*\)"
    r"|(u?int(8|16|32|64)|__[us](8|16|32|64)|\w+_t|bool|void|char|short|int|long|unsigned|signed|string|buffer)(\s+(char|short|int|long|unsigned))*(\s*\*|\s*\[\s*\d*\s*\])*\s*\)"
    r'|[A-Za-z_]\w*(\s+[A-Za-z_]\w*)*\s*\)(?=\s*([A-Za-z_0-9$@("~]|!(?!=))))': cast,
    r"\{": _either("{"),
    r"(\+|-|\*|\/|%|&|\||\^|<<|>>)=": _either("+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="),
    r"if\b": _keyword("if"),
    r"(const|volatile|restrict|__restrict)\b": _keyword("const", "volatile", "restrict", "__restrict"),
}
"""Regular expression of a terminal, as the grammar has it → the same by hand."""

"""Text → the parser's tree, and what is said where the text is none of the language."""

from __future__ import annotations

from pbt.lang.lalr import END, Branch, Unexpected
from pbt.lang.saved import parser
from pbt.regex import Regex
from pbt.source import ScriptError, Source, Span
from pbt.typing import Any

MOST_DEPTH = 500  # of nesting: deeper trees would overrun Python's stack in later stages, see `pipeline.run`

_WORDS = {
    "ATTACH": "a probe", "END_PREDICATE": "/ before {", "INT": "a number", "STRING": "a string", "NAME": "a name",
    "VAR": "a variable", "MAP": "a map", "PARAM": "$1", "CAST": "a cast", "SEMICOLON": ";", "LBRACE": "{",
    "_OPEN": "{", "_IF": "if", "_IF_VALUE": "if", "RBRACE": "}",
    "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "COMMA": ",", "COLON": ":", "$END": "end of file",
    "__ANON_0": "=", "__ANON_1": "..",
}  # fmt: skip
_SOUGHT = (
    "RPAR",
    "RSQB",
    "RBRACE",
    "SEMICOLON",
    "LBRACE",
    "COMMA",
    "END_PREDICATE",
    "COLON",
    "NAME",
    "ATTACH",
)
_EXPRESSION = {"INT", "STRING", "VAR", "MAP", "LPAR"}


def syntax_tree(source: Source, text: str) -> Branch:
    try:
        tree: Branch = parser().parse(text)
    except Unexpected as error:
        raise _syntax_error(source, text, error) from None
    _check_depth(source, tree)
    return tree


def _syntax_error(source: Source, text: str, error: Unexpected) -> ScriptError:
    token, expected = error.token, error.expected
    if token is not None and token.type == END:
        at = len(text.rstrip())
        span, found = Span(source, max(at - 1, 0), max(at, 1)), "end of file"
    elif token is not None:
        span, found = Span(source, token.start_pos, token.end_pos), _first_word(text, token.start_pos)
        span = Span(source, span.start, span.start + len(found))
        found = f"'{found}'"
    else:
        at = error.at
        found = _first_word(text, at)
        span, found = Span(source, at, at + len(found)), f"'{found}'"
    stray = Regex(r"\belse\s*$").search(text[: span.start])
    if stray:  # where no `if` comes before, it reads as a name
        span, found, expected = (
            Span(source, stray.start(), stray.start() + 4),
            "'else'",
            {"RBRACE", *_EXPRESSION},
        )
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in found)
    message, hint = f"syntax error, unexpected {shown}", ""
    wanted = _wanted(expected)
    if found.startswith("'\"") and not Regex(r"'\".*\"'").fullmatch(found):
        message, hint = (
            "this string has no end",
            'a string ends with " on the same line; write a newline as \\n',
        )
    elif text[span.start : span.start + 1] == "\ufeff":
        message, hint = "a byte order mark is no part of a script", "save the file as UTF-8 without one"
    elif text[span.start : span.start + 2] == "/*":
        message, hint = "this comment has no end", "a comment ends with */"
    elif wanted:
        message += f", expecting {wanted}"
    return ScriptError(message, span, hint or _hint(found, text, span, expected))


def _first_word(text: str, at: int) -> str:
    match = Regex(r'[@$]?\w+|"[^"\n]*"?|\S').match(text, at)
    return match[0] if match else text[at : at + 1]


def _wanted(expected: set[str]) -> str:
    if expected >= _EXPRESSION:
        return "an expression" if "RBRACE" not in expected else "a statement or }"
    names = [_WORDS[name] for name in _SOUGHT if name in expected][:3]
    if not names:
        names = [_WORDS.get(name, name.lower()) for name in sorted(expected)][:3]
    return " or ".join(names)


# What is found (a pattern), what stands before it (a pattern for the end of that, "" for anything), what may stand
# there instead (a terminal, or ""), and what to say.
_HINTS = (
    (r"\]|\)", r"@\w*\[", "", "a key stands between [ and ]; a map without keys has no brackets"),
    (r"in", r"\bfor\s*\(?\s*\$\w+", "", "write for ($i : 0..10) or for ($kv : @map)"),
    (
        r"[).].*",
        r"\bfor\s*\(?\s*\$\w+\s*:[^(){]*",
        "",
        "a range has two ends: 0..10; a map stands by its name alone",
    ),
    (r"=", r"\bfor\s*\(?\s*\$\w+", "", "count with for ($i : 0..10) { ... }, or with while"),
    (r".*", r"\bfor\s*\(", "", "loops are for ($i : 0..10) and for ($kv : @map)"),
    (r"=", r"@\w*\[[^\]]*", "RSQB", "a ] is missing"),
    (
        r"[-=!<>+*/%&|^?].*",
        r"\b(if|while)\b[^;{}]*",
        "LBRACE",
        "a condition of more than one value stands in parentheses: if ($a == $b) { ... }",
    ),
    (r"=", r"[{;]\s*[a-z]\w*\s+\w+", "", "variables are written $name, without a type: $name = ..."),
    (r"==?", "", "", "only variables and maps can be assigned to; comparison is =="),
    (r"else", r"\}", "", "else is followed by { or if"),
    (r"else", "", "", "else follows the } of an if"),
    (r"'.*", "", "", 'strings are written with double quotes: "text"'),
    (r"\{", r"\bmacro\s+\w+", "", "a macro without parameters is written macro name() { ... }"),
    (r"\{", r"\bconfig", "", "write config = { name = value; ... }"),
    (r"\{", r"[\w*\]]\s*/[^/{}]*", "", "a filter stands between two /: BEGIN /pid == 1/ { ... }"),
    (r"[{};]", "", "RPAR", "a ) is missing"),
    (r"\}", "", "ATTACH", "there is one } too many"),
    (r"[{/]", "", "ATTACH", "statements belong to a probe: BEGIN { ... }"),
    (r"[^{}]+", "", "LBRACE", "statements stand between { and }"),
    (r"[^{}]+", "", "_OPEN", "statements stand between { and }"),
    (r"[\w$@].*", r"[\w)\]\"]", "SEMICOLON", "statements end with ;"),
)


def _hint(found: str, text: str, span: Span, expected: set[str]) -> str:
    before = text[: span.start].rstrip()
    if found == "end of file":
        if text.count("{") > text.count("}"):
            return "a { has no }"
        return "statements follow, between { and }" if "LBRACE" in expected or "_OPEN" in expected else ""
    word = found[1:-1]
    if (
        Regex(r"[A-Za-z_]\w*").fullmatch(word)
        and Regex(r"[\w)\]]$").search(before)
        and "\n" in text[len(before) : span.start]
    ):
        return "is a ; missing at the end of the line before?"
    wanted = set[str]() if expected >= _EXPRESSION else expected
    for pattern, end, instead, hint in _HINTS:
        fits = Regex(pattern).fullmatch(word) and (not instead or instead in wanted)
        if fits and (not end or Regex(f"(?:{end})$").search(before)):
            return hint
    return ""


def _check_depth(source: Source, tree: Branch) -> None:
    pending: list[tuple[Any, int]] = [(tree, 0)]
    while pending:
        node, depth = pending.pop()
        if depth > MOST_DEPTH:
            span = Span(source, node.start_pos, min(node.end_pos, node.start_pos + 1))
            raise ScriptError(f"nested more than {MOST_DEPTH} levels deep", span, "split it with variables")
        pending.extend((child, depth + 1) for child in node.children if hasattr(child, "children"))

"""The concrete syntax tree: every token of a script, with the comments around it.

It comes from the same table as the syntax tree. Comments, directives of the preprocessor and text that
conditionals leave out are `Note`s of the token they stand at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pbt.data import dataclass
from pbt.lang.lalr import Rule
from pbt.lang.preprocess import IS_DIRECTIVE, PREDEFINED, preprocess
from pbt.source import Source
from pbt.typing import Any


class Note(NamedTuple):
    """Text that is no token. `kind`: "//", "/*", "#" (to the end of the line), "directive", or "left out".

    `own`: nothing stands before it on its line; `blank`: an empty line does.
    """

    kind: str
    text: str
    own: bool
    blank: bool


@dataclass(frozen=True, eq=False)
class Leaf:
    """A token. `before`: notes from the line after the last token on; `inline`: the last of them stands on
    the token's own line; `after`: notes on the same line; `blank`: an empty line stands directly before."""

    kind: str
    text: str
    start: int
    end: int
    before: tuple[Note, ...] = ()
    after: tuple[Note, ...] = ()
    blank: bool = False
    inline: bool = False


@dataclass(frozen=True, eq=False)
class Branch:
    """`kind`: the rule's alias or name; `rule`: the number of its name."""

    kind: str
    rule: int
    children: tuple[Branch | Leaf, ...]

    def walk(self) -> Iterator[Branch | Leaf]:
        """This branch and all below it, in source order, outer ones first."""
        pending: list[Branch | Leaf] = [self]
        while pending:
            node = pending.pop()
            yield node
            if isinstance(node, Branch):
                pending.extend(reversed(node.children))

    def leaves(self) -> Iterator[Leaf]:
        return (node for node in self.walk() if isinstance(node, Leaf))


def first_leaf(node: Branch | Leaf) -> Leaf:
    while isinstance(node, Branch):
        node = node.children[0]
    return node


def last_leaf(node: Branch | Leaf) -> Leaf:
    while isinstance(node, Branch):
        node = node.children[-1]
    return node


def concrete(source: Source) -> Branch:
    """The tree of a script without mistakes in it; its last leaf is the empty token `$END`."""
    text = preprocess(source, PREDEFINED).text
    leaves: list[Leaf] = []
    tree = _parse(text, leaves)
    noted = dict(zip(leaves, _annotate(source.text, text, leaves), strict=True))
    end = noted[leaves[-1]]

    def rebuilt(node: Branch | Leaf) -> Branch | Leaf:
        if isinstance(node, Leaf):
            return noted[node]
        return Branch(node.kind, node.rule, tuple(rebuilt(child) for child in node.children))

    return Branch(tree.kind, tree.rule, (*(rebuilt(child) for child in tree.children), end))


# --- tokens and rules -------------------------------------------------------------------------


def _parse(text: str, leaves: list[Leaf]) -> Branch:
    from pbt.lang.saved import parser

    tree: Branch = _with_leaves(parser().reducing(_made).parse(text), leaves)
    leaves.append(Leaf("$END", "", len(text), len(text)))
    return tree


def _made(rule: Rule, parts: list[Any]) -> Any:
    """What a rule makes of its parts: nothing is left out."""
    flat = tuple(p for part in parts for p in (part.children if _is_helper(part) else (part,)))
    return flat[0] if rule.single and len(flat) == 1 else Branch(rule.data, rule.origin, flat)


def _is_helper(part: Any) -> bool:
    return isinstance(part, Branch) and part.kind.startswith("__")


def _with_leaves(node: Any, leaves: list[Leaf]) -> Any:
    """Tokens made leaves, and listed in their order."""
    if isinstance(node, Branch):
        return Branch(node.kind, node.rule, tuple(_with_leaves(child, leaves) for child in node.children))
    leaves.append(Leaf(node.type, str(node), node.start_pos, node.end_pos))
    return leaves[-1]


# --- notes ------------------------------------------------------------------------------------

_PIECE = re.compile(r"(?P<newline>\n)|[ \t\r\f\v]+|(?P<note>//[^\n]*|/\*(?:.|\n)*?\*/)|(?P<other>.)")


def _annotate(original: str, text: str, leaves: list[Leaf]) -> Iterator[Leaf]:
    """Each leaf with the notes in the gaps before and after it."""
    gaps = [list(_gap(original, text, a, b)) for a, b in _gap_ends(leaves)]
    for number, leaf in enumerate(leaves):
        before, inline, blank = _leading(gaps[number], bool(number))
        after = _trailing(gaps[number + 1])[0] if leaf.text else ()
        yield Leaf(leaf.kind, leaf.text, leaf.start, leaf.end, before, tuple(after), blank, inline)


def _gap_ends(leaves: list[Leaf]) -> Iterator[tuple[int, int]]:
    at = 0
    for leaf in leaves:
        yield at, leaf.start
        at = leaf.end
    yield at, at


def _gap(original: str, text: str, start: int, end: int) -> Iterator[tuple[str, str]]:
    """(kind, text) of newlines and notes between two tokens."""
    at = start
    while at < end:
        if at == 0 or original[at - 1] == "\n":
            stop = original.find("\n", at)
            stop = len(original) if stop < 0 else stop
            line = original[at:stop]
            if line.rstrip() != text[at:stop].rstrip():
                yield _removed(line)
                at = stop
                continue
        match = _PIECE.match(text, at)
        assert match is not None and not match["other"], (at, text[at : at + 20])
        if match["newline"]:
            yield "newline", ""
        elif match["note"]:
            yield match["note"][:2], match["note"].rstrip()
        at = match.end()


def _removed(line: str) -> tuple[str, str]:
    stripped = line.strip()
    if IS_DIRECTIVE.match(line) or stripped.startswith("#!"):
        return "directive", stripped
    return ("#", stripped) if stripped.startswith("#") else ("left out", line.rstrip())


def _trailing(gap: list[tuple[str, str]]) -> tuple[list[Note], int]:
    """Notes that belong to the token before a gap, and how many pieces of the gap they are."""
    ends = next((i for i, (kind, _) in enumerate(gap) if kind == "newline"), None)
    if ends is None:  # the next token is on the same line, or the script ends; // can only be the last piece
        ends = len(gap) if gap and gap[-1][0] == "//" else 0
    return [Note(kind, text, False, False) for kind, text in gap[:ends]], ends


def _leading(gap: list[tuple[str, str]], follows: bool) -> tuple[tuple[Note, ...], bool, bool]:
    """Notes that belong to the token after a gap; whether the last is on its line; whether a blank line is."""
    rest = gap[_trailing(gap)[1] :] if follows else gap
    notes: list[Note] = []
    newlines = 0 if follows else 1
    for kind, text in rest:
        if kind == "newline":
            newlines += 1
        else:
            notes.append(Note(kind, text, newlines > 0, newlines > 1))
            newlines = 0
    return tuple(notes), bool(notes) and newlines == 0, newlines > 1

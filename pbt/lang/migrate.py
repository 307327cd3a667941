"""Scripts of older releases → today's syntax: edits of the text, so that comments and layout stay.

Each row of `REWRITES` finds its own places and is sound alone. Rows run one after the other, each on the
text that the one before left; what they leave says the same and is left alone by a second run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pbt.lang import ast
from pbt.lang.concrete import Branch, Leaf, concrete
from pbt.lang.parse import Parsed, parse
from pbt.lang.preprocess import PREDEFINED
from pbt.source import Source, Span


class Edit(NamedTuple):
    """`text` in the place of the characters from `start` to `end`."""

    start: int
    end: int
    text: str


class View:
    """A script as rewrites see it: text, tokens, tree."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.parsed: Parsed = parse(source, PREDEFINED, whole=False)
        self.tree: Branch = concrete(source)

    @property
    def script(self) -> ast.Script:
        return self.parsed.script

    def branches(self, *kinds: str) -> Iterator[Branch]:
        """All branches of some kinds, outer ones first."""
        return (n for n in self.tree.walk() if isinstance(n, Branch) and n.kind in kinds)

    def leaves(self, *kinds: str) -> Iterator[Leaf]:
        return (leaf for leaf in self.tree.leaves() if leaf.kind in kinds)

    def words(self) -> set[str]:
        return {leaf.text for leaf in self.tree.leaves()}


class Rewrite(NamedTuple):
    """`old` and `new`: the forms, as a user would write them; `find`: edits that turn one into the other.

    `deprecated`: --check warns of the old form; the others are matters of taste.
    """

    old: str
    new: str
    find: Callable[[View], Iterator[Edit]]
    deprecated: bool = True


class Found(NamedTuple):
    """A place where an old form stands."""

    rewrite: Rewrite
    span: Span


def migrate(source: Source) -> Source:
    """The script in today's syntax. ScriptErrors if it has syntax errors."""
    from pbt.lang.rewrites import REWRITES

    view = View(source)
    for rewrite in REWRITES:
        text = apply(view.text, list(rewrite.find(view)))
        if text != view.text:
            view = View(Source(source.name, text))
    return view.source


def deprecated(source: Source) -> list[Found]:
    """Where a script uses forms that have better ones, in source order."""
    from pbt.lang.rewrites import REWRITES

    view = View(source)
    found = [
        Found(rewrite, Span(source, edit.start, max(edit.end, edit.start + 1)))
        for rewrite in REWRITES
        if rewrite.deprecated
        for edit in list(rewrite.find(view))[:1]
    ]
    return sorted(found, key=lambda each: each.span.start)


def apply(text: str, edits: Sequence[Edit]) -> str:
    """The text with all edits made; they do not overlap."""
    parts, at = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        assert edit.start >= at, edit
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])

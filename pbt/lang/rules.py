"""The parser's tree → nodes: what the rules of all parts of the grammar share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pbt.lang.lalr import Branch
from pbt.source import Source, Span
from pbt.typing import Any


class Rules:
    """One method a rule of the grammar: `_name` makes the node of a tree whose rule is `name`."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def span(self, tree: Branch) -> Span:
        if tree.empty:
            return Span(self.source, 0, 0)
        return Span(self.source, tree.start_pos, tree.end_pos)

    def at(self, token: Any) -> Span:
        return Span(self.source, token.start_pos, token.end_pos)

    def make(self, tree: Branch) -> Any:
        rule: Callable[[Branch, Span], Any] = getattr(self, "_" + tree.data)
        return rule(tree, self.span(tree))

    def all(self, items: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(self.make(item) for item in items)

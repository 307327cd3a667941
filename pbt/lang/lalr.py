"""The driver of a saved LALR(1) table: text → tree, with a lexer that looks only for what may come next

lark makes the table from the grammar (see `table`), and this driver reads it as lark would; scripts are
parsed without lark, importing which takes longer than a small script takes from end to end. Rows of the
table and regular expressions are unpacked when first needed: most scripts need few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from pbt.data import NamedTuple
from pbt.lang.scan import SCANS, UNSURE
from pbt.regex import Regex
from pbt.typing import Any, TypeAlias

END = "$END"


class Token(str):
    """A word of the text: which terminal it is, and where it stands."""

    __slots__ = ("end_pos", "start_pos", "type")
    type: str
    start_pos: int
    end_pos: int


class Tree:
    """What a rule matched: `data`, its name or alias; its parts; and where they stand, -1 if it has none.

    `outer` is the extent with the parts that were left out or went up into a parent's.
    """

    __slots__ = ("children", "data", "end_pos", "outer", "start_pos")

    def __init__(self, data: str, children: list[Any]) -> None:
        self.data, self.children = data, children
        self.start_pos = self.end_pos = -1
        self.outer = (-1, -1)

    @property
    def empty(self) -> bool:
        return self.start_pos < 0


Branch: TypeAlias = Tree


class Unexpected(Exception):
    """What stands at `at` cannot be there: a `token`, or None where no terminal fits; `expected` could."""

    def __init__(self, at: int, token: Token | None, expected: set[str]) -> None:
        super().__init__(at)
        self.at, self.token, self.expected = at, token, expected


class Rule(NamedTuple):
    """`keep`: numbers of the parts that stay, or None for all; a negative one (~n) gives its own parts instead.
    `single`: a tree with one part is that part."""

    data: str
    origin: int
    size: int
    keep: Sequence[int] | None
    single: bool


class Terminal(NamedTuple):
    """`pattern`: a regular expression, or with `literal` the text itself. `words`: texts that, though the
    pattern matches them, are terminals of their own. `first`: ASCII characters that a match may begin with."""

    name: str
    pattern: str
    literal: bool
    ignored: bool
    words: dict[str, int]
    first: str


Match: TypeAlias = Callable[[str, int], int]
"""(text, position) → where the match ends, or -1."""


class Context(NamedTuple):
    """What the lexer looks for, in order, in general and at certain characters; `allowed`: terminals that may come."""

    tried: tuple[int, ...]
    at: dict[str, tuple[tuple[int, Match], ...]]
    allowed: frozenset[int]


class Parser:
    """A table made ready. `terminals` stand in the order in which the lexer tries them.

    `rows`: for each state, as text, the number of one of the `sets` of terminals, and for each of these an action,
    2 * state for a shift and 2 * rule + 1 for a reduction, the last one for all that are left; `gotos`: "origin
    state ..."; `start`, `final`: states.
    `reduce`: what a rule makes of its parts, a `Tree` of those that it keeps unless said otherwise.
    """

    def __init__(
        self,
        terminals: Sequence[Terminal],
        rules: Sequence[Rule],
        sets: Sequence[str],
        rows: Sequence[str],
        gotos: Sequence[str],
        start: int,
        final: int,
        reduce: Callable[[Rule, list[Any]], Any] | None = None,
    ) -> None:
        self.terminals, self.rules, self.sets, self.rows, self.gotos = terminals, rules, sets, rows, gotos
        self.start, self.final, self.end = start, final, len(terminals)
        self._reduce = reduce or _reduced
        self._actions: dict[int, dict[int, int]] = {}
        self._targets: dict[int, dict[int, int]] = {}
        self._contexts: dict[frozenset[int], Context] = {}
        self._context_of: dict[int, Context] = {}
        self._matches: dict[int, Match] = {}
        self._ignored = frozenset(n for n, t in enumerate(terminals) if t.ignored)

    # --- rows

    def actions(self, state: int) -> dict[int, int]:
        """Terminal → action."""
        found = self._actions.get(state)
        if found is None:
            number, *actions = map(int, self.rows[state].split())
            terminals = map(int, self.sets[number].split())
            last = actions[-1] if actions else 0
            found = self._actions[state] = dict(zip_longest(terminals, actions, fillvalue=last))
        return found

    def target(self, state: int, origin: int) -> int:
        found = self._targets.get(state)
        if found is None:
            numbers = list(map(int, self.gotos[state].split()))
            found = self._targets[state] = dict(zip(numbers[::2], numbers[1::2], strict=True))
        return found[origin]

    # --- the lexer

    def context(self, state: int) -> Context:
        found = self._context_of.get(state)
        if found is None:
            found = self._context_of[state] = self._context(frozenset(self.actions(state)) - {self.end})
        return found

    def _context(self, allowed: frozenset[int]) -> Context:
        if allowed not in self._contexts:
            tried = sorted(allowed | self._ignored)
            within = {t for n in tried for w, t in self.terminals[n].words.items()}
            self._contexts[allowed] = Context(tuple(n for n in tried if n not in within), {}, allowed)
        return self._contexts[allowed]

    def _candidates(self, context: Context, character: str) -> tuple[tuple[int, Match], ...]:
        """Those terminals of a context that may begin with a character."""
        found = context.at.get(character)
        if found is None:
            beyond = character > "\x7f"
            numbers = [n for n in context.tried if beyond or character in self.terminals[n].first]
            found = context.at[character] = tuple((n, self._match(n)) for n in numbers)
        return found

    def _match(self, number: int) -> Match:
        if number not in self._matches:
            terminal = self.terminals[number]
            make = _literal if terminal.literal else _pattern
            self._matches[number] = make(terminal.pattern)
        return self._matches[number]

    def token(self, text: str, at: int, context: Context) -> tuple[int, Token | None, int]:
        """(terminal, word, where it ends) of what stands at `at`, after what is ignored.

        At the end of the text the terminal is `end`; where nothing fits it is -1, and there the word ends.
        """
        size = len(text)
        while at < size:
            number, end = _first(self._candidates(context, text[at]), text, at)
            if number < 0:
                return -1, None, at
            terminal = self.terminals[number]
            if not terminal.ignored:
                word = Token(text[at:end])
                other = terminal.words.get(word)
                if other in context.allowed:
                    number = other
                word.type, word.start_pos, word.end_pos = self.terminals[number].name, at, end
                return number, word, end
            at = end
        return self.end, None, at

    # --- the parser

    def reducing(self, reduce: Callable[[Rule, list[Any]], Any]) -> Parser:
        """A parser of the same table that makes something else of it."""
        return Parser(
            self.terminals, self.rules, self.sets, self.rows, self.gotos, self.start, self.final, reduce
        )

    def parse(self, text: str) -> Any:
        """The tree of the whole text, or Unexpected."""
        states, values, at = [self.start], list[Any](), 0
        while True:
            number, word, at = self.token(text, at, self.context(states[-1]))
            if number < 0:
                raise self._unfit(text, at, states)
            if self._feed(number, word, states, values):
                return values[-1]
            if states[-1] < 0:
                states.pop()
                word = word or _end(at)
                raise Unexpected(word.start_pos, word, self._accepted(states))

    def _feed(self, number: int, word: Token | None, states: list[int], values: list[Any]) -> bool:
        """Reduce as the word asks, then shift it. True at the end of all; state -1 is pushed if it does not fit."""
        rules, known, plain = self.rules, self._actions, self._reduce is _reduced
        while True:
            state = states[-1]
            action = (known.get(state) or self.actions(state)).get(number)
            if action is None:
                states.append(-1)
                return False
            if not action & 1:
                states.append(action >> 1)
                values.append(word)
                return False
            rule = rules[action >> 1]
            _, origin, size, keep, single = rule
            if plain and single and size == 1 and keep is None:  # most: the part itself, as `_reduced` says
                del states[-1]
            else:
                parts: list[Any] = []
                if size:
                    parts = values[-size:]
                    del values[-size:], states[-size:]
                values.append(self._reduce(rule, parts))
            states.append(self.target(states[-1], origin))
            if number == self.end and states[-1] == self.final:
                return True

    # --- what is wrong

    def _unfit(self, text: str, at: int, states: list[int]) -> Unexpected:
        """No terminal that may come here fits: is it one that may come elsewhere?"""
        everything = self._context(frozenset(range(self.end)) - self._ignored)
        number, word, _ = self.token(text, at, everything)
        if number < 0 or word is None:
            allowed = set(self.context(states[-1]).tried) - self._ignored
            return Unexpected(at, None, {self.terminals[n].name for n in allowed})
        return Unexpected(word.start_pos, word, self._accepted(states))

    def _accepted(self, states: list[int]) -> set[str]:
        """Terminals that would bring the parser on."""
        names = [*(t.name for t in self.terminals), END]
        return {names[n] for n in self.actions(states[-1]) if self._would_fit(n, list(states))}

    def _would_fit(self, number: int, states: list[int]) -> bool:
        while (action := self.actions(states[-1]).get(number)) is not None:
            if not action & 1:
                return True
            rule = self.rules[action >> 1]
            if rule.size:
                del states[-rule.size :]
            states.append(self.target(states[-1], rule.origin))
            if number == self.end and states[-1] == self.final:
                return True
        return False


def _first(matches: Sequence[tuple[int, Match]], text: str, at: int) -> tuple[int, int]:
    """The first that matches, and where the match ends; -1 if none does."""
    for number, match in matches:
        end = match(text, at)
        if end > at:
            return number, end
    return -1, at


def _end(at: int) -> Token:
    token = Token("")
    token.type, token.start_pos, token.end_pos = END, at, at
    return token


def _literal(text: str) -> Match:
    size = len(text)
    return lambda source, at: at + size if source.startswith(text, at) else -1


def _pattern(pattern: str) -> Match:
    regex, scan = Regex(pattern), SCANS.get(pattern)

    def end(source: str, at: int) -> int:
        found = regex.match(source, at)
        return found.end() if found else -1

    if scan is None:
        return end

    def scanned(source: str, at: int) -> int:
        found = scan(source, at) if source[at].isascii() else UNSURE
        return end(source, at) if found == UNSURE else found

    return scanned


def _reduced(rule: Rule, parts: list[Any]) -> Any:
    """The tree that a rule makes of its parts."""
    if rule.single and rule.size == 1 and rule.keep is None:
        return parts[0]
    kept = parts if rule.keep is None else _kept(rule.keep, parts)
    made = kept[0] if rule.single and len(kept) == 1 else Tree(rule.data, kept)
    if made.__class__ is Tree and parts:
        _place(made, parts)
    return made


def _kept(keep: Sequence[int], parts: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for number in keep:
        if number >= 0:
            kept.append(parts[number])
        else:
            inner = parts[~number].children
            kept = kept + inner if kept else list(inner)
    return kept


def _place(tree: Tree, parts: Sequence[Any]) -> None:
    """Give a tree the extent of its parts, those that are left out included."""
    start = end = -1
    for part in parts:
        start = part.start_pos if part.__class__ is Token else part.outer[0]
        if start >= 0:
            break
    for part in reversed(parts):
        end = part.end_pos if part.__class__ is Token else part.outer[1]
        if end >= 0:
            break
    if start < 0:
        return
    if tree.start_pos < 0:
        tree.start_pos, tree.end_pos = start, end
    tree.outer = (start, end)

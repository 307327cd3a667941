"""The LALR table of grammar.lark, computed by lark: `python -m pbt.lang.table` writes table.bin anew.

`saved` reads it, and `lalr` drives it, without lark.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence

from pbt.lang.lalr import END
from pbt.lang.saved import TABLE
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

GRAMMAR = os.path.join(os.path.dirname(TABLE), "grammar.lark")


def grammar() -> bytes:
    with open(GRAMMAR, "rb") as file:
        return file.read()


def fingerprint(grammar: bytes) -> str:
    """What a table is made from."""
    import hashlib

    return hashlib.sha256(grammar).hexdigest()


def build() -> Lark:
    """lark's parser, computed from the grammar."""
    from lark import Lark

    return Lark(
        grammar().decode(),
        parser="lalr",
        lexer="contextual",
        propagate_positions=True,
        maybe_placeholders=False,
    )


def dump() -> bytes:
    """The contents of table.bin for the grammar as it is."""
    terminals, rules, *rest = _table(build())
    texts = [fingerprint(grammar()), _text(map(_written, terminals)), _text(map(_written, rules))]
    texts += ["\n".join(part) if isinstance(part, list) else str(part) for part in rest]
    return zlib.compress("\0".join(texts).encode(), 9)


def _text(records: Iterable[Iterable[str]]) -> str:
    return "\1".join(map("\2".join, records))


def _written(record: Sequence[Any]) -> Iterator[str]:
    """The fields of a terminal or a rule as texts; what may have more parts comes last."""
    for value in record:
        if isinstance(value, dict):
            yield from (str(part) for pair in value.items() for part in pair)
        elif value is None or isinstance(value, list):
            yield "-" if value is None else " ".join(map(str, value))
        else:
            yield str(int(value)) if isinstance(value, (bool, int)) else value


def _table(made: Lark) -> tuple[Any, ...]:
    """Terminals, rules, sets, rows, gotos, start and final state: see `lalr.Parser`."""
    table = made.parser.parser._parse_table
    lexer = made.parser.lexer.root_lexer
    terminals = {t.name: n for n, t in enumerate(lexer.terminals)}
    numbers = {**terminals, END: len(terminals)}
    rules = {rule: n for n, rule in enumerate(made.rules)}
    origins: dict[str, int] = {}
    for rule in made.rules:
        origins.setdefault(rule.origin.name, len(origins))
    order = _order(table)
    states = {state: n for n, state in enumerate(order)}
    sets: dict[tuple[int, ...], int] = {}
    rows, gotos = [], []
    for state in order:
        row: dict[int, int] = {}
        goto: list[int] = []
        for name, (_, argument) in sorted(table.states[state].items()):
            if name in origins:
                goto += (origins[name], states[argument])
            elif type(argument) is int:
                row[numbers[name]] = 2 * states[argument]
            else:
                row[numbers[name]] = 2 * rules[argument] + 1
        rows.append(_row(sets.setdefault(tuple(row), len(sets)), list(row.values())))
        gotos.append(" ".join(map(str, goto)))
    return (
        [_terminal(t, lexer, terminals) for t in lexer.terminals],
        [_rule(rule, origins) for rule in made.rules],
        [" ".join(map(str, terminals)) for terminals in sets],
        rows,
        gotos,
        states[table.start_states["start"]],
        states[table.end_states["start"]],
    )


def _row(number: int, actions: list[int]) -> str:
    """A row of `lalr.Parser`: the last action is written once, however often it comes at the end."""
    while len(actions) > 1 and actions[-1] == actions[-2]:
        actions.pop()
    return " ".join(map(str, (number, *actions)))


def _order(table: Any) -> list[int]:
    """States as they are met from the first one on: lark numbers them differently each time."""
    found = [table.start_states["start"]]
    for state in found:
        actions = table.states[state]
        steps = [to for name in sorted(actions) for to in actions[name][1:] if type(to) is int]
        found += dict.fromkeys(to for to in steps if to not in found)
    return found


def _terminal(terminal: Any, lexer: Any, numbers: dict[str, int]) -> tuple[Any, ...]:
    import re

    from pbt.lang.first import first_characters

    literal = terminal.pattern.type == "str"
    pattern = terminal.pattern.value if literal else terminal.pattern.to_regexp()
    words = {} if literal else {
        other.pattern.value: numbers[other.name]
        for other in lexer.terminals
        if other.pattern.type == "str" and other.priority == terminal.priority
        and (m := re.match(pattern, other.pattern.value)) and m[0] == other.pattern.value
    }  # fmt: skip
    first = pattern[0] if literal else first_characters(pattern)
    return terminal.name, pattern, literal, terminal.name in lexer.ignore_types, first, words


def _rule(rule: Any, origins: dict[str, int]) -> tuple[Any, ...]:
    keep = [
        n if symbol.is_term or not symbol.name.startswith("_") else ~n
        for n, symbol in enumerate(rule.expansion)
        if rule.options.keep_all_tokens or not (symbol.is_term and symbol.filter_out)
    ]
    whole = keep == list(range(len(rule.expansion)))
    single = bool(rule.options.expand1 and not rule.alias)
    data = rule.alias or rule.options.template_source or rule.origin.name
    return str(data), origins[rule.origin.name], len(rule.expansion), single, None if whole else keep


if __name__ == "__main__":
    with open(TABLE, "wb") as file:
        file.write(dump())

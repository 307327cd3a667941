"""The LALR table of grammar.lark, saved as compressed JSON so that starting does not compute it.

`python -m pbt.lang.table` writes table.bin anew. lark's own cache is not used: it unpickles a file
with a guessable name in the temporary directory, which runs the code of whoever put it there.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

GRAMMAR = Path(__file__).with_name("grammar.lark")
TABLE = Path(__file__).with_name("table.bin")


def fingerprint(grammar: bytes) -> str:
    """What a table is made from: the grammar and the version of lark that understands the table."""
    import lark

    return hashlib.sha256(grammar).hexdigest() + " " + lark.__version__


def build() -> Lark:
    """The parser, computed from the grammar."""
    from lark import Lark

    return Lark(
        GRAMMAR.read_text(),
        parser="lalr",
        lexer="contextual",
        propagate_positions=True,
        maybe_placeholders=False,
    )


def dump() -> bytes:
    """The contents of table.bin for the grammar as it is."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = build().memo_serialize([TerminalDef, Rule])
    text = json.dumps([fingerprint(GRAMMAR.read_bytes()), data, memo], separators=(",", ":"))
    return zlib.compress(text.encode(), 9)


@cache
def parser() -> Lark:
    """The parser: from the saved table, or computed when another lark than the table's is installed."""
    from lark import Lark

    made_from, data, memo = json.loads(zlib.decompress(TABLE.read_bytes()))
    import lark

    if not made_from.endswith(" " + lark.__version__):
        return build()
    return _load(Lark, data, memo)


def _load(lark: type[Lark], data: dict[str, Any], memo: dict[str, Any]) -> Lark:
    table = data["parser"]["parser"]
    table["tokens"] = _int_keys(table["tokens"])
    table["states"] = _int_keys({state: _int_keys(actions) for state, actions in table["states"].items()})
    made: Lark = lark._load_from_dict(data, _int_keys(memo))  # type: ignore[no-untyped-call]
    return made


def _int_keys(mapping: dict[str, Any]) -> dict[int, Any]:
    """Undo what JSON does to number keys."""
    return {int(key): value for key, value in mapping.items()}


if __name__ == "__main__":
    TABLE.write_bytes(dump())

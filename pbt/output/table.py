"""Maps as text and as JSON, column by column: what a column needs is done to all of its values at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pbt.output.text import PLAIN, Style, aggregate, drawer, harmless, is_plain, number
from pbt.printf import Draw
from pbt.types import Opaque, Tuple, Type
from pbt.typing import Any
from pbt.values import Histogram, Series, Table


def arrange(table: Table, rank: Callable[[Any], Any] | None, top: int = 0) -> Table:
    """Entries in the order they print: by `rank` of the value if given, else (and where equal) by key.

    `top` keeps only so many, from the end; 0 keeps all.
    """
    order = list(range(len(table.values)))
    for column in reversed(table.keys):  # stable sorts, the most important one last
        order.sort(key=_ranks(column).__getitem__)
    if rank is not None:
        order.sort(key=list(map(rank, table.values)).__getitem__)
    return table.at(order[-top:] if top > 0 else order)


def _ranks(column: Sequence[Any]) -> Sequence[Any]:
    plain = all(isinstance(value, (int, bytes, str)) for value in column[:1])
    return column if plain else list(map(_sortable, column))


def _sortable(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(map(_sortable, value))
    return _sortable(tuple(value.values())) if isinstance(value, dict) else value


class Drawn:
    """The parts of keys as `form`, for one entry's `%`, and the columns that go into it."""

    def __init__(self, table: Table, types: Sequence[Type], style: Style, between: bytes = b", ") -> None:
        """`between` stands between parts; one tuple counts as the parts it holds."""
        keys = table.keys
        if len(types) == 1 and isinstance(types[0], Tuple) and not types[0].names:
            types, keys = types[0].elements, list(zip(*keys[0], strict=True))
        drawn = [_column(t, column, style) for t, column in zip(types, keys, strict=True)]
        self.form = between.join(form for form, _ in drawn)
        self.columns = [column for _, column in drawn]

    def texts(self) -> list[bytes]:
        """The key of each entry."""
        return _rows(self.form, self.columns)


def _rows(form: bytes, columns: Sequence[Sequence[Any]]) -> list[bytes]:
    if form == b"%s" and len(columns) == 1:
        return list(columns[0])
    return list(map(form.__mod__, zip(*columns, strict=True)))


def _column(type_: Type, column: Sequence[Any], style: Style) -> tuple[bytes, Sequence[Any]]:
    """How values of one type go into a text, and what is to be put there."""
    draw = drawer(type_, style)
    if draw is number:
        return b"%d", column
    if draw is bytes or (draw is harmless and is_plain(b"".join(column))):
        return b"%s", column
    if isinstance(type_, Opaque):  # one stack may be part of many keys
        known = {raw: draw(raw) for raw in dict.fromkeys(column)}
        return b"%s", list(map(known.__getitem__, column))
    return b"%s", list(map(draw, column))


def text(name: str, table: Table, types: Sequence[Type], draw: Draw | None, style: Style = PLAIN) -> bytes:
    """A map, its entries in the order given, as `name[key]: value` or a graph under its head.

    `types` are those of the key's parts; `draw` gives the text of a value, None for what an aggregation made.
    """
    form, values = _values(table.values, draw)
    if not table.keys:
        return b"".join([(name.encode() + form) % value for value in values])
    keys = Drawn(table, types, style)
    form = b"%b[%b]%b" % (name.encode(), keys.form, form)
    return b"".join(_rows(form, [*keys.columns, values]))


def _values(values: Sequence[Any], draw: Draw | None) -> tuple[bytes, Sequence[Any]]:
    """What follows the key (all values of a map are of one kind), and what is to be put there."""
    draw = draw or aggregate
    if draw is number or (draw is aggregate and all(type(value) is int for value in values[:1])):
        return b": %d\n", values
    first = next(iter(values), None)
    form = (
        b":\n%s\n" if isinstance(first, Histogram) else b":\n%s" if isinstance(first, Series) else b": %s\n"
    )
    return form, list(map(draw, values))


def json(
    name: str,
    table: Table,
    types: Sequence[Type],
    convert: Callable[[Any], Any],
    style: Style = PLAIN,
    whole: bool = True,
) -> Any:
    """The data of a map's message: `{"@name": value}`, or an object of values by key.

    `whole`: as Python data; else an object's members may be JSON already.
    """
    from pbt.output import json as made  # late: text needs none of it

    if not table.keys:
        return made.whole_map(name, [], [convert(value) for value in table.values])
    keys = Drawn(table, types, style._replace(tight=True), b",").texts()
    data = made.whole_map if whole else made.rendered
    return data(name, keys, list(map(convert, table.values)))

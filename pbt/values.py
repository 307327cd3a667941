"""What user space makes of the kernel's numbers: histograms, statistics, symbols.

Each value draws itself as text and as JSON-able data; both are plain functions of the value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from pbt.data import NamedTuple
from pbt.typing import Any

BAR_WIDTH = 52
_UNITS = ("", "K", "M", "G", "T", "P", "E")


class Row(NamedTuple):
    """One bucket: values from `low` (included) to `high` (excluded); None where it is open."""

    label: str
    low: int | None
    high: int | None
    count: int  # type: ignore[assignment]  # shadows tuple.count


class Histogram(NamedTuple):
    """Counts by bucket number. Make one with `log2` or `linear`; `scale` holds their arguments.

    Rows go from the first to the last bucket in `buckets`, those without a count included.
    """

    buckets: tuple[tuple[int, int], ...]
    scale: tuple[int, ...]

    @classmethod
    def log2(cls, buckets: Mapping[int, int], bits: int = 0) -> Histogram:
        """Buckets of powers of two, each cut into 2^bits: 0 negative, then 0, 1, 2..3, 4..7, … (bits 0)."""
        return cls(_present(buckets), (bits,))

    @classmethod
    def linear(cls, buckets: Mapping[int, int], low: int, high: int, step: int) -> Histogram:
        """Buckets of `step` values: 0 below `low`, 1 from `low` on, …, the last without end, for `high` too."""
        return cls(_present(buckets), (low, high, step))

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(count for _, count in self.buckets)

    def percentile(self, percent: float) -> float | None:
        """The value that `percent` of the values (0 to 100) are at most, as near as buckets tell; None without any.

        Values are taken to lie evenly in their bucket; an open bucket stands for the one end that it has.
        """
        rank, rows = self.total * percent / 100, [row for row in self.rows() if row.count]
        for row in rows:
            if rank <= row.count or row is rows[-1]:
                return _within(row, rank / row.count)
            rank -= row.count
        return None

    def divide(self, div: int) -> Histogram:
        """The same rows with every count divided, rounded down."""
        return self._replace(buckets=tuple((index, count // div) for index, count in self.buckets))

    def rows(self) -> Iterator[Row]:
        """Every bucket from the first to the last that was hit, in order."""
        if not self.buckets:
            return
        counts = dict(self.buckets)
        for index in range(self.buckets[0][0], self.buckets[-1][0] + 1):
            yield Row(*_bounds(index, self.scale), counts.get(index, 0))

    def text(self) -> str:
        """The rows as lines: label, count, and a bar as long as its part of the highest count."""
        if not self.buckets:
            return ""
        counts, (first, last) = dict(self.buckets), (self.buckets[0][0], self.buckets[-1][0])
        most = max(counts.values()) or 1
        every = range(first, last + 1)
        return "".join([_line(_head(index, self.scale), counts.get(index, 0), most) for index in every])

    def json(self) -> list[dict[str, int]]:
        """One object for each row; `min` and `max` are both included, and absent where open."""
        return [_bucket(row) for row in self.rows()]


class Stats(NamedTuple):
    """What stats() keeps of all values."""

    count: int  # type: ignore[assignment]  # shadows tuple.count
    average: int
    total: int

    def text(self) -> str:
        return f"{{ .count = {self.count}, .average = {self.average}, .total = {self.total} }}"

    def json(self) -> dict[str, int]:
        return self._asdict()


class Symbol(NamedTuple):
    """The name at an address: `offset` bytes into it, in a kernel module or file `module` ("" if none)."""

    name: str
    offset: int = 0
    module: str = ""

    def text(self, offset: bool = False) -> str:
        return f"{self.name}+{self.offset}" if offset else self.name


class Series(NamedTuple):
    """Values by the number of their interval of `interval` ns, the first of which began in 1970 (UTC).

    `last` is the interval that the graph ends with, with or without a value.
    """

    points: tuple[tuple[int, int], ...]
    interval: int
    last: int

    @classmethod
    def of(cls, points: Mapping[int, int], interval: int) -> Series:
        return cls(tuple(sorted(points.items())), interval, max(points, default=0))

    def window(self, after: int, last: int) -> Series:
        """What came after one interval, up to and with another."""
        kept = tuple(point for point in self.points if after < point[0] <= last)
        return self._replace(points=kept, last=last)

    def text(self) -> str:
        """A graph that goes downwards: a line for each interval from the first with a value on."""
        if not self.points:
            return "<no data>\n"
        first, gap = self.points[0][0], self.interval if self.last > self.points[0][0] else 0
        unit, digits = next((unit, digits) for least, unit, digits in _CLOCK if gap >= least)
        low, high = _padded([value for _, value in self.points])
        values = dict(self.points)
        rows = [
            (_clock(epoch * self.interval, digits), values.get(epoch))
            for epoch in range(first, self.last + 1)
        ]
        width = max(len(rows[0][0]), len(f"hh:mm:ss{unit}"))
        ends = f"{low}{high:>{GRAPH_WIDTH - len(str(low))}}"
        rule = "_" * (GRAPH_WIDTH - 2)
        return "".join((
            f"{'':{width}} {ends}\n", f"{f'hh:mm:ss{unit}':{width}} |{rule}|\n",
            *(f"{clock:{width}} {_graph(value, low, high)}\n" for clock, value in rows),
            f"{'':{width}} v{rule}v\n", f"{'':{width}} {ends}\n\n",
        ))  # fmt: skip

    def json(self) -> list[dict[str, Any]]:
        """One object for each interval with a value."""
        return [
            {"interval_start": _clock(epoch * self.interval, 9, "%Y-%m-%d %H:%M:%S"), "value": value}
            for epoch, value in self.points
        ]


GRAPH_WIDTH = 53
_CLOCK = ((10**9, "", 0), (10**6, ".ms", 3), (10**3, ".μs", 6), (0, ".ns", 9))
"""From which length of an interval on its start is written with a unit and so many digits of a second."""


def _clock(ns: int, digits: int, form: str = "%H:%M:%S") -> str:
    """A time of day, with digits of the second."""
    import time  # late: most values are no times

    seconds, rest = divmod(ns, 10**9)
    whole = time.strftime(form, time.localtime(seconds))
    return f"{whole}.{rest:09d}"[: len(whole) + 1 + digits] if digits else whole


def _padded(values: list[int]) -> tuple[int, int]:
    """The ends of a graph: least and most value; where they are the same, one less and one more."""
    low, high = min(values), max(values)
    return (low - 1, high + 1) if low == high else (low, high)


def _graph(value: int | None, low: int, high: int) -> str:
    """One line: a star for the value between two bars, a dot for 0 where values of both signs are."""
    line = ["|", *" " * (GRAPH_WIDTH - 2), "|"]
    if low < 0 < high:
        line[_column(0, low, high)] = "."
    if value is not None:
        line[_column(value, low, high)] = "*"
    return "".join(line) + f" {'-' if value is None else value}"


def _column(value: int, low: int, high: int) -> int:
    return (value - low) * (GRAPH_WIDTH - 1) // (high - low)


class Table(NamedTuple):
    """The entries of a map: one column for each part of the key (none for a map without keys), and the values."""

    keys: Sequence[Sequence[Any]]
    values: Sequence[Any]

    def items(self) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """(key parts, value)."""
        keys = zip(*self.keys, strict=True) if self.keys else iter([()] * len(self.values))
        return zip(keys, self.values, strict=True)

    def at(self, places: Sequence[int]) -> Table:
        """Some entries, in the order given."""
        return Table([_picked(column, places) for column in self.keys], _picked(self.values, places))


def _picked(column: Sequence[Any], places: Sequence[int]) -> Sequence[Any]:
    return list(map(column.__getitem__, places))


def _within(row: Row, part: float) -> float:
    """The value below which that part of a bucket lies."""
    if row.low is None or row.high is None:
        return float(row.low or row.high or 0)
    return row.low + (row.high - 1 - row.low) * min(part, 1)


def _present(buckets: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted((index, count) for index, count in buckets.items() if count))


@lru_cache(4096)
def _bounds(index: int, scale: tuple[int, ...]) -> tuple[str, int | None, int | None]:
    """Label, low and high of a bucket."""
    low, high, low_text, high_text = (_log2_bounds if len(scale) == 1 else _linear_bounds)(index, *scale)
    return _label(low, high, low_text, high_text), low, high


@lru_cache(4096)
def _head(index: int, scale: tuple[int, ...]) -> str:
    return f"{_bounds(index, scale)[0]:<16}"


_BARS = tuple(f" |{'@' * length:<{BAR_WIDTH}}|\n" for length in range(BAR_WIDTH + 1))


def _line(head: str, count: int, most: int) -> str:
    return f"{head}{count:>8}{_BARS[int(count / most * BAR_WIDTH)]}"


def _bucket(row: Row) -> dict[str, int]:
    ends: list[tuple[str, int]] = []
    if row.low is not None:
        ends.append(("min", row.low))
    if row.high is not None:
        ends.append(("max", row.high - 1))
    return dict([*ends, ("count", row.count)])


def _label(low: int | None, high: int | None, low_text: str, high_text: str) -> str:
    if low is None:
        return f"(..., {high_text})"
    if high is None:
        return f"[{low_text}, ...)"
    return f"[{low_text}]" if high == low + 1 else f"[{low_text}, {high_text})"


_Ends = tuple["int | None", "int | None", str, str]  # low, high, and how each is written


def _log2_bounds(index: int, bits: int) -> _Ends:
    if index == 0:
        return None, 0, "", "0"
    (low, low_text), (high, high_text) = _log2_bound(index - 1, bits), _log2_bound(index, bits)
    return low, high, low_text, high_text


def _log2_bound(index: int, bits: int) -> tuple[int, str]:
    """Where bucket `index` ends: (2^bits + index mod 2^bits) << power, and its short spelling."""
    parts = 1 << bits
    if index < 2 * parts:
        return index, str(index)
    multiple, power = parts + index % parts, (index >> bits) - 1
    return multiple << power, f"{multiple << power % 10}{_UNITS[power // 10]}"


def _linear_bounds(index: int, low: int, high: int, step: int) -> _Ends:
    if index == 0:
        return None, low, "", _linear_text(low, step)
    start = low + (index - 1) * step
    if index > (high - low) // step:
        return start, None, _linear_text(start, step), ""
    return start, start + step, _linear_text(start, step), _linear_text(start + step, step)


def _linear_text(number: int, step: int) -> str:
    """Plain, unless the steps are whole multiples of 1024: then with K or M where that divides."""
    if number and step % 1024 == 0:
        for unit, shift in (("M", 20), ("K", 10)):
            if number % (1 << shift) == 0:
                return f"{number // (1 << shift)}{unit}"
    return str(number)


def jsonable(value: Any) -> Any:
    """A value of this module as JSON-able data; any other value unchanged."""
    return value.json() if isinstance(value, (Histogram, Stats, Series)) else value

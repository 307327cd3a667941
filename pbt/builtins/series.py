"""The map function that keeps values by the time they came: tseries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.builtins.aggregate import quotient
from pbt.builtins.time import boot_ns
from pbt.feature import Aggregation, Call, Mem, Sample
from pbt.types import I64, U64, Type
from pbt.typing import TYPE_CHECKING
from pbt.values import Series

if TYPE_CHECKING:
    from pbt.ir.core import Condition, Value
    from pbt.views import Checks, Gen

_MOST = 1_000_000
_AGG = ("avg", "max", "min", "sum")
_NONE, _AVG, _MAX, _MIN, _SUM = range(5)  # the literal `agg`: no word, or the number of one of _AGG
_VALUE, _META, _EPOCH = 0, 8, 16
"""A cell: value, meta, and the number of its interval since 1970.

Meta is the time of the value where there is no `agg`, the count of values for avg, 1 for min and max.
"""


def _bucket(gen: Gen, sample: Sample) -> Value:
    """Intervals take turns in the slots. `series.now` and `series.epoch` are for the update that follows."""
    b, (interval, count, _) = gen.b, sample.args
    now = b.add(boot_ns(gen), gen.start("unix_offset"))
    epoch = b.op("udiv", now, interval)
    b.assign("series.now", now)
    b.assign("series.epoch", epoch)
    return b.op("umod", epoch, count)


def _update(gen: Gen, cell: Mem, sample: Sample) -> None:
    """A cell that is left of an older interval starts anew."""
    b, base, at = gen.b, cell.base, cell.offset
    epoch = b.read("series.epoch")
    with b.when("ne", b.load(base, at + _EPOCH, 8), epoch):
        b.zero(base, at, _EPOCH)
        b.store(base, at + _EPOCH, 8, epoch)
    agg = sample.args[2]
    if agg == _NONE:
        b.store(base, at + _VALUE, 8, sample.number)
        b.store(base, at + _META, 8, b.read("series.now"))
    elif agg in (_SUM, _AVG):
        b.store(base, at + _VALUE, 8, b.add(b.load(base, at + _VALUE, 8), sample.number))
        b.store(base, at + _META, 8, b.add(b.load(base, at + _META, 8), 1))
    else:
        _extreme(gen, cell, sample)


def _extreme(gen: Gen, cell: Mem, sample: Sample) -> None:
    b, base, at = gen.b, cell.base, cell.offset
    less: Condition = "slt" if sample.signed else "ult"
    more: Condition = "sgt" if sample.signed else "ugt"
    fresh, compare, after = b.block("fresh"), b.block("compare"), b.block("after")
    b.branch("eq", b.load(base, at + _META, 8), 0, fresh, compare)
    b.place(compare)
    b.branch(less if sample.args[2] == _MIN else more, sample.number, b.load(base, at, 8), fresh, after)
    b.place(fresh)
    b.store(base, at + _VALUE, 8, sample.number)
    b.store(base, at + _META, 8, 1)
    b.jump(after)
    b.place(after)


def _part(cells: Sequence[tuple[int, ...]], args: Sequence[int]) -> tuple[int, int] | None:
    """(epoch, value) of a slot: only cells of its newest interval count."""
    newest = max(epoch for _, _, epoch in cells)
    live = [(value, meta) for value, meta, epoch in cells if epoch == newest and meta]
    if not live:
        return None
    values, agg = [value for value, _ in live], args[2]
    if agg == _NONE:
        return newest, max(live, key=lambda cell: cell[1])[0]
    if agg in (_MIN, _MAX):
        return newest, min(values) if agg == _MIN else max(values)
    total = sum(values)
    return newest, total if agg == _SUM else quotient(total, sum(meta for _, meta in live))


def _merge(slots: Mapping[int, tuple[int, int]], args: Sequence[int], signed: bool) -> Series:
    return Series.of(dict(slots.values()), args[0])


def _together(values: Sequence[Series], args: Sequence[int]) -> Sequence[Series]:
    """All series of a map end with its newest interval; those before the last `count` are over."""
    newest = max((series.last for series in values), default=0)
    return [series.window(newest - args[1], newest) for series in values]


def _check(checks: Checks, call: Call, literals: Sequence[int]) -> None:
    interval, count, _ = literals
    if interval < 1:
        raise checks.error(
            f"tseries() interval_ns must be >= 1 ({interval} provided)", call.span, "such as 500ms"
        )
    if not 1 <= count <= _MOST:
        raise checks.error(
            f"tseries() num_intervals must be between 1 and {_MOST} ({count} provided)", call.span
        )
    mode = checks.config["unstable_tseries"]
    enable = 'config = { unstable_tseries = "enable" }'
    if mode == "error":
        raise checks.error("tseries() may still change and is switched off here", call.span, enable)
    if mode == "warn":
        checks.warn("tseries() may still change", call.span, f"{enable} hides this warning", once=True)


def _cell(signed: bool) -> Sequence[Type]:
    return I64 if signed else U64, U64, U64


TSERIES = Aggregation(
    "tseries", "(n, interval, count [, agg]) -> tseries_t",
    "Values by intervals of time: the last of each, or what avg, max, min or sum makes of all.",
    cell=_cell, update=_update, merge=_merge, part=_part, together=_together, order=lambda series: 0,
    literals=("interval_ns", "num_intervals", "agg"), optional=1, choices={"agg": _AGG}, check=_check,
    bucket=_bucket, buckets=lambda args: args[1], json="tseries",
)  # fmt: skip

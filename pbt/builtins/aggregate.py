"""Map functions: count sum avg min max stats hist lhist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.feature import Aggregation, Call, Mem, Sample
from pbt.types import I64, U64, Type
from pbt.typing import TYPE_CHECKING, Any
from pbt.values import Histogram, Stats

if TYPE_CHECKING:
    from pbt.ir.core import Condition, Value
    from pbt.views import Checks, Gen

_LHIST_BUCKETS = 1000


def _integer(signed: bool) -> Type:
    return I64 if signed else U64


def _load(gen: Gen, cell: Mem, index: int) -> Value:
    return gen.b.load(cell.base, cell.offset + 8 * index, 8)


def _store(gen: Gen, cell: Mem, index: int, value: Value | int) -> None:
    gen.b.store(cell.base, cell.offset + 8 * index, 8, value)


def _bump(gen: Gen, cell: Mem, index: int, by: Value | int) -> None:
    _store(gen, cell, index, gen.b.add(_load(gen, cell, index), by))


def _count(gen: Gen, cell: Mem, sample: Sample) -> None:
    _bump(gen, cell, 0, 1)


def _sum(gen: Gen, cell: Mem, sample: Sample) -> None:
    _bump(gen, cell, 0, sample.number)


def _total_and_count(gen: Gen, cell: Mem, sample: Sample) -> None:
    _bump(gen, cell, 0, sample.number)
    _bump(gen, cell, 1, 1)


def _extreme(gen: Gen, cell: Mem, value: Value, replaces: Condition) -> None:
    """Keep the value if the cell (value, is_set) is empty or `replaces` holds against it."""
    b = gen.b
    fresh, compare, after = b.block("fresh"), b.block("compare"), b.block("after")
    b.branch("eq", _load(gen, cell, 1), 0, fresh, compare)
    b.place(compare)
    b.branch(replaces, value, _load(gen, cell, 0), fresh, after)
    b.place(fresh)
    _store(gen, cell, 0, value)
    _store(gen, cell, 1, 1)
    b.jump(after)
    b.place(after)


def _min(gen: Gen, cell: Mem, sample: Sample) -> None:
    _extreme(gen, cell, sample.number, "slt" if sample.signed else "ult")


def _max(gen: Gen, cell: Mem, sample: Sample) -> None:
    _extreme(gen, cell, sample.number, "sgt" if sample.signed else "ugt")


def _add_cells(gen: Gen, total: Mem, cell: Mem, signed: bool) -> None:
    _bump(gen, total, 0, _load(gen, cell, 0))


def _add_both(gen: Gen, total: Mem, cell: Mem, signed: bool) -> None:
    _add_cells(gen, total, cell, signed)
    _bump(gen, total, 1, _load(gen, cell, 1))


def _least(gen: Gen, total: Mem, cell: Mem, signed: bool) -> None:
    with gen.b.when("ne", _load(gen, cell, 1)):
        _extreme(gen, total, _load(gen, cell, 0), "slt" if signed else "ult")


def _most(gen: Gen, total: Mem, cell: Mem, signed: bool) -> None:
    with gen.b.when("ne", _load(gen, cell, 1)):
        _extreme(gen, total, _load(gen, cell, 0), "sgt" if signed else "ugt")


def _first(gen: Gen, total: Mem, signed: bool) -> Value:
    return _load(gen, total, 0)


def _mean(gen: Gen, total: Mem, signed: bool) -> Value:
    return gen.b.op("sdiv" if signed else "udiv", _load(gen, total, 0), _load(gen, total, 1))


def _log2_bucket(gen: Gen, sample: Sample) -> Value:
    """Negative → 0, v < 2^k → v + 1, else ((L-k+1) << k) + ((v >> (L-k)) mod 2^k) + 1, L = floor(log2 v)."""
    b, value, k = gen.b, sample.number, sample.args[0]
    negative, rest, done = b.block("negative"), b.block("rest"), b.block("bucket")
    b.branch("slt", value, 0, negative, rest)
    b.place(negative)
    b.assign("hist.bucket", 0)
    b.jump(done)
    b.place(rest)
    b.assign("hist.bucket", _parted(gen, value, k) if k else _bit_length(gen, value, 1))
    b.jump(done)
    b.place(done)
    return b.read("hist.bucket")


def _parted(gen: Gen, value: Value, k: int) -> Value:
    """The bucket of a value that is not negative, where powers of two are cut into 2^k."""
    b = gen.b

    def large() -> Value:
        shift = _bit_length(gen, value, -1 - k)
        part = b.op("and", b.op("lshr", value, shift), (1 << k) - 1)
        return b.add(b.add(b.op("shl", b.add(shift, 1), k), part), 1)

    return b.choose("ult", value, 1 << k, lambda: b.add(value, 1), large)


_LENGTHS = sum(n.bit_length() << 4 * n for n in range(16))  # four bits for each


def _bit_length(gen: Gen, value: Value, plus: int) -> Value:
    """The number of a value's bits and `plus`: four halving steps, then a number tells that of the last four bits.

    What a step shifts out may be all: a number of as many bits leaves 0, which has none. So what is left after the
    step may be any number that is left without it, and the verifier, which walks the step first, needs to walk on
    from there only once.
    """
    b = gen.b
    b.assign("bits.left", value)
    b.assign("bits.found", plus)
    for bits in (32, 16, 8, 4):
        with b.when("ugt", b.read("bits.left"), (1 << bits - 1) - 1):
            b.assign("bits.left", b.op("lshr", b.read("bits.left"), bits))
            b.assign("bits.found", b.add(b.read("bits.found"), bits))
    last = b.op("lshr", b.const(_LENGTHS), b.op("shl", b.read("bits.left"), 2))
    return b.add(b.read("bits.found"), b.op("and", last, 7))


def _linear_bucket(gen: Gen, sample: Sample) -> Value:
    """v < min → 0, v > max → the last, else 1 + (v - min) / step."""
    b, value, (low, high, step) = gen.b, sample.number, sample.args
    under, rest, over, inside, done = (b.block(n) for n in ("under", "rest", "over", "inside", "bucket"))
    b.branch("slt", value, low, under, rest)
    b.place(under)
    b.assign("lhist.bucket", 0)
    b.jump(done)
    b.place(rest)
    b.branch("sgt", value, high, over, inside)
    b.place(over)
    b.assign("lhist.bucket", 1 + (high - low) // step)
    b.jump(done)
    b.place(inside)
    b.assign("lhist.bucket", b.add(b.op("udiv", b.sub(value, low), step), 1))
    b.jump(done)
    b.place(done)
    return b.read("lhist.bucket")


def _check_bits(checks: Checks, call: Call, literals: Sequence[int]) -> None:
    if not 0 <= literals[0] <= 5:
        raise checks.error(
            f"hist() bits {literals[0]} must be 0..5",
            call.span,
            "2^bits buckets are kept for each power of two",
        )


def _check_linear(checks: Checks, call: Call, literals: Sequence[int]) -> None:
    low, high, step = literals
    if step <= 0:
        raise checks.error(f"lhist() step must be >= 1 ({step} provided)", call.span)
    if low >= high:
        raise checks.error(
            f"lhist() min must be less than max (provided min {low} and max {high})", call.span
        )
    if step > high - low:
        raise checks.error(
            f"lhist() step is too large for the given range (provided step {step} for range {high - low})",
            call.span,
            "no bucket would fit between min and max",
        )
    buckets = (high - low) // step
    if buckets > _LHIST_BUCKETS:
        raise checks.error(
            f"lhist() too many buckets, must be <= {_LHIST_BUCKETS} (would need {buckets})",
            call.span,
            f"a step of {-(-(high - low) // _LHIST_BUCKETS)} would do",
        )


def _merge_sum(cells: Sequence[tuple[int, ...]], args: Sequence[int], signed: bool) -> int:
    total = sum(cell[0] for cell in cells) % (1 << 64)
    return total - (1 << 64) if signed and total >> 63 else total


def _merge_min(cells: Sequence[tuple[int, ...]], args: Sequence[int], signed: bool) -> int:
    return min((value for value, is_set in cells if is_set), default=0)


def _merge_max(cells: Sequence[tuple[int, ...]], args: Sequence[int], signed: bool) -> int:
    return max((value for value, is_set in cells if is_set), default=0)


def quotient(total: int, count: int) -> int:
    """Truncated towards zero, as C divides; 0 for a count of 0."""
    if not count:
        return 0
    return total // count if total >= 0 else -(-total // count)


def _merge_avg(cells: Sequence[tuple[int, ...]], args: Sequence[int], signed: bool) -> int:
    return quotient(_merge_sum(cells, args, signed), sum(cell[1] for cell in cells))


def _merge_stats(cells: Sequence[tuple[int, ...]], args: Sequence[int], signed: bool) -> Stats:
    return _stats(_merge_sum(cells, args, signed), sum(cell[1] for cell in cells))


def _stats(total: int, count: int) -> Stats:
    return Stats(count, quotient(total, count), total)


def _merge_hist(buckets: Mapping[int, int], args: Sequence[int], signed: bool) -> Histogram:
    return Histogram.log2(buckets, args[0])


def _merge_lhist(buckets: Mapping[int, int], args: Sequence[int], signed: bool) -> Histogram:
    return Histogram.linear(buckets, *args)


def _counter(signed: bool) -> Sequence[Type]:
    return (U64,)


def _flagged(signed: bool) -> Sequence[Type]:
    return (_integer(signed), U64)


def _itself(value: Any) -> Any:
    return value


COUNT = Aggregation(
    "count", "() -> count_t", "How many times this line ran.",
    cell=_counter, update=_count, merge=_merge_sum, order=_itself,
    takes_value=False, total=int, fold=_add_cells, result=_first, divide=quotient,
)  # fmt: skip
SUM = Aggregation(
    "sum", "(n) -> sum_t", "The sum of all values.",
    cell=lambda signed: (_integer(signed),), update=_sum, merge=_merge_sum, order=_itself,
    total=int, fold=_add_cells, result=_first, divide=quotient,
)  # fmt: skip
MIN = Aggregation(
    "min", "(n) -> min_t", "The smallest value.",
    cell=_flagged, update=_min, merge=_merge_min, order=_itself, fold=_least, result=_first, divide=quotient,
)  # fmt: skip
MAX = Aggregation(
    "max", "(n) -> max_t", "The largest value.",
    cell=_flagged, update=_max, merge=_merge_max, order=_itself, fold=_most, result=_first, divide=quotient,
)  # fmt: skip
AVG = Aggregation(
    "avg", "(n) -> avg_t", "The average of all values.",
    cell=_flagged, update=_total_and_count, merge=_merge_avg, order=_itself, json="stats",
    total=quotient, fold=_add_both, result=_mean, divide=quotient,
)  # fmt: skip
STATS = Aggregation(
    "stats", "(n) -> stats_t", "Count, average and total of all values.",
    cell=_flagged, update=_total_and_count, merge=_merge_stats,
    order=lambda stats: stats.average, json="stats", total=_stats,
    divide=lambda stats, div: Stats(stats.count, quotient(stats.average, div), stats.total),
)  # fmt: skip
HIST = Aggregation(
    "hist", "(n [, bits]) -> hist_t", "A histogram with buckets of powers of two, each cut into 2^bits.",
    cell=_counter, update=_count, merge=_merge_hist, order=lambda hist: hist.total, json="hist",
    literals=("bits",), optional=1, check=_check_bits, aliases=("quantize",),
    bucket=_log2_bucket, buckets=lambda args: (65 - args[0] << args[0]) + 2,
    divide=lambda hist, div: hist.divide(div),
)  # fmt: skip
LHIST = Aggregation(
    "lhist", "(n, min, max, step) -> lhist_t", "A histogram with buckets of equal width.",
    cell=_counter, update=_count, merge=_merge_lhist, order=lambda hist: hist.total, json="hist",
    literals=("min", "max", "step"), check=_check_linear,
    bucket=_linear_bucket, buckets=lambda args: (args[1] - args[0]) // args[2] + 2,
)  # fmt: skip

import time

import pytest

from pbt.values import BAR_WIDTH, Histogram, Series, Stats, Symbol


def line(label: str, count: int, bar: int) -> str:
    return f"{label:<16}{count:>8} |{'@' * bar:<{BAR_WIDTH}}|\n"


def labels(histogram: Histogram) -> list[str]:
    return [row.label for row in histogram.rows()]


def test_log2_rows_go_from_the_first_hit_to_the_last():
    histogram = Histogram.log2({0: 1, 2: 4, 4: 2})
    assert histogram.text() == "".join(
        [line("(..., 0)", 1, 13), line("[0]", 0, 0), line("[1]", 4, 52), line("[2, 4)", 0, 0),
         line("[4, 8)", 2, 26)]
    )  # fmt: skip
    assert histogram.total == 7


@pytest.mark.parametrize("percent", [0, 1, 25, 50, 90, 99, 99.9, 100])
def test_percentiles_are_as_near_as_buckets_tell(percent):
    """Of 1, 2, ... 1000: within 2^-bits of the true one, and within a step where the steps are equal."""
    true = max(1, -(-1000 * percent // 100))
    for bits in range(6):
        counts: dict[int, int] = {}
        for value in range(1, 1001):
            at = log2_bucket(value, bits)
            counts[at] = counts.get(at, 0) + 1
        found = Histogram.log2(counts, bits).percentile(percent)
        assert abs(found - true) <= max(1, true / (1 << bits)), bits
    even = Histogram.linear({1 + step: 10 for step in range(100)}, 0, 1000, 10)
    assert abs(even.percentile(percent) - true) <= 10


def log2_bucket(value: int, bits: int) -> int:
    """The number of a value's bucket, by its bounds."""
    rows = Histogram.log2({0: 1, 64 << bits: 1}, bits).rows()
    return next(
        i for i, row in enumerate(rows) if row.low is not None and row.low <= value < (row.high or value + 1)
    )


def test_percentiles_at_the_ends():
    assert Histogram.log2({}).percentile(50) is None
    assert Histogram.linear({0: 1}, 5, 10, 5).percentile(50) == 5
    assert Histogram.linear({0: 1, 2: 1}, 5, 10, 5).percentile(100) == 10
    assert Histogram.log2({0: 2, 1: 1}).percentile(10) == 0


def test_log2_labels_count_in_1024s():
    assert labels(Histogram.log2({10: 1, 11: 1, 12: 1})) == ["[256, 512)", "[512, 1K)", "[1K, 2K)"]
    assert labels(Histogram.log2({64: 1})) == ["[4E, 8E)"]


def test_log2_with_bits_cuts_each_power():
    assert labels(Histogram.log2({8: 1, 9: 1, 12: 1}, 2)) == [
        "[7]",
        "[8, 10)",
        "[10, 12)",
        "[12, 14)",
        "[14, 16)",
    ]
    assert labels(Histogram.log2({38: 1}, 2)) == ["[1280, 1536)"]
    assert labels(Histogram.log2({46: 1}, 2)) == ["[5K, 6K)"]


def bucket_of(value: int, bits: int) -> int:
    """What programs count in (see pbt.builtins.aggregate)."""
    if value < 1 << bits:
        return value + 1 if value >= 0 else 0
    log = value.bit_length() - 1
    return ((log - bits + 1) << bits) + (value >> log - bits) % (1 << bits) + 1


@pytest.mark.parametrize("bits", range(6))
def test_every_value_lies_in_its_bucket(bits):
    values = {*range(300), *((1 << n) + d for n in range(5, 63) for d in (-1, 0, 1, 1 << n - 2))}
    for value in values:
        (row,) = Histogram.log2({bucket_of(value, bits): 1}, bits).rows()
        assert row.low is not None and row.high is not None and row.low <= value < row.high


def test_linear_rows_and_open_ends():
    histogram = Histogram.linear({0: 1, 1: 2, 3: 2}, 0, 400, 200)
    assert labels(histogram) == ["(..., 0)", "[0, 200)", "[200, 400)", "[400, ...)"]
    assert labels(Histogram.linear({1: 1}, -10, 10, 5)) == ["[-10, -5)"]
    assert labels(Histogram.linear({6: 1}, 0, 10, 1)) == ["[5]"]
    assert labels(Histogram.linear({0: 1, 2: 1}, 0, 1 << 21, 1 << 20)) == ["(..., 0)", "[0, 1M)", "[1M, 2M)"]
    assert labels(Histogram.linear({2: 1, 3: 1}, 0, 2500, 1000)) == ["[1000, 2000)", "[2000, ...)"]


def test_histograms_as_json_have_inclusive_ends():
    assert Histogram.log2({0: 1, 3: 2}).json()[::3] == [
        {"max": -1, "count": 1},
        {"min": 2, "max": 3, "count": 2},
    ]
    assert Histogram.linear({4: 2}, 0, 6, 2).json() == [{"min": 6, "count": 2}]


def test_dividing_keeps_the_rows():
    divided = Histogram.log2({1: 2, 3: 9}).divide(3)
    assert [row.count for row in divided.rows()] == [0, 0, 3]


def test_nothing_counted_is_no_row():
    assert Histogram.log2({3: 0}).text() == "" and Histogram.log2({}).json() == []


def test_stats_and_symbols():
    stats = Stats(2, 6, 13)
    assert stats.text() == "{ .count = 2, .average = 6, .total = 13 }"
    assert stats.json() == {"count": 2, "average": 6, "total": 13}
    assert Symbol("f", 16).text() == "f" and Symbol("f", 16).text(offset=True) == "f+16"


# --- series: as bpftrace 0.27 draws the same values (but for the line of zeros, see docs/language.md) ------


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def series(values: dict[int, int], interval: int, last: int | None = None) -> Series:
    """Values by interval, counted from 19:55:00 of some day on."""
    start = (1_764_100_500 * 10**9) // interval
    made = Series.of({start + number: value for number, value in values.items()}, interval)
    return made if last is None else made.window(0, start + last)


def test_a_series_is_a_graph_with_gaps(utc):
    made = series({0: -2, 1: -1, 2: 0, 4: 2, 7: 5}, 500_000_000)
    assert (
        made.text()
        == """\
             -2                                                  5
hh:mm:ss.ms  |___________________________________________________|
19:55:00.000 *             .                                     | -2
19:55:00.500 |      *      .                                     | -1
19:55:01.000 |             *                                     | 0
19:55:01.500 |             .                                     | -
19:55:02.000 |             .              *                      | 2
19:55:02.500 |             .                                     | -
19:55:03.000 |             .                                     | -
19:55:03.500 |             .                                     * 5
             v___________________________________________________v
             -2                                                  5

"""
    )


def test_a_series_of_one_value_lies_in_the_middle(utc):
    assert (
        series({0: 5}, 10**9).text()
        == """\
                   4                                                   6
hh:mm:ss.ns        |___________________________________________________|
19:55:00.000000000 |                         *                         | 5
                   v___________________________________________________v
                   4                                                   6

"""
    )


@pytest.mark.parametrize(
    ("interval", "unit", "clock"),
    [
        (10**9, "hh:mm:ss ", "19:55:01 "),
        (1_500_000_000, "hh:mm:ss ", "19:55:01 "),
        (10**6, "hh:mm:ss.ms", "19:55:00.001 "),
        (500_000, "hh:mm:ss.\u03bcs", "19:55:00.000500 "),
        (1, "hh:mm:ss.ns", "19:55:00.000000001 "),
    ],
)
def test_clocks_are_as_fine_as_the_intervals(utc, interval, unit, clock):
    lines = series({0: 1}, interval, 1).text().splitlines()
    assert lines[1].startswith(unit) and lines[3].startswith(clock) and lines[3].endswith("| -")
    assert len({len(line.partition("|")[0]) for line in lines[1:4]}) == 1


def test_a_series_may_be_over():
    made = series({0: 5}, 10**9)
    assert made.window(made.last, made.last + 1).text() == "<no data>\n"
    assert made.window(made.last, made.last + 1).json() == []


def test_a_series_as_json(utc):
    assert series({0: 5, 2: 7}, 500_000_000).json() == [
        {"interval_start": "2025-11-25 19:55:00.000000000", "value": 5},
        {"interval_start": "2025-11-25 19:55:01.000000000", "value": 7},
    ]

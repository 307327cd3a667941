"""What the cells of several CPUs come to, and what a whole map shows of a series."""

import pytest

from pbt.builtins.series import TSERIES

NONE, AVG, MAX, MIN, SUM = range(5)


@pytest.mark.parametrize(
    ("agg", "cells", "value"),
    [
        (NONE, [(3, 100, 7), (4, 200, 7)], 4),
        (NONE, [(3, 300, 7), (4, 200, 7)], 3),
        (SUM, [(3, 1, 7), (-4, 2, 7)], -1),
        (MIN, [(3, 1, 7), (-4, 1, 7)], -4),
        (MAX, [(-3, 1, 7), (-4, 1, 7)], -3),
        (MAX, [(-3, 1, 7), (0, 0, 7)], -3),
        (AVG, [(-3, 1, 7), (-4, 2, 7)], -2),
        (SUM, [(3, 1, 7), (900, 1, 6)], 3),
    ],
)
def test_cells_of_a_slot(agg, cells, value):
    assert TSERIES.part is not None
    assert TSERIES.part(cells, (1000, 5, agg)) == (7, value)


def test_a_slot_that_nobody_wrote():
    assert TSERIES.part is not None
    assert TSERIES.part([(0, 0, 0), (0, 0, 0)], (1000, 5, NONE)) is None


def test_all_series_of_a_map_end_together():
    args = (1000, 3, NONE)
    old, new = TSERIES.merge({0: (10, 1), 1: (11, 2)}, args, True), TSERIES.merge({2: (13, 3)}, args, True)
    assert TSERIES.together is not None
    shown = TSERIES.together([old, new], args)
    assert [series.points for series in shown] == [((11, 2),), ((13, 3),)]
    assert [series.last for series in shown] == [13, 13]

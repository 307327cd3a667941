from math import isnan

from bench.timing import Burst, Paces, counting, figure, of_start


def paces(best=100):
    found = Paces()
    found.note(best + 50)
    assert found.note(best) == best
    return found


def bursts(*ns, pace=100, runs=1000):
    return [Burst(pace, round(each * runs), runs) for each in ns]


FAST = bursts(200, 201, 202, 203)


def test_bursts_count_at_the_best_pace_and_when_all_programs_ran():
    assert (
        counting([*FAST, *bursts(150, pace=115), *bursts(90, runs=500), *bursts(80, runs=50)], paces())
        == FAST
    )
    assert counting(bursts(80, runs=50), paces()) == []


def test_a_start_is_its_lower_quartile():
    assert of_start(FAST, paces()) == 201
    assert isnan(of_start(FAST[:2], paces()))
    assert of_start([*FAST, *bursts(*[150] * 9, pace=120)], paces()) == 201


def test_the_median_of_the_starts_is_settled_where_most_of_them_are_near():
    near, far, lucky = bursts(*[204] * 4), bursts(*[230] * 4), bursts(*[170] * 4)
    assert figure([far, near, FAST], paces()) == (204, True)
    assert figure([lucky, far, FAST], paces()) == (201, False)
    assert figure([lucky, far, FAST, near], paces()) == (202.5, False)
    assert figure([lucky, far, FAST, near, FAST], paces()) == (201, True)
    assert figure([near, FAST], paces()) == (202.5, True) and figure([far, FAST], paces()) == (215.5, False)
    assert figure([FAST], paces()) == (201, False)


def test_without_a_good_pace_the_least_is_told_as_not_settled():
    slow = bursts(250, 240, 260, 245, pace=130)
    assert figure([slow, slow], paces()) == (240, False)
    assert figure([slow, FAST, FAST], paces()) == (201, True)


def test_where_nothing_runs_there_is_nothing_to_settle():
    ns, settled = figure([bursts(100, runs=20)], paces())
    assert isnan(ns) and settled

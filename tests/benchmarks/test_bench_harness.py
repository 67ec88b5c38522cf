"""The table itself: ratios are medians over rounds, and a goal that is missed is said to be."""

import math

from opticam_dask.testing.benchmark import Comparison, compare, table


def test_ratio_is_the_median_of_the_rounds_not_of_the_figures():
    rounds = ((1.0, 2.0), (30.0, 10.0), (1.0, 4.0))
    line = Comparison(1, "x", 1.0, 4.0, 0.5, rounds=rounds)
    assert line.ratio == 0.5
    assert line.reached


def test_a_missed_goal_is_said_to_be_missed():
    slow = Comparison(2, "slow", 3.0, 1.5, 1.0)
    fast = Comparison(1, "speed-up", 1.9, 1.0, 1.8, unit="x", at_least=True)
    text = table([slow, fast]).splitlines()
    assert "MISSED" in text[3]
    assert "reached" in text[2]
    assert "| 2 " in text[3]


def test_both_sides_run_in_turns_and_the_first_round_does_not_count():
    calls = []
    line = compare(1, "turns", lambda: calls.append("a"), lambda: calls.append("b"), 1.0, rounds=2)
    assert calls == ["a", "b"] * 3
    assert len(line.rounds) == 2


def test_a_line_without_a_goal_is_not_judged():
    (row,) = table([Comparison(1, "size", 1.0, 2.0, math.inf)]).splitlines()[2:3]
    assert "reached" not in row
    assert "inf" not in row

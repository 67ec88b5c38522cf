"""A pull test as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opticam_dask.validation.runs import PullTest

_HEADER = (
    "gain  photometer  sky      place    counts          stars      n  lost    mean     std  star scatter"
    "          bias %          goals"
)
_UNITS = "counts are true totals [adu]; star scatter is 1 where no star has a bias of its own"


def report(result: PullTest) -> str:
    """Return the table of a pull test, one line per row, with the goals and whether they are met."""
    goals = result.goals
    lines = [_HEADER, *(_line(row) for row in result.table.to_dict("records"))]
    verdict = "PASS" if result.passed else "FAIL"
    aim = (
        f"goals: |mean| <= {goals.mean:g} and |std - 1| <= {goals.std:g} where forced; "
        f"|bias| < {100 * goals.bias:g} % above {goals.bias_above:g} counts"
    )
    if goals.allowance:
        aim += f"; each plus {goals.allowance:g} of its statistical errors, as the measurements are few"
    return "\n".join([*lines, _UNITS, f"{verdict}: {aim}"])


def _line(row: Any) -> str:
    values = dict(row)
    place = "forced" if values["forced"] else "matched"
    counts = "{low:.0e}..{high:.0e}".format(**values)
    return (
        "{gain:<5g} {photometer:<11} {sky:<8} ".format(**values)
        + f"{place:<8} {counts:<15} "
        + "{stars:5d} {n:6d} {lost:5d} {mean:+7.3f} {std:7.3f} {star_scatter:13.2f} ".format(**values)
        + "{bias:+9.3f} +- {bias_err:.3f}  ".format(**values)
        + ("PASS" if values["passed"] else "FAIL")
    )

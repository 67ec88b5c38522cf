"""Two ways to do a thing, side by side: medians of alternating rounds, and one table of all comparisons."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

_PACKAGES = ("opticam-dask", "numpy", "numba", "dask", "astropy")
_HEAD = ("#", "case", "ours", "reference", "ratio", "goal", "")


@dataclass(frozen=True)
class Comparison:
    """One line of the table.

    Parameters
    ----------
    number : int
        Sorts and groups the lines.
    case : str
        What was compared with what.
    ours, reference : float
        Both figures, in ``unit``; ``reference`` is 1 where the goal is an absolute one.
    goal : float
        What the ratio should keep to; infinite where there is no goal.
    unit : str
        Unit of both figures.
    at_least : bool
        Whether the ratio should be the goal or more; else the goal or less.
    rounds : tuple of (float, float)
        Ours and the reference's figure in each round; the ratio is the median of their ratios.
    """

    number: int
    case: str
    ours: float
    reference: float
    goal: float
    unit: str = "ms"
    at_least: bool = False
    rounds: tuple[tuple[float, float], ...] = ()

    @property
    def ratio(self) -> float:
        """Ours over the reference."""
        pairs = self.rounds or ((self.ours, self.reference),)
        return median(ours / reference for ours, reference in pairs)

    @property
    def reached(self) -> bool:
        """Whether the ratio keeps to the goal."""
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal

    def cells(self) -> tuple[str, ...]:
        """Texts of the line."""
        absolute = self.reference == 1.0 and not self.rounds
        return (
            str(self.number),
            self.case,
            f"{self.ours:.3g} {self.unit}",
            "" if absolute else f"{self.reference:.3g} {self.unit}",
            "" if absolute else f"{self.ratio:.3g}",
            *self._judgement(f" {self.unit}" if absolute else ""),
        )

    def _judgement(self, unit: str) -> tuple[str, str]:
        """Goal and whether it is reached; both empty where there is none."""
        if math.isinf(self.goal):
            return "", ""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.goal:g}{unit}", "reached" if self.reached else "MISSED"


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call [s]."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alternate(
    ours: Callable[[], Any], reference: Callable[[], Any], rounds: int = 7
) -> tuple[tuple[float, float], ...]:
    """Time two functions in turns, so that both meet the same machine; one round before does not count.

    Parameters
    ----------
    ours, reference : callable
        Functions without arguments.
    rounds : int
        Rounds that count.

    Returns
    -------
    tuple of (float, float)
        Seconds of ours and of the reference, in each round.
    """
    pairs = [(seconds(ours), seconds(reference)) for _ in range(rounds + 1)]
    return tuple(pairs[1:])


def compare(
    number: int,
    case: str,
    ours: Callable[[], Any],
    reference: Callable[[], Any],
    goal: float,
    *,
    per: int = 1,
    rounds: int = 7,
) -> Comparison:
    """Compare two functions that do the same job; the figures are in ms per one of ``per`` items."""
    pairs = alternate(ours, reference, rounds)
    scaled = tuple((1e3 * a / per, 1e3 * b / per) for a, b in pairs)
    return Comparison(
        number, case, median(a for a, _ in scaled), median(b for _, b in scaled), goal, rounds=scaled
    )


def table(comparisons: Sequence[Comparison]) -> str:
    """Markdown table of all comparisons, with the machine named under it."""
    rows = [line.cells() for line in sorted(comparisons, key=lambda line: line.number)]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (_HEAD, tuple("-" * width for width in widths), *rows)
    ]
    return "\n".join([*lines, "", machine()])


def machine() -> str:
    """One line on the machine and the versions of what the figures depend on."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, Python {platform.python_version()}, {packages}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()

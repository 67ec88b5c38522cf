"""Measured fluxes against true ones: pulls, and what they amount to per decade of flux."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from opticam_dask.errors import InputError
from opticam_dask.tables.store import dataset_root

EDGES = (300.0, 1e3, 1e4, 1e5, 3e5)
"""Decades of true flux [adu]; those at the ends are cut."""

MATCHED_PX = 2.0
"""A catalogue source this near to a true star, in the median over the frames, is that star [pixel]."""


@dataclass(frozen=True)
class Goals:
    """What the numbers of a decade are held against.

    Parameters
    ----------
    mean, std : float
        Largest departures of the mean pull from 0, and of the pulls' standard deviation from 1.
    bias : float
        Largest relative bias of the mean flux of stars above ``bias_above`` counts.
    bias_above : float
        Fainter stars are not judged by their bias [adu].
    allowance : float
        What chance may add to each departure, in statistical errors of the number itself: 0 where there are
        measurements enough to tell, as in a test of the default size.
    """

    mean: float = 0.05
    std: float = 0.05
    bias: float = 1e-3
    bias_above: float = 1e4
    allowance: float = 0.0

    def met(self, table: pd.DataFrame, *, judge_pulls: bool = True) -> pd.Series:
        """Whether each row of a table of decades is near enough to the truth; see `decades`."""
        chance = self.allowance / np.sqrt(table["n"])
        mean = table["mean"].abs() <= self.mean + chance
        std = (table["std"] - 1.0).abs() <= self.std + chance / np.sqrt(2.0)
        bias = table["bias"].abs() < 100.0 * self.bias + self.allowance * table["bias_err"]
        met: pd.Series = ((mean & std) | (not judge_pulls)) & (bias | (table["low"] < self.bias_above))
        return met


def measured_pulls(reduced: Path, label: str, truth: Path, scale: float = 1.0) -> pd.DataFrame:
    """Compute the pull of every measurement of a set of light curves.

    Parameters
    ----------
    reduced : Path
        Output directory of the reduction.
    label : str
        Which light curves.
    truth : Path
        Truth table of the simulation.
    scale : float
        Counts that the reduction gives for one true count: 1, or the normalisation of the flat field.

    Returns
    -------
    DataFrame
        One row per measurement of a true star, with columns ``camera, frame, star, true, flux, flux_err,
        pull, flags, x, y, true_x, true_y``; flux and pull are NaN where there is no measurement. Sources
        that are no star are left out.

    Raises
    ------
    InputError
        If frames were rejected, so that the numbers of the frames do not fit.
    """
    columns = ["camera", "source", "frame", "MJD", "flux", "flux_err", "flags", "x", "y"]
    found = pd.read_parquet(dataset_root(reduced, label), columns=columns).astype({"camera": str})
    stars = pd.read_parquet(truth, columns=["camera", "frame", "MJD", "star", "x", "y", "flux"])
    stars = stars.rename(columns={"x": "true_x", "y": "true_y", "flux": "true", "MJD": "true_MJD"})
    parts = [
        rows.assign(star=rows["source"].map(_identify(rows, stars[stars["camera"] == camera])))
        for camera, rows in found.groupby("camera")
    ]
    pulls = pd.concat(parts).dropna(subset="star").astype({"star": np.int32})
    pulls = pulls.merge(stars, on=["camera", "frame", "star"], how="left", validate="one_to_one")
    if not (pulls["MJD"] - pulls["true_MJD"]).abs().lt(1e-6).all():
        raise InputError(f"{reduced}: its frames are not those of {truth}; reduce the whole simulation anew")
    pulls["true"] *= scale
    return pulls.assign(pull=(pulls["flux"] - pulls["true"]) / pulls["flux_err"]).drop(columns="true_MJD")


def _identify(found: pd.DataFrame, stars: pd.DataFrame) -> dict[int, int]:
    """Star of each source: the nearest in the median over the frames, if near enough and no other's."""
    frames = np.intersect1d(found["frame"].unique(), stars["frame"].unique())[:50]
    table = found.pivot_table(index="frame", columns="source", values=["x", "y"]).loc[frames]
    true = stars.pivot_table(index="frame", columns="star", values=["true_x", "true_y"]).loc[frames]
    dx = table["x"].to_numpy()[:, :, None] - true["true_x"].to_numpy()[:, None, :]
    dy = table["y"].to_numpy()[:, :, None] - true["true_y"].to_numpy()[:, None, :]
    distance = np.nanmedian(np.hypot(dx, dy), axis=0)
    pairs = zip(table["x"].columns, true["true_x"].columns[distance.argmin(axis=1)], strict=True)
    best = {
        int(source): int(star)
        for (source, star), gap, row in zip(pairs, distance.min(axis=1), distance.argmin(axis=1), strict=True)
        if gap < MATCHED_PX and gap == distance[:, row].min()
    }
    return best


def decades(pulls: pd.DataFrame, goals: Goals | None = None, *, judge_pulls: bool = True) -> pd.DataFrame:
    """Sum up pulls and bias in each decade of true flux.

    Parameters
    ----------
    pulls : DataFrame
        From `measured_pulls`.
    goals : Goals, optional
        What they are held against.
    judge_pulls : bool
        Whether mean and standard deviation of the pulls count; where sources are re-centred, faint ones are
        found when noise favours them, and only the bias of the bright ones counts.

    Returns
    -------
    DataFrame
        One row per decade: ``low, high`` [adu]; ``stars``; ``n`` measurements, and ``lost`` ones without a
        flux; ``mean`` and ``std`` of the pulls; ``star_scatter``, the scatter of the stars' own mean pulls
        over what their numbers of frames let expect (1 where no star has a bias of its own); ``bias`` of the
        mean flux and its error [percent]; ``passed``.
    """
    goals = goals or Goals()
    rows = [_decade(pulls, low, high) for low, high in pairwise(EDGES)]
    table = pd.DataFrame([row for row in rows if row["n"] > 1])
    return table.assign(passed=goals.met(table, judge_pulls=judge_pulls))


def _decade(pulls: pd.DataFrame, low: float, high: float) -> dict[str, float]:
    """Numbers of the stars whose mean true flux lies within [low, high)."""
    mean_true = pulls.groupby("star")["true"].transform("mean")
    rows = pulls[(mean_true >= low) & (mean_true < high)]
    good = rows.dropna(subset="flux")
    by_star = good.groupby("star")["pull"]
    count = by_star.count()
    expected = good["true"].sum()
    return {
        "low": low,
        "high": high,
        "stars": rows["star"].nunique(),
        "n": len(good),
        "lost": len(rows) - len(good),
        "mean": good["pull"].mean(),
        "std": good["pull"].std(),
        "star_scatter": float((by_star.mean() * np.sqrt(count)).std()),
        "bias": 100.0 * (good["flux"].sum() / expected - 1.0) if expected else np.nan,
        "bias_err": 100.0 * np.sqrt((good["flux_err"] ** 2).sum()) / expected if expected else np.nan,
    }

"""How well each source of a set of light curves is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.schema import Flag
from opticam_dask.tables.store import read_rows

if TYPE_CHECKING:
    import pandas as pd

SPOILT = Flag.SATURATED | Flag.COSMIC_RAY | Flag.CLOUD | Flag.NOT_ALIGNED | Flag.NON_FINITE | Flag.EDGE
"""Measurements with one of these are not counted, and drawn pale in reports."""

COLUMNS = ("camera", "source", "rows", "measured", "flux", "flux_err", "rms", "snr")


def source_quality(root: str | Path, camera: str, sources: Sequence[int]) -> pd.DataFrame:
    """Sum up the light curves of some sources of a camera, over all nights.

    Parameters
    ----------
    root : path
        The dataset, ``out/lcs/<label>/light_curves``.
    camera : str
        ``'<arm>:<filter>'``.
    sources : sequence of int
        Source IDs.

    Returns
    -------
    DataFrame
        One row per source, columns `COLUMNS`: ``rows``, and how many of them were ``measured`` without a
        flag of `SPOILT`; of these the medians of ``flux`` and ``flux_err`` [adu], ``rms``, the root mean
        square about the median flux [adu], and ``snr``, the median of flux / flux_err. NaN where nothing
        was measured; ``rms`` is NaN for a single measurement.
    """
    import pandas as pd

    rows = read_rows(root, camera, sources, ["source", "flux", "flux_err", "flags"]).to_pandas()
    curves = dict(iter(rows.groupby("source")))
    found = [summed_up(curves.get(source, rows.iloc[:0])) for source in sources]
    table = pd.DataFrame(found, columns=list(COLUMNS[2:]))
    return table.assign(camera=camera, source=np.asarray(sources, np.int32))[list(COLUMNS)]


def summed_up(curve: pd.DataFrame) -> tuple[float, ...]:
    """Sum up one light curve: ``rows`` to ``snr`` of `COLUMNS`, from its fluxes, errors and flags."""
    spoilt = (curve["flags"].to_numpy(np.int64) & int(SPOILT)) != 0
    flux, error = (curve[name].to_numpy(np.float64)[~spoilt] for name in ("flux", "flux_err"))
    good = np.isfinite(flux)
    flux, error = flux[good], error[good]
    if not flux.size:
        return len(curve), 0, np.nan, np.nan, np.nan, np.nan
    middle = float(np.median(flux))
    rms = float(np.sqrt(np.mean((flux - middle) ** 2))) if flux.size > 1 else np.nan
    snr = _median(flux / np.where(error > 0, error, np.nan))
    return len(curve), int(flux.size), middle, _median(error), rms, snr


def _median(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else np.nan

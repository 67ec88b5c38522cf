"""Cross-correlations against lag."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.plotting.envelope import envelope
from opticam_dask.plotting.style import CYCLE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_correlation(
    time_lags: NDArray[np.float64],
    corr: NDArray[np.float64],
    ax: Axes,
    *,
    corr_err: NDArray[np.float64] | None = None,
    lag: float = math.nan,
    lag_err: float = math.nan,
    label: str = "",
    colour: str = "#0072B2",
) -> Axes:
    """Draw a cross-correlation against lag.

    Parameters
    ----------
    time_lags : ndarray, shape (m,) [s]
        Lags, positive where the first light curve comes later.
    corr : ndarray, shape (m,)
        Correlation; NaN are gaps.
    ax : Axes
        Where to draw.
    corr_err : ndarray, shape (2, m), optional
        1-sigma errors down and up, drawn for up to 500 lags.
    lag, lag_err : float [s]
        Lag of the peak and its 1-sigma error; NaN draws nothing.
    label, colour : str
        Name and colour.

    Returns
    -------
    Axes
        The same Axes.
    """
    if corr_err is not None and len(corr) <= 500:
        ax.errorbar(time_lags, corr, corr_err, fmt="none", ecolor=colour, elinewidth=0.7, alpha=0.6)
    x, y = envelope(time_lags, corr)
    ax.plot(x, y, color=colour, lw=1, label=label or None)
    ax.axvline(0.0, color="0.6", lw=0.8, zorder=0)
    if math.isfinite(lag):
        error = f" ± {lag_err:.2g}" if math.isfinite(lag_err) else ""
        ax.axvline(lag, color="0.2", lw=1, ls="--", label=f"lag {lag:.4g}{error} s")
    if math.isfinite(lag_err):
        ax.axvspan(lag - lag_err, lag + lag_err, color="0.85", zorder=0)
    ax.set_ylabel("correlation")
    ax.set_xlabel("lag [s] (positive: the first comes later)")
    return ax


def correlation_figure(found: Mapping[str, Any], *, title: str = "") -> Figure:
    """Figure of cross-correlations, a panel a pair.

    Parameters
    ----------
    found : mapping of str to CrossCorrelation
        By pair; of `opticam_dask.analysis`, or of stingray.
    title : str
        Title of the figure.
    """
    figure = new_figure(7, 1.0 + 1.9 * len(found))
    axes = figure.subplots(len(found), sharex=True, squeeze=False)[:, 0]
    for number, (ax, (name, one)) in enumerate(zip(axes, found.items(), strict=True)):
        plot_correlation(
            np.asarray(one.time_lags),
            np.real(one.corr),
            ax,
            corr_err=getattr(one, "corr_err", None),
            lag=getattr(one, "lag", math.nan),
            lag_err=getattr(one, "lag_err", math.nan),
            label=name,
            colour=CYCLE[number % len(CYCLE)],
        )
        ax.legend(loc="best", fontsize="small", framealpha=0.8, edgecolor="none")
        ax.label_outer()
    if title:
        figure.suptitle(title)
    return figure

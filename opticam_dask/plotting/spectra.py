"""Periodograms with false-alarm levels, and power spectra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from opticam_dask.plotting.envelope import envelope
from opticam_dask.plotting.style import band_colour, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scale: TypeAlias = Literal["linear", "log", "loglog"]

_UNITS = {"frac": "(rms/mean)$^2$ Hz$^{-1}$", "abs": "rms$^2$ Hz$^{-1}$", "leahy": "Leahy", "none": "raw"}
_STYLES = ("--", "-.", ":")
_STEPS_A_DECADE = 20


def plot_spectrum(
    freq: NDArray[np.float64],
    power: NDArray[np.float64],
    ax: Axes,
    *,
    power_err: NDArray[np.float64] | None = None,
    scale: Scale = "linear",
    unit: str = "",
    label: str = "",
    colour: str = "#0072B2",
) -> Axes:
    """Draw power against frequency.

    Parameters
    ----------
    freq : ndarray, shape (m,) [Hz]
        Frequencies.
    power : ndarray, shape (m,)
        Power. Of more than 4 000 values the lowest and highest in each step along the axis are drawn; on
        logarithmic axes pale, and means of steps of 1/20 decade with them.
    ax : Axes
        Where to draw.
    power_err : ndarray, shape (m,), optional
        1-sigma errors; of up to 500 values those below the power are drawn.
    scale : {'linear', 'log', 'loglog'}
        ``log`` for the frequency, ``loglog`` for both axes.
    unit, label, colour : str
        Unit of the power, name, and colour.

    Returns
    -------
    Axes
        The same Axes.
    """
    x, y = envelope(freq, power, log=scale != "linear")
    style = "steps-mid" if len(x) < 500 else "default"
    ax.plot(x, y, color=colour, lw=1, label=label or None, drawstyle=style)
    if scale == "loglog" and len(x) < len(power):
        ax.lines[-1].set_alpha(0.35)
        ax.plot(*_means(freq, power), color=colour, lw=1.5)
    if power_err is not None and len(power) <= 500:
        clear = power_err < power  # others reach below any logarithmic axis, and say nothing
        ax.errorbar(freq[clear], power[clear], power_err[clear], fmt="none", ecolor=colour, elinewidth=0.8)
    ax.set_xscale("linear" if scale == "linear" else "log")
    ax.set_yscale("log" if scale == "loglog" else "linear")
    ax.set_ylabel(f"power [{unit}]" if unit else "power")
    ax.set_xlabel("frequency [Hz]")
    return ax


def _means(
    freq: NDArray[np.float64], power: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of steps that are even in the logarithm of the frequency; empty ones are left out."""
    good = (freq > 0) & np.isfinite(power)
    step = np.floor(_STEPS_A_DECADE * np.log10(freq[good])).astype(np.int64)
    _, number, count = np.unique(step, return_inverse=True, return_counts=True)
    return np.bincount(number, freq[good]) / count, np.bincount(number, power[good]) / count


def plot_false_alarm_levels(levels: Mapping[float, float], ax: Axes) -> Axes:
    """Draw a line at each power that noise alone reaches with a given chance."""
    for (chance, level), style in zip(sorted(levels.items(), reverse=True), _STYLES, strict=False):
        ax.axhline(level, color="0.35", lw=0.9, ls=style, label=f"false alarm {100 * chance:g} %")
    return ax


def periodogram_figure(found: Mapping[str, Any], scale: Scale = "linear", *, title: str = "") -> Figure:
    """Figure of Lomb-Scargle periodograms with false-alarm levels, a panel each.

    Parameters
    ----------
    found : mapping of str to opticam_dask.analysis.Periodogram
        By camera.
    scale : {'linear', 'log', 'loglog'}
        ``log`` for the frequency, ``loglog`` for both axes.
    title : str
        Title of the figure.
    """
    figure, axes = _panels(len(found), title)
    for number, (ax, (name, one)) in enumerate(zip(axes, found.items(), strict=True)):
        best = f"{name}: {one.best_frequency:.6g} Hz"
        colour = band_colour(name, number)
        plot_spectrum(one.freq, one.power, ax, scale=scale, unit=one.unit, label=best, colour=colour)
        plot_false_alarm_levels(one.false_alarm_levels, ax)
        if scale == "loglog":
            ax.set_ylim(bottom=float(np.median(one.power)) * 1e-2)
        _legend(ax)
    return figure


def spectrum_figure(found: Mapping[str, Any], scale: Scale = "linear", *, title: str = "") -> Figure:
    """Figure of power spectra of stingray, a panel each.

    Parameters
    ----------
    found : mapping of str to stingray.Powerspectrum
        By camera.
    scale : {'linear', 'log', 'loglog'}
        ``log`` for the frequency, ``loglog`` for both axes.
    title : str
        Title of the figure.
    """
    figure, axes = _panels(len(found), title)
    for number, (ax, (name, one)) in enumerate(zip(axes, found.items(), strict=True)):
        plot_spectrum(
            np.asarray(one.freq),
            np.real(one.power),
            ax,
            power_err=None if one.power_err is None else np.real(one.power_err),
            scale=scale,
            unit=_UNITS.get(str(one.norm), str(one.norm)),
            label=name,
            colour=band_colour(name, number),
        )
        _legend(ax)
    return figure


def _panels(n: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = new_figure(7, 1.0 + 1.9 * n)
    axes = list(figure.subplots(n, sharex=True, squeeze=False)[:, 0])
    if title:
        figure.suptitle(title)
    return figure, axes


def _legend(ax: Axes) -> None:
    ax.legend(loc="upper right", fontsize="small", frameon=True, framealpha=0.8, edgecolor="none")
    ax.label_outer()

"""Figures of the timing analysis: what they say, and that many points stay few artists."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from opticam_dask.analysis import (
    LightCurve,
    box_least_squares,
    cross_correlation,
    lomb_scargle,
    phase_bin,
    phases,
)
from opticam_dask.plotting.correlation import correlation_figure
from opticam_dask.plotting.envelope import envelope
from opticam_dask.plotting.folded import folded_figure, plot_folded, profile_figure
from opticam_dask.plotting.spectra import periodogram_figure, plot_spectrum, spectrum_figure
from opticam_dask.plotting.transit import plot_transit, transit_figure

SIZES = [300, 300_000]


def drawn(figure: Figure) -> int:
    """Bytes of the figure as PNG; drawing it finds what only drawing finds."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=50)
    return len(picture.getvalue())


def sine(n: int = 300) -> LightCurve:
    seconds = np.arange(n, dtype=float)
    noise = 0.01 * np.random.default_rng(0).standard_normal(n)
    return LightCurve(
        seconds=seconds,
        flux=1 + 0.03 * np.sin(0.85 * seconds) + noise,
        flux_err=np.full(n, 0.01),
        epoch=60310.0,
    )


def points(figure: Figure) -> int:
    return sum(len(line.get_xdata()) for ax in figure.axes for line in ax.lines)


@given(st.integers(2, 5000), st.integers(0, 2**32 - 1), st.booleans())
def test_an_envelope_keeps_the_extremes(n: int, seed: int, log: bool) -> None:
    y = np.random.default_rng(seed).standard_normal(n)
    x = np.linspace(0.1, 7, n)
    u, v = envelope(x, y, log=log, steps=100)
    assert len(u) <= max(200, min(n, 200))
    assert (v.min(), v.max()) == (y.min(), y.max())
    assert (np.diff(u) > 0).all()
    assert set(zip(u, v, strict=True)) <= set(zip(x, y, strict=True))


def test_a_periodogram_names_its_peak_and_levels() -> None:
    found = lomb_scargle(sine(), norm="frac")
    figure = periodogram_figure({"1:g": found, "2:r": found}, "log", title="star")
    (first, last) = figure.axes
    texts = [t.get_text() for t in first.get_legend().get_texts()]
    assert texts[0].startswith("1:g: 0.135")
    assert texts[1:] == ["false alarm 10 %", "false alarm 1 %", "false alarm 0.1 %"]
    assert last.get_xlabel() == "frequency [Hz]"
    assert "Hz" in last.get_ylabel()
    assert last.get_xscale() == "log"
    assert drawn(figure) > 5000


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("scale", ["linear", "log", "loglog"])
def test_long_spectra_stay_small(n: int, scale) -> None:
    freq = np.arange(1, n + 1) / n
    power = np.random.default_rng(0).exponential(size=n)
    error = power * np.linspace(0.5, 1.5, n)
    figure = Figure()
    ax = plot_spectrum(freq, power, figure.add_subplot(), power_err=error, scale=scale, unit="u")
    assert ax.get_ylabel() == "power [u]"
    assert len(ax.lines[0].get_xdata()) <= 4000
    assert ax.lines[0].get_ydata().max() == power.max()
    assert len(ax.collections) == (n == 300)
    assert drawn(figure) > 1000


def test_spectra_of_stingray_carry_their_unit() -> None:
    one = SimpleNamespace(
        freq=np.arange(1, 9) / 8, power=np.ones(8), power_err=np.full(8, 0.3), norm="abs", m=4
    )
    figure = spectrum_figure({"g": one}, title="star")
    assert figure.axes[0].get_ylabel() == "power [rms$^2$ Hz$^{-1}$]"
    assert drawn(figure) > 1000


@pytest.mark.parametrize("n", SIZES)
def test_folded_samples_become_a_density(n: int) -> None:
    one = sine(n)
    figure = folded_figure({"1:g": (phases(one, 7.4), one.flux, one.flux_err)}, 7.4)
    (ax,) = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("phase [cycles]", "relative flux")
    assert ax.get_title(loc="right") == "1:g"
    assert ax.get_xlim() == (0, 2)
    assert points(figure) == (600 if n == 300 else 0)
    assert drawn(figure) < 200_000
    assert plot_folded(phases(one, 7.4), one.flux, one.flux_err, ax, unit="adu").get_ylabel() == "flux [adu]"


def test_profiles_in_one_panel_or_several() -> None:
    profile = phase_bin(sine(), 7.4, n_bins=12)
    profile.loc[3, ["flux", "flux_err"]] = np.nan
    both = {"1:g": profile, "2:r": profile}
    assert len(profile_figure(both, 7.4, sharey=True).axes) == 2
    figure = profile_figure(both, 7.4, "adu", subplot=False)
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["1:g", "2:r"]
    assert ax.lines[0].get_color() != ax.lines[-1].get_color()
    assert isinstance(profile, pd.DataFrame)
    assert drawn(figure) > 1000


def test_a_cross_correlation_marks_the_lag() -> None:
    one = sine()
    found = cross_correlation(one, one, method="zdcf", lag_range=(-3, 3), n_bootstrap=3)
    figure = correlation_figure({"1:g x 2:r": found}, title="star")
    (ax,) = figure.axes
    assert ax.get_xlabel() == "lag [s] (positive: the first comes later)"
    assert [t.get_text().split()[0] for t in ax.get_legend().get_texts()] == ["1:g", "lag"]
    bare = SimpleNamespace(time_lags=np.arange(100_000.0), corr=np.sin(np.arange(100_000.0)))
    assert points(correlation_figure({"g x r": bare})) < 5000
    assert drawn(figure) > 1000


@pytest.mark.parametrize("n", SIZES)
def test_a_transit_and_its_box(n: int) -> None:
    seconds = np.linspace(0, 14_400, n)
    inside = np.abs(seconds - 6000) < 1500
    flux = 1 - 0.015 * inside + 0.004 * np.random.default_rng(0).standard_normal(n)
    one = LightCurve(seconds=seconds, flux=flux, flux_err=np.full(n, 0.004), epoch=60310.0)
    found = box_least_squares(
        one.select(slice(None, None, max(1, n // 300))), durations=[3000.0], minimum_period=20_000
    )
    figure = transit_figure(one, found, title="star")
    above, below = figure.axes
    assert above.get_xlabel() == "period [s]"
    assert below.get_legend().get_texts()[0].get_text().startswith("depth 1.")
    assert points(figure) < 10_000
    assert drawn(figure) > 1000
    assert plot_transit(one, found, Figure().add_subplot()).get_ylabel() == "relative flux"

"""Every public plotting function, of 3 x 300 and of 3 x 300 000 frames: labelled, bounded, and drawable.

`FIGURES` draws them all: ``FIGURES["series.plot_series"](300)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from io import BytesIO
from itertools import pairwise
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import opticam_dask.plotting
from opticam_dask.analysis import CrossCorrelation, LightCurve, Periodogram, Transit, phase_bin, phases
from opticam_dask.photometers.records import NOISE_TERMS
from opticam_dask.plotting import (
    animation,
    apertures,
    catalogs,
    correlation,
    differential,
    folded,
    frame_quality,
    growth,
    header_times,
    light_curves,
    matching,
    meshes,
    noise,
    psfs,
    series,
    source_quality,
    spectra,
    transit,
)
from opticam_dask.plotting.style import new_figure
from opticam_dask.types import PsfModel

SMALL, LARGE = 300, 300_000
CAMERAS = ("1:g", "2:r", "3:i")
PSF = PsfModel(3.0, 2.0, 35.0)
PERIOD = 7.4
MOST_VERTICES = 50_000  # of a figure: what a vector file and a browser bear


@lru_cache
def frames(n: int) -> pd.DataFrame:
    """Frames of a night: 0.5 s apart with a gap, seeing and sky that drift, clouds, a few spoilt frames."""
    rng = np.random.default_rng(n)
    seconds = 0.5 * np.arange(n) + rng.normal(0, 0.002, n)
    seconds[n // 3 :] += 0.02 * n
    at = np.linspace(0, 1, n)
    cloud = 0.4 * np.exp(-(((at - 0.7) / 0.03) ** 2))
    found = pd.DataFrame({"night": "2024-01-01", "camera": "1:g", "frame": np.arange(n)})
    found["MJD"] = 60310.1 + seconds / 86_400.0
    found["BMJD"] = found["MJD"] + 0.004
    found["background"] = 120 - 40 * at + rng.normal(0, 0.5, n)
    found["background_rms"] = 11 - 2 * at + rng.normal(0, 0.1, n)
    found["fwhm"] = 4 + np.sin(9 * at) + rng.normal(0, 0.15, n)
    found["transparency"] = 10 ** (-0.4 * cloud) + rng.normal(0, 0.01, n)
    found["cloud"] = cloud + rng.normal(0, 0.01, n)
    for name, reach in (("shift_x", 40.0), ("shift_y", -25.0), ("rotation", 0.3)):
        found[name] = reach * at + rng.normal(0, 0.01 * abs(reach), n)
    found.loc[rng.integers(0, n, n // 100), "fwhm"] = np.nan
    return found


@lru_cache
def star(n: int, kind: str = "flux") -> pd.DataFrame:
    """Light curve of a variable star: a sine of 2 %, cloud, outliers, rows without a flux."""
    rng = np.random.default_rng(n + 1)
    rows = frames(n)
    seconds = (rows["BMJD"] - rows["BMJD"].iloc[0]).to_numpy() * 86_400.0
    relative = 1 + 0.03 * np.sin(2 * np.pi * seconds / PERIOD) + rng.normal(0, 0.02, n)
    relative[rng.integers(0, n, n // 500 + 1)] *= 3.0
    relative[rng.integers(0, n, n // 50)] = np.nan
    flux = 6000.0 * relative * rows["transparency"]
    common = {"transparency": rows["transparency"], "transparency_err": 0.01, "flags": 0}
    both = {"norm_flux": relative, "norm_flux_err": 0.02, "rel_flux": relative / 3, "rel_flux_err": 0.007}
    return rows.assign(flux=flux, flux_err=120.0, **common, **both)


def curve(n: int) -> LightCurve:
    good = star(n).dropna(subset="norm_flux")
    seconds = (good["BMJD"].to_numpy() - 60310.0) * 86_400.0
    return LightCurve(
        seconds=seconds, flux=good["norm_flux"].to_numpy(), flux_err=np.full(len(good), 0.02), epoch=60310.0
    )


def sources(n: int) -> pd.DataFrame:
    """Comparison stars and their quality: 8 of them, or 200."""
    count = 8 if n == SMALL else 200
    rng = np.random.default_rng(3)
    flux = np.sort(10 ** rng.uniform(3, 5, count))[::-1]
    error = np.sqrt(flux + 4e3) * 1.2
    rms = error * np.where(np.arange(count) % 7 == 2, 4.0, rng.uniform(0.95, 1.1, count))
    reason = np.where(np.arange(count) % 7 == 2, "variable: drifts by 2.00% rms, 90 sigma", "")
    reason[4] = "blended with another source"
    used = reason == ""
    weight = np.where(used, flux, 0.0) / flux[used].sum()
    quality = {"flux": flux, "flux_err": error, "rms": rms, "snr": flux / error}
    relative = {"rms": rms / flux, "expected": error / flux, "typical": 1.03 * error / flux}
    numbers = {"source": np.arange(1, count + 1), "used": used, "reason": reason, "weight": weight}
    return pd.DataFrame({**numbers, **quality}).assign(**{f"relative_{k}": v for k, v in relative.items()})


def comparisons(n: int) -> pd.DataFrame:
    table = sources(n)
    names = ("rms", "expected", "typical")
    return table.assign(**{name: table[f"relative_{name}"] for name in names})


@lru_cache
def sky(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Image of 400 x 500 with 8 stars, or of 2048 x 2048 with 200, and the places of the stars."""
    shape, count = ((400, 500), 8) if n == SMALL else ((2048, 2048), 200)
    rng = np.random.default_rng(4)
    xy = rng.uniform(20, np.subtract(shape[::-1], 20), (count, 2))
    image = rng.normal(0, 3, shape)
    for (x, y), flux in zip(xy, sources(n)["flux"], strict=True):
        x0, y0 = int(x) - 15, int(y) - 15
        rows, columns = np.mgrid[y0 : y0 + 31, x0 : x0 + 31]
        dx, dy = columns - x, rows - y
        cos, sin = np.cos(PSF.orientation_rad), np.sin(PSF.orientation_rad)
        along, across = (dx * cos + dy * sin) / 3.0, (dy * cos - dx * sin) / 2.0
        image[y0 : y0 + 31, x0 : x0 + 31] += flux / (12 * np.pi) * np.exp(-0.5 * (along**2 + across**2))
    image[:4] = np.nan
    return image, xy


def mesh(n: int) -> meshes.Mesh:
    image = sky(n)[0] + 100
    rows, columns = np.indices(image.shape)
    return meshes.Mesh(image, 100 + 5 * rows / rows.max() + 3 * columns / columns.max(), (25, 30))


def measured(n: int) -> apertures.Measured:
    aperture = apertures.Outline(7.0, 4.7, 35.0, "aperture")
    annuli = (
        apertures.Outline(15.0, 10.0, 35.0, "sky annulus"),
        apertures.Outline(22.0, 14.7, 35.0, "sky annulus"),
    )
    return apertures.Measured(*sky(n), (aperture,), annuli)


def growths(n: int) -> pd.DataFrame:
    scale = np.linspace(0.2, 3.0, 15)
    model = 1 - np.exp(-4 * np.log(2) * scale**2 / 1.2)
    rng = np.random.default_rng(5)
    rows = []
    for number in sources(n)["source"]:
        fraction = model + rng.normal(0, 0.01 + number / 3000, 15)
        rows.append(pd.DataFrame({"source": number, "scale": scale, "fraction": fraction, "model": model}))
    return pd.concat(rows, ignore_index=True)


def budget(n: int) -> tuple[np.ndarray, np.ndarray, str]:
    def terms(flux: np.ndarray) -> np.ndarray:
        found = np.zeros(len(flux), NOISE_TERMS)
        found["flux"], found["source"], found["sky"] = flux, np.sqrt(flux), 60.0
        found["level"], found["scintillation"] = 8.0, 0.002 * flux
        found["total"] = np.sqrt(flux + 60.0**2 + 8.0**2 + (0.002 * flux) ** 2)
        return found

    return terms(sources(n)["flux"].to_numpy()), terms(np.geomspace(300, 1e7, 200)), "airmass 1.20"


@lru_cache
def periodogram(n: int) -> Periodogram:
    freq = np.linspace(0.0005, 1.0, 2 * n)
    noise_ = np.random.default_rng(6).exponential(1 / n, freq.size)
    power = noise_ + 0.5 * np.sinc((freq - 1 / PERIOD) * n / 2) ** 2
    levels = {0.1: 8 / n, 0.01: 10 / n, 0.001: 12 / n}
    return Periodogram(freq, power, "standard", 1 / PERIOD, 1e-5, 1e-9, levels)


def spectrum(n: int) -> SimpleNamespace:
    freq = np.arange(1, n // 2) / (0.5 * n)
    power = np.random.default_rng(7).exponential(size=freq.size) * (2 + 0.01 / freq**1.5)
    return SimpleNamespace(freq=freq, power=power, power_err=power * 0.9, norm="leahy", m=1)


def correlated(n: int) -> CrossCorrelation:
    lags = np.linspace(-6, 6, max(41, n // 10))
    corr = 0.8 * np.cos(2 * np.pi * (lags - 1.85) / PERIOD)
    return CrossCorrelation(
        first="1:g", second="2:r", time_lags=lags, corr=corr, method="iccf", lag=1.85, lag_err=0.07
    )


@lru_cache
def dip(n: int) -> tuple[LightCurve, Transit]:
    seconds = np.linspace(0, 14_400, n)
    inside = np.abs(seconds - 6000) < 1500
    flux = 1 - 0.015 * inside + 0.006 * np.random.default_rng(8).standard_normal(n)
    one = LightCurve(seconds=seconds, flux=flux, flux_err=np.full(n, 0.006), epoch=60310.0)
    periods = np.geomspace(14_000, 40_000, 50 * 300)
    power = 900 * np.exp(-(((periods - 20_000) / 4000) ** 2)) + np.sin(periods) ** 2
    found = Transit(
        period=20_000.0,
        duration=3000.0,
        transit_time=60310.0 + 6000 / 86_400,
        transit_time_err=1e-4,
        depth=0.015,
        depth_err=0.001,
        n_transits=1,
        periods=periods,
        power=power,
    )
    return one, found


@lru_cache
def survey(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Master source table of two fields, seen in 4 nights or in 300."""
    rng, count, nights = np.random.default_rng(9), 12, (4 if n == SMALL else 300)
    field = [f"F{k:03}" for k in (1, 2) for _ in range(count)]
    names = [f"{f}-{k % count + 1:04}" for k, f in enumerate(field)]
    places = {"x": rng.uniform(0, 500, 2 * count), "y": rng.uniform(0, 400, 2 * count)}
    objects = pd.DataFrame({"object_id": names, "field_id": field, **places})
    pairs = [(number, camera) for number in range(nights) for camera in CAMERAS]
    keys = pd.DataFrame(pairs, columns=["night", "camera"])
    seen = keys.merge(objects, how="cross")
    seen["night"] = seen["night"].map("N{:03}".format)
    seen["dx"], seen["dy"] = rng.normal(0, 0.2, (2, len(seen)))
    seen["field_x"], seen["field_y"] = seen["x"] + seen["dx"], seen["y"] + seen["dy"]
    seen["separation"] = np.hypot(seen["dx"], seen["dy"])
    lost = rng.random(len(seen)) < 0.02
    seen.loc[lost, "object_id"] = ""
    seen.loc[lost, ["dx", "dy", "separation"]] = np.nan
    seen.loc[lost, ["field_x", "field_y"]] = rng.uniform(0, 400, (int(lost.sum()), 2))
    return objects, seen


def panel(plot: Callable[..., Any], *given: Any, **named: Any) -> Figure:
    """Draw one panel in a figure of its own."""
    figure = new_figure(6, 3.6)
    place = next(k for k, name in enumerate(inspect.signature(plot).parameters) if name == "ax")
    plot(*given[:place], figure.subplots(), *given[place:], **named)
    return figure


def cameras(make: Callable[[int], Any], n: int) -> dict[str, Any]:
    return dict.fromkeys(CAMERAS, make(n))


def _catalog(n: int) -> tuple[np.ndarray, np.ndarray, PsfModel]:
    return (*sky(n), PSF)


def _folds(n: int) -> dict[str, folded.Points]:
    one = curve(n)
    return cameras(lambda _: (phases(one, PERIOD), one.flux, one.flux_err), n)


def _picture(n: int) -> Figure:
    """Figure of the PNG picture that `picture_of_frame` makes of itself."""
    from PIL import Image

    bits = animation.picture_of_frame(*_catalog(n), name="1:g  2024-01-01  frame 7", status="aligned")
    figure = new_figure(6, 6)
    ax = figure.subplots()
    ax.imshow(np.asarray(Image.open(BytesIO(bits))))
    ax.set(xlabel="x", ylabel="y")
    return figure


FIGURES: dict[str, Callable[[int], Figure]] = {
    "animation.plot_aligned_frame": lambda n: panel(
        animation.plot_aligned_frame, *_catalog(n), name="1:g  2024-01-01  frame 7", status="predicted"
    ),
    "animation.picture_of_frame": _picture,
    "apertures.plot_apertures": lambda n: panel(apertures.plot_apertures, measured(n), 0, title="1:g"),
    "apertures.apertures_figure": lambda n: apertures.apertures_figure(cameras(measured, n), title="forced"),
    "catalogs.plot_catalog": lambda n: panel(catalogs.plot_catalog, *_catalog(n), title="1:g"),
    "catalogs.catalogs_figure": lambda n: catalogs.catalogs_figure(cameras(_catalog, n)),
    "correlation.plot_correlation": lambda n: panel(
        correlation.plot_correlation, correlated(n).time_lags, correlated(n).corr, lag=1.85, lag_err=0.07
    ),
    "correlation.correlation_figure": lambda n: correlation.correlation_figure(
        {"1:g x 2:r": correlated(n), "1:g x 3:i": correlated(n)}, title="star"
    ),
    "differential.plot_relative": lambda n: panel(differential.plot_relative, star(n), label="1:g"),
    "differential.relative_figure": lambda n: differential.relative_figure(
        star(n), title="1:g_source_2_auto"
    ),
    "differential.plot_comparison_scatter": lambda n: panel(
        differential.plot_comparison_scatter, comparisons(n)
    ),
    "differential.plot_comparison_weights": lambda n: panel(
        differential.plot_comparison_weights, comparisons(n)
    ),
    "differential.comparisons_figure": lambda n: differential.comparisons_figure(comparisons(n), title="V1"),
    "folded.plot_folded": lambda n: panel(folded.plot_folded, *_folds(n)["1:g"]),
    "folded.plot_profile": lambda n: panel(folded.plot_profile, phase_bin(curve(n), PERIOD), label="1:g"),
    "folded.folded_figure": lambda n: folded.folded_figure(_folds(n), PERIOD),
    "folded.profile_figure": lambda n: folded.profile_figure(
        cameras(lambda k: phase_bin(curve(k), PERIOD), n), PERIOD
    ),
    "frame_quality.plot_over_time": lambda n: panel(frame_quality.plot_over_time, frames(n), "fwhm"),
    "frame_quality.over_time_figure": lambda n: frame_quality.over_time_figure(
        cameras(frames, n), tuple(frame_quality.LABELS)
    ),
    "growth.plot_growth_curves": lambda n: panel(growth.plot_growth_curves, growths(n), title="1:g"),
    "growth.growth_figure": lambda n: growth.growth_figure(cameras(growths, n)),
    "header_times.plot_elapsed_times": lambda n: panel(header_times.plot_elapsed_times, frames(n)),
    "header_times.plot_intervals": lambda n: panel(header_times.plot_intervals, frames(n)),
    "header_times.plot_interval_histogram": lambda n: panel(header_times.plot_interval_histogram, frames(n)),
    "header_times.header_times_figure": lambda n: header_times.header_times_figure(cameras(frames, n)),
    "light_curves.plot_light_curve": lambda n: panel(light_curves.plot_light_curve, star(n), label="1:g"),
    "light_curves.light_curve_figure": lambda n: light_curves.light_curve_figure(
        cameras(star, n), title="source 2"
    ),
    "matching.plot_match_residuals": lambda n: panel(matching.plot_match_residuals, survey(n)[1]),
    "matching.plot_field": lambda n: panel(
        matching.plot_field, *(rows[rows["field_id"] == "F001"] for rows in survey(n)), title="F001"
    ),
    "matching.match_figure": lambda n: matching.match_figure(*survey(n)),
    "meshes.plot_background_mesh": lambda n: panel(meshes.plot_background_mesh, mesh(n), title="1:g"),
    "meshes.plot_background_image": lambda n: panel(meshes.plot_background_image, mesh(n)),
    "meshes.background_meshes_figure": lambda n: meshes.background_meshes_figure(cameras(mesh, n)),
    "noise.plot_noise_budget": lambda n: panel(noise.plot_noise_budget, *budget(n)[:2], note=budget(n)[2]),
    "noise.noise_figure": lambda n: noise.noise_figure(cameras(budget, n), title="forced_optimal"),
    "psfs.plot_psf": lambda n: panel(psfs.plot_psf, *_catalog(n), title="1:g"),
    "psfs.psfs_figure": lambda n: psfs.psfs_figure(cameras(_catalog, n)),
    "series.plot_density": lambda n: panel(series.plot_density, curve(n).seconds, curve(n).flux),
    "series.plot_series": lambda n: panel(
        series.plot_series, np.arange(n), star(n)["norm_flux"], label="1:g"
    ),
    "source_quality.plot_snr": lambda n: panel(source_quality.plot_snr, sources(n)),
    "source_quality.plot_rms": lambda n: panel(source_quality.plot_rms, sources(n)),
    "source_quality.snr_figure": lambda n: source_quality.snr_figure(cameras(sources, n), title="forced"),
    "source_quality.rms_figure": lambda n: source_quality.rms_figure(cameras(sources, n), title="forced"),
    "spectra.plot_spectrum": lambda n: panel(
        spectra.plot_spectrum, periodogram(n).freq, periodogram(n).power, label="1:g"
    ),
    "spectra.plot_false_alarm_levels": lambda n: panel(
        spectra.plot_false_alarm_levels, periodogram(n).false_alarm_levels
    ),
    "spectra.periodogram_figure": lambda n: spectra.periodogram_figure(cameras(periodogram, n)),
    "spectra.spectrum_figure": lambda n: spectra.spectrum_figure(cameras(spectrum, n), "loglog"),
    "transit.plot_box_periodogram": lambda n: panel(transit.plot_box_periodogram, dip(n)[1]),
    "transit.plot_transit": lambda n: panel(transit.plot_transit, *dip(n)),
    "transit.transit_figure": lambda n: transit.transit_figure(*dip(n), title="star"),
}

UNITLESS = {
    "correlation",
    "cloud",
    "flux / median",
    "fraction of the flux",
    "median of flux / error",
    "log-likelihood of the box",
    "number of frames",
    "number of the frame",
    "pixel / peak",
    "power",
    "relative error",
    "relative flux",
    "rms / median flux",
    "source",
    "source (the 25 brightest of 200)",
    "transparency",
    "x",
    "y",
}
WITHOUT_LABELS = {"series.plot_density", "series.plot_series", "spectra.plot_false_alarm_levels"}
"""They add to a panel whose meaning they do not know."""

every_figure = pytest.mark.parametrize("name", sorted(FIGURES))
both_sizes = pytest.mark.parametrize("n", [SMALL, LARGE])


def public_functions() -> set[str]:
    """Functions of `opticam_dask.plotting` that take an Axes or give a figure or a picture."""
    found = set()
    for module in iter_modules(opticam_dask.plotting.__path__):
        home = import_module(f"opticam_dask.plotting.{module.name}")
        for name, value in inspect.getmembers(home, inspect.isfunction):
            draws = name.startswith(("plot_", "picture_")) or name.endswith("_figure")
            draws &= not name.startswith(("_", "new_", "save_"))
            if value.__module__ == home.__name__ and draws:
                found.add(f"{module.name}.{name}")
    return found


def labels(figure: Figure) -> set[str]:
    """Everything the axes of a figure say they show."""
    found = {text for ax in figure.axes if ax.axison for text in (ax.get_xlabel(), ax.get_ylabel())}
    return found | {figure.get_supxlabel()}


def test_every_public_function_is_here() -> None:
    assert public_functions() == set(FIGURES)


@every_figure
@both_sizes
def test_axes_say_what_they_show_in_which_unit_with_few_artists(name: str, n: int) -> None:
    figure = FIGURES[name](n)
    shown = [ax for ax in figure.axes if ax.axison]
    assert shown
    for ax in shown:
        assert np.isfinite([ax.get_xlim(), ax.get_ylim()]).all()
        assert len(ax.lines) <= 250
        assert len(ax.texts) <= 100
    assert sum(len(line.get_xdata()) for ax in shown for line in ax.lines) <= MOST_VERTICES
    said = {text for text in labels(figure) if text and not text.startswith("lag [s]")}
    assert all(text.endswith("]") or text in UNITLESS for text in said)
    if name not in WITHOUT_LABELS:
        assert len(labels(figure) - {""}) >= 2


@both_sizes
@pytest.mark.parametrize(
    "name",
    ["differential.plot_relative", "light_curves.plot_light_curve", "folded.plot_folded"],
)
def test_outliers_do_not_set_the_scale_and_are_told(name: str, n: int) -> None:
    (ax,) = FIGURES[name](n).axes
    scale = 6000.0 if name.startswith("light") else 1.0
    low, high = np.array(ax.get_ylim()) / scale
    assert 0.55 < low < 0.95
    assert 1.05 < high < 1.3
    edges = [line for line in ax.lines if line.get_marker() == "^"]
    assert len(edges) == 1
    assert 1 <= len(edges[0].get_xdata()) <= 201
    assert edges[0].get_ydata()[0] == ax.get_ylim()[1]


def test_a_gap_shows_among_three_hundred_thousand_frames() -> None:
    (ax,) = FIGURES["header_times.plot_intervals"](LARGE).axes
    assert ax.get_yscale() == "log"
    whole = ax.collections[0]
    assert whole.get_linewidth()[0] > 0
    assert ax.dataLim.intervaly[1] == pytest.approx(6000.5, rel=1e-3)


@pytest.mark.parametrize(("n", "unit"), [(SMALL, "[s]"), (LARGE, "[h]")])
def test_time_axes_are_in_a_unit_that_can_be_read(n: int, unit: str) -> None:
    for name in ("light_curves.light_curve_figure", "differential.relative_figure"):
        assert FIGURES[name](n).axes[-1].get_xlabel().endswith(f"(TDB, barycentric) {unit}")
    assert FIGURES["frame_quality.over_time_figure"](n).get_supxlabel().endswith(unit)
    assert FIGURES["header_times.plot_elapsed_times"](n).axes[0].get_ylabel().endswith(unit)


def overlapping(figure: Figure) -> list[str]:
    """Neighbouring tick labels of horizontal axes that touch."""
    found = []
    for ax in figure.axes:
        if not ax.axison:
            continue
        texts = [each for each in ax.get_xticklabels() if each.get_visible() and each.get_text()]
        inside = ax.get_window_extent()
        boxes = sorted((text.get_window_extent() for text in texts), key=lambda box: box.x0)
        middles = [box for box in boxes if inside.x0 - 2 < 0.5 * (box.x0 + box.x1) < inside.x1 + 2]
        found += [str(a) for a, b in pairwise(middles) if a.x1 > b.x0]
    return found


@pytest.mark.slow
@every_figure
@both_sizes
def test_pictures_are_small_and_their_numbers_do_not_touch(name: str, n: int) -> None:
    figure = FIGURES[name](n)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi="figure")  # of which the extents are
    assert 3_000 < len(picture.getvalue()) < 3_000_000
    assert not overlapping(figure)

"""Diagnostic figures: what is drawn is what the tables say, for 300 frames and for 300 000."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image as Picture

from opticam_dask.plotting.animation import (
    STATUS_COLOURS,
    picture_of_frame,
    plot_aligned_frame,
    write_animation,
)
from opticam_dask.plotting.apertures import Measured, Outline, apertures_figure
from opticam_dask.plotting.frame_quality import LABELS, over_time_figure
from opticam_dask.plotting.header_times import header_times_figure, intervals
from opticam_dask.plotting.meshes import Mesh, background_meshes_figure
from opticam_dask.plotting.psfs import psfs_figure, radial_profile
from opticam_dask.plotting.series import BINS, MOST_POINTS, plot_series, ranges_in_bins
from opticam_dask.plotting.source_quality import rms_figure, snr_figure
from opticam_dask.types import PsfModel

PSF = PsfModel(4.0, 2.0, 35.0)
SIZES = (300, 300_000)


def frames(n: int, seed: int = 1) -> pd.DataFrame:
    """Frames 0.5 s apart of two nights, with one gap of 90 s in the first."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(n) * 0.5
    seconds[n // 4 :] += 90.0
    night = np.where(np.arange(n) < n // 2, "2024-01-01", "2024-01-02")
    mjd = 60310.1 + seconds / 86_400.0 + (night == "2024-01-02")
    number = np.where(night == "2024-01-01", np.arange(n), np.arange(n) - n // 2)
    columns = {"background": 100.0, "background_rms": 10.0, "fwhm": 3.0, "transparency": 1.0}
    values = {name: rng.normal(middle, 0.1, n) for name, middle in columns.items()}
    return pd.DataFrame({"night": night, "frame": number, "MJD": mjd, "BMJD": mjd + 0.004, **values})


def drawn(figure: Figure) -> None:
    """Draw it for real: what goes wrong when drawn goes wrong here."""
    figure.savefig(BytesIO(), format="png", dpi=40)


@pytest.mark.parametrize("n", SIZES)
def test_header_times_show_the_gap_whatever_the_number_of_frames(n: int) -> None:
    figure = header_times_figure({"1:g": frames(n), "2:r": frames(n, 2)})
    drawn(figure)
    axes = np.array(figure.axes).reshape(3, 2)
    assert [ax.get_title() for ax in axes[0]] == ["1:g", "2:r"]
    assert axes[1, 0].get_ylabel() == "time since the frame before [s]"
    assert axes[1, 0].get_yscale() == axes[2, 0].get_xscale() == "log"
    low, high = axes[1, 0].dataLim.intervaly
    assert low == pytest.approx(0.5, rel=1e-3)
    assert high == pytest.approx(90.5, rel=1e-3)
    assert sum(len(line.get_xdata()) for ax in axes.flat for line in ax.lines) <= 4 * MOST_POINTS


def test_intervals_do_not_reach_from_night_to_night() -> None:
    number, seconds = intervals(frames(20).sample(frac=1.0, random_state=3))
    assert len(seconds) == 18
    assert 11 not in number
    assert seconds.max() == pytest.approx(90.5, rel=1e-3)
    assert number[np.argmax(seconds)] == 6


def test_an_even_cadence_is_one_bar_and_a_level_line() -> None:
    even = frames(40).iloc[:9]
    figure = header_times_figure({"1:g": even})
    drawn(figure)
    _, level, histogram = figure.axes
    low, high = level.get_ylim()
    assert low < 0.48
    assert high > 0.52
    assert len(histogram.patches[0].get_xy()) <= 6


def test_frames_without_a_time_leave_a_figure() -> None:
    drawn(header_times_figure({"1:g": frames(6).assign(MJD=np.nan), "2:r": frames(6).iloc[:1]}))


@pytest.mark.parametrize("n", SIZES)
def test_series_of_any_length_keep_their_extremes(n: int) -> None:
    y = np.sin(np.linspace(0, 20, n))
    y[n // 3] = 17.0
    y[n // 2] = np.nan
    ax = plot_series(np.arange(n), y, Figure().subplots())
    assert ax.dataLim.intervaly[1] == 17.0
    assert ax.dataLim.intervaly[0] == pytest.approx(-1.0, abs=1e-3)
    assert len(ax.lines[0].get_xdata()) == (n - 1 if n <= MOST_POINTS else BINS)


def test_ranges_in_bins_are_those_of_their_values() -> None:
    rng = np.random.default_rng(5)
    x, y = np.sort(rng.uniform(0, 10, 5001)), rng.normal(0, 1, 5001)
    x[2000:3000] = 4.0  # all in one bin, and gaps beside it
    found = ranges_in_bins(x, y, 50)
    edges = np.linspace(x.min(), x.max(), 51)
    place = np.clip(np.digitize(x, edges) - 1, 0, 49)
    for number in range(50):
        inside = y[place == number]
        if not len(inside):
            assert np.isnan(found[1:, number]).all()
            continue
        assert found[[1, 5], number] == pytest.approx([inside.min(), inside.max()])
        percentiles = np.percentile(inside, [16, 50, 84], method="nearest")
        assert np.abs(found[2:5, number] - percentiles).max() < 0.2


@pytest.mark.parametrize("n", SIZES)
def test_sky_over_time_has_a_row_a_column_and_units(n: int) -> None:
    figure = over_time_figure(
        {"1:g": frames(n), "3:i": frames(n, 2)}, ("background", "fwhm"), unit="electron"
    )
    drawn(figure)
    axes = np.array(figure.axes).reshape(2, 2)
    assert axes[0, 0].get_ylabel() == "sky [electron / pixel]"
    assert axes[1, 0].get_ylabel() == "FWHM [pixel]"
    label = figure.get_supxlabel()
    assert label.startswith("time since BMJD 60310.1")
    left, right = axes[0, 0].dataLim.intervalx
    assert left >= 0.0
    days = frames(n)["MJD"].iloc[-1] - frames(n)["MJD"].iloc[0]
    unit = {"[h]": 24.0, "[d]": 1.0}[label[-3:]]
    assert right == pytest.approx(days * unit, rel=2e-3)


def test_time_is_utc_where_a_camera_has_no_barycentric_one() -> None:
    none = frames(10).assign(BMJD=np.nan)
    figure = over_time_figure({"1:g": frames(10), "2:r": none}, tuple(LABELS)[:1])
    assert figure.get_supxlabel().startswith("time since MJD")


def star(shape: tuple[int, int], x: float, y: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    cos, sin = np.cos(PSF.orientation_rad), np.sin(PSF.orientation_rad)
    along, across = (columns - x) * cos + (rows - y) * sin, (rows - y) * cos - (columns - x) * sin
    return 500.0 * np.exp(-0.5 * ((along / 4.0) ** 2 + (across / 2.0) ** 2))


def test_the_profile_of_an_elongated_star_is_one_curve() -> None:
    image = star((61, 97), 50.3, 29.6)
    image[30, 50] = np.nan
    distance, value = radial_profile(image, (50.3, 29.6), PSF)
    assert value == pytest.approx(np.exp(-0.5 * distance**2), abs=1e-9)
    figure = psfs_figure({"1:g": (image, np.array([[50.3, 29.6], [2.0, 3.0]]), PSF)})
    drawn(figure)
    (ax,) = figure.axes
    assert [line.get_label() for line in ax.lines] == [
        "source 1",
        "source 2",
        "Gaussian, 4.00 x 2.00 px at 35 deg",
    ]
    assert ax.get_xlabel() == "distance [sigma of the PSF]"


def test_a_hole_in_the_sky_has_no_profile() -> None:
    assert radial_profile(np.full((40, 50), -3.0), (20.0, 20.0), PSF)[0].size == 0


@pytest.mark.parametrize("shape", [(60, 90), (2048, 1500)])
def test_meshes_are_drawn_to_scale_and_never_grey(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(100, 3, shape)
    figure = background_meshes_figure({"1:g": Mesh(image, np.full(shape, 100.0), (10, 15))}, unit="adu")
    drawn(figure)
    boxes, level = figure.axes[:2]
    assert "boxes of 10 x 15 pixel" in boxes.get_title()
    assert ("one edge in" in boxes.get_title()) == (shape[0] > 1000)
    assert len(boxes.lines) <= 160
    assert boxes.get_xlim() == level.get_xlim() == (-0.5, shape[1] - 0.5)
    (bar,) = level.child_axes
    assert bar.get_ylabel() == "background [adu / pixel]"


def test_apertures_lie_on_their_sources() -> None:
    image, xy = star((80, 120), 60.0, 35.0), np.array([[60.0, 35.0], [10.0, 70.0], [66.0, 38.0]])
    outlines = (Outline(9.4, 4.7, 35.0, "aperture"),)
    annuli = (Outline(20.0, 10.0, 35.0, "sky annulus"), Outline(30.0, 15.0, 35.0, "sky annulus"))
    figure = apertures_figure({"1:g": Measured(image, xy, outlines, annuli)}, title="a label")
    drawn(figure)
    first = figure.axes[0]
    aperture, inner, outer = first.patches
    assert aperture.center == (60.0, 35.0)
    assert (aperture.width, aperture.height, aperture.angle) == (18.8, 9.4, 35.0)
    assert (inner.width, outer.width) == (40.0, 60.0)
    assert len(first.lines[0].get_xdata()) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["aperture", "sky annulus"]
    shown = first.images[0]
    left, right, bottom, top = shown.get_extent()
    pixels = shown.get_array()
    row, column = np.unravel_index(np.argmax(pixels), pixels.shape)
    assert (left + 0.5 + column, bottom + 0.5 + row) == (60.0, 35.0)
    assert (right - left, top - bottom) == pixels.shape[::-1]


SOURCES = pd.DataFrame(
    {
        "source": [1, 2, 3, 4],
        "flux": [4e4, 1e4, 2e3, np.nan],
        "flux_err": [220.0, 120.0, 70.0, np.nan],
        "rms": [225.0, 600.0, 68.0, np.nan],
        "snr": [180.0, 83.0, 28.0, np.nan],
    }
)


def test_scatter_of_a_variable_star_lies_above_the_line() -> None:
    figure = rms_figure({"1:g": SOURCES, "2:r": SOURCES.iloc[:0]}, title="x", unit="electron")
    drawn(figure)
    ax = figure.axes[0]
    measured, expected = ax.lines
    ratio = np.asarray(measured.get_ydata()) / np.asarray(expected.get_ydata())
    assert measured.get_xdata().tolist() == [2e3, 1e4, 4e4]
    assert ratio[1] == pytest.approx(5.0)
    assert ratio[[0, 2]] == pytest.approx(1.0, abs=0.05)
    assert sorted(text.get_text() for text in ax.texts) == ["1", "2", "3"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("median flux [electron]", "rms / median flux")


def test_signal_to_noise_is_drawn_for_each_source_with_a_flux() -> None:
    figure = snr_figure({"1:g": SOURCES})
    drawn(figure)
    (ax,) = figure.axes
    assert ax.lines[0].get_ydata().tolist() == [180.0, 83.0, 28.0]
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_an_animation_has_a_picture_for_each_frame(tmp_path) -> None:
    image, xy = star((60, 90), 40.0, 20.0), np.array([[40.0, 20.0]])
    ax = plot_aligned_frame(image, xy, PSF, Figure().subplots(), name="frame 7", status="failed")
    assert ax.title.get_text() == "frame 7  (failed)"
    assert ax.title.get_color() not in STATUS_COLOURS.values()
    assert ax.patches[0].center == (40.0, 20.0)
    pictures = [
        picture_of_frame(image * scale, xy, PSF, name="a", status=status)
        for scale, status in ((1, "reference"), (2, "aligned"), (3, "failed"))
    ]
    path = write_animation(pictures, tmp_path / "a.gif")
    with Picture.open(path) as film:
        assert film.n_frames == 3
        assert film.info["loop"] == 0
    assert [each.name for each in tmp_path.iterdir()] == ["a.gif"]

"""The page in a real browser: it asks nobody, shows what the tables hold, and can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import opticam_dask as opticam
from opticam_dask.errors import InputError
from opticam_dask.report import write_report
from opticam_dask.report.plots import library
from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.simulate import CameraSetup
from opticam_dask.tables.parts import write_part
from opticam_dask.tables.store import dataset_root

FITS = """() => {
    const page = document.documentElement
    return page.scrollWidth <= page.clientWidth
}"""
LONG_PATHS = """() => {
    const long = "/a_folder".repeat(40)
    document.querySelectorAll("#settings code").forEach((each) => { each.textContent = long })
}"""
SHOWN = """() => {
    const good = Bokeh.documents[0].get_model_by_name("good").data
    return [Array.from(good.x), Array.from(good.y)]
}"""
RANGE = """() => {
    const range = Bokeh.documents[0].get_model_by_name("curve").x_range
    return [range.start, range.end]
}"""

WITHIN = f"([low, high]) => {{ const [left, right] = ({RANGE})(); return left < low && high < right }}"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reduction of two cameras; one frame is damaged."""
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=12,
        shape=(151, 173),
        n_stars=5,
        flux_range=(2e4, 2e5),
        min_separation_px=30.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        pointing=(83.6, 22.0),
        seed=8,
    )
    opticam.simulate_night(scene, folder / "data")
    frames = sorted((folder / "data").rglob("*.fit*"))
    frames[3].write_bytes(b"</script><b>not a frame")
    with opticam.Reducer(
        folder / "out", folder / "data", verbose=False, show_plots=False, cluster="threads"
    ) as reducer:
        reducer.create_catalogs()
        reducer.photometry([opticam.AperturePhotometer(forced=True), opticam.OptimalPhotometer()])
    return folder / "out"


def test_a_page_holds_everything_it_shows(out: Path, tmp_path: Path) -> None:
    page = write_report(out, tmp_path / "page.html")
    # bokeh names a server for formulae, of which there are none: the browser's tests see that nobody is asked
    text = page.read_text().replace(library(), "")
    for word in ('src="http', 'href="http', "//cdn", "</script><b>"):
        assert word not in text
    assert text.count("data:image/png;base64,") >= 5
    assert "forced_aperture" in text
    assert "numpy" in text
    assert write_report(out) == out / "report.html"


def test_a_folder_that_is_no_reduction_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame index"):
        write_report(tmp_path)


def test_a_reduction_without_light_curves_has_a_page(out: Path, tmp_path: Path) -> None:
    (tmp_path / "frames.parquet").write_bytes((out / "frames.parquet").read_bytes())
    assert "No catalogue yet" in write_report(tmp_path).read_text()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_a_source_is_picked_and_its_curve_zooms(opened: Any, out: Path, tmp_path: Path, width: int) -> None:
    page, wrong = opened(write_report(out, tmp_path / "page.html"), width, 844)
    page.evaluate(LONG_PATHS)
    assert page.evaluate(FITS)
    page.select_option("#label", "forced_aperture")
    page.select_option("#camera", "2:r")
    page.select_option("#source", "3")
    page.wait_for_selector("body[data-shown='forced_aperture|2:r|3']")
    curve = opticam.light_curve(out, camera="2:r", source=3, label="forced_aperture").dropna(subset=["flux"])
    x, y = page.evaluate(SHOWN)
    assert y == pytest.approx(curve["flux"].tolist(), abs=float(curve["flux_err"].min()) / 64)
    assert np.ptp(x) == pytest.approx(np.ptp(curve["BMJD"]) * 86_400, rel=1e-6)
    page.wait_for_function(WITHIN, arg=[min(x), max(x)])
    left, right = page.evaluate(RANGE)
    box = page.locator("#curves .bk-Figure").first.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_function(
        f"([left, right]) => {{ const [a, b] = ({RANGE})(); return a > left && b < right }}",
        arg=[left, right],
    )
    near, far = page.evaluate(RANGE)
    assert near < far
    assert far - near < 0.5 * (right - left)
    page.click("#after")
    page.wait_for_selector("body[data-shown='forced_aperture|2:r|4']")
    assert not wrong


@pytest.mark.browser
def test_a_click_into_the_field_shows_that_star(opened: Any, out: Path, tmp_path: Path) -> None:
    page, wrong = opened(write_report(out, tmp_path / "page.html"))
    place = """() => {
        const plot = Bokeh.documents[0].get_model_by_name("field 1:g")
        const view = Bokeh.index.find_one(plot)
        const source = Bokeh.documents[0].get_model_by_name("sources 1:g")
        const box = view.frame.bbox, at = view.el.getBoundingClientRect()
        return [at.left + view.frame.x_scale.compute(source.data.x[1]),
                at.top + view.frame.y_scale.compute(source.data.y[1])]
    }"""
    page.locator(".field").first.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    page.mouse.click(*page.evaluate(place))
    page.wait_for_function("document.body.dataset.shown.endsWith('|1:g|2')")
    assert not wrong


@pytest.mark.browser
def test_csv_of_what_is_shown(opened: Any, out: Path, tmp_path: Path) -> None:
    page, _ = opened(write_report(out, tmp_path / "page.html"))
    with page.expect_download() as saved:
        page.click("#save")
    table = pd.read_csv(saved.value.path())
    assert saved.value.suggested_filename == "forced_aperture_1-g_1.csv"
    assert list(table.columns) == ["BMJD_TDB", "flux", "flux_err", "flagged", "night"]
    curve = opticam.light_curve(out, camera="1:g", source=1, label="forced_aperture").dropna(subset=["flux"])
    assert np.array_equal(table["BMJD_TDB"], curve["BMJD"])


def many_points(folder: Path, out: Path, n_frames: int) -> Path:
    """A reduction with light curves of 10 sources and so many frames put beside its own tables."""
    for name in ("frames.parquet", "alignment.parquet", "provenance.json"):
        (folder / name).write_bytes((out / name).read_bytes())
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(np.zeros((10 * n_frames, 17)), columns=LIGHT_CURVES.names)
    rows["night"], rows["camera"], rows["filter"] = "2024-01-01", "1:g", "g"
    rows["source"] = np.repeat(np.arange(1, 11), n_frames)
    rows["frame"] = np.tile(np.arange(n_frames), 10)
    rows["MJD"] = rows["BMJD"] = 60310.0 + rows["frame"] * 0.31 / 86_400 + rng.normal(0, 1e-8, len(rows))
    rows["flux_err"] = rng.gamma(400.0, 0.5, len(rows))
    rows["flux"] = 5e4 + rng.normal(0, 1, len(rows)) * rows["flux_err"]
    rows["flags"] = 0
    table = pa.Table.from_pandas(rows, schema=LIGHT_CURVES, preserve_index=False)
    write_part(table, dataset_root(folder, "optimal_annulus"), ("2024-01-01", "1:g", 0, n_frames))
    return folder


@pytest.mark.browser
@pytest.mark.slow
def test_a_million_points_fit_into_fifteen_megabytes(opened: Any, out: Path, tmp_path: Path) -> None:
    page = write_report(many_points(tmp_path, out, 100_000))
    assert page.stat().st_size < 15e6
    assert "Points are means" not in page.read_text()
    shown, wrong = opened(page)
    assert len(shown.evaluate(SHOWN)[0]) == 100_000
    assert not wrong


def test_more_than_a_million_points_are_averaged(out: Path, tmp_path: Path) -> None:
    page = write_report(many_points(tmp_path, out, 100_010))
    assert "Points are means of 2 neighbouring frames" in page.read_text()

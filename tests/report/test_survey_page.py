"""The page of a survey: every night and object is on it, whatever state the survey is in."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

import opticam_dask as opticam
from opticam_dask.cli.report import command
from opticam_dask.errors import InputError
from opticam_dask.matching import Master
from opticam_dask.report import write_report
from opticam_dask.report.curves import Folder, rows_in
from opticam_dask.report.nightly import residuals_of_nights
from opticam_dask.report.nightly_plot import LABELS, nightly_figure
from opticam_dask.report.plots import library, short_names
from opticam_dask.report.scatter import scatter_over_nights
from opticam_dask.simulate import CameraSetup
from opticam_dask.survey import Survey, SurveyOptions, read_ledger
from opticam_dask.survey.ledger import update_ledger
from opticam_dask.tables.parts import camera_folder, part_path, parts_in, write_rows
from opticam_dask.tables.store import dataset_root

FIRST, DIM, OTHER, BAD = "2024-01-01", "2024-01-02", "2024-01-05", "2024-01-09"
CAMERAS = ("1:g", "2:r")
DIMMED_MAG = 1.25
LABEL = "forced_aperture"
FITS = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
DATA = """() => Object.fromEntries(["good", "middles", "gaps"].map((name) => {
    const data = Bokeh.documents[0].get_model_by_name(name).data
    return [name, Object.fromEntries(Object.entries(data).map(([key, values]) => [key, Array.from(values)]))]
}))"""
AXES = """() => Bokeh.documents[0].get_model_by_name("curve").below.map((axis) => axis.visible)"""
WITHIN = """([low, high]) => {
    const range = Bokeh.documents[0].get_model_by_name("curve").x_range
    return range.start < low && high < range.end
}"""
INSIDE = """([low, high]) => {
    const range = Bokeh.documents[0].get_model_by_name("curve").x_range
    return low < range.start && range.end < high
}"""


def simulate(root: Path, night: str, sky: int, fluxes: float) -> list[Path]:
    """Frames of two cameras of one of two fields; sky 1 and 2 have other stars."""
    rng = np.random.default_rng(sky)
    places = np.column_stack([rng.permutation(np.linspace(17, 100, 7)), np.linspace(16, 78, 7)])
    counts = fluxes * np.geomspace(5e4, 1.2e4, 7)
    scene = opticam.Scene(
        n_frames=4,
        shape=(97, 119),
        stars=[(x, y, each) for (x, y), each in zip(places.tolist(), counts.tolist(), strict=True)],
        n_stars=7,
        semimajor_sigma=1.9,
        semiminor_sigma=1.4,
        orientation=35.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r", mirrored=True)),
        compression="none",
        pointing=(83.6, 22.0),
        start=f"2024-01-{int(night[-2:]) + 1:02d}T04:00:00",
        seed=int(night[-2:]),
    )
    opticam.simulate_night(scene, root / night)
    return sorted((root / night).glob("*.fit"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A survey of four nights: one dim, one of another field, one without stars; a frame is cut short."""
    folder = tmp_path_factory.mktemp("a_survey")
    frames = simulate(folder / "data", FIRST, 1, 1.0)
    frames[2].write_bytes(frames[2].read_bytes()[:9000])
    simulate(folder / "data", DIM, 1, 10 ** (-0.4 * DIMMED_MAG))
    simulate(folder / "data", OTHER, 2, 1.0)
    simulate(folder / "data", BAD, 1, 1e-5)
    photometers = [opticam.AperturePhotometer(forced=True)]
    survey = Survey(
        folder / "data", folder / "out", photometers, SurveyOptions(), cluster="threads", figures=False
    )
    assert survey.run().reduced == (FIRST, DIM, OTHER)
    # two nights do not tell which of them is clear: as if there had been more
    ledger = read_ledger(folder / "out")
    assert ledger["extinction"].isna().all()
    dim = ledger[ledger["night"] == DIM].assign(extinction=DIMMED_MAG)
    update_ledger(folder / "out", {DIM: dim})
    return folder / "out"


@pytest.fixture
def copy(out: Path, tmp_path: Path) -> Path:
    """The survey, to be spoilt."""
    shutil.copytree(out, tmp_path / "survey")
    return tmp_path / "survey"


@pytest.fixture(scope="module")
def text(out: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its page, without the library."""
    return write_report(out, tmp_path_factory.mktemp("page") / "page.html").read_text().replace(library(), "")


def data_of(text: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def table_of(text: str) -> pd.DataFrame:
    """Table of nights and cameras, as text."""
    section = text[text.index('<section id="nights">') :].partition("</section>")[0]
    plain = [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", section, re.DOTALL)
    ]
    return pd.DataFrame(plain[1:], columns=plain[0])


def test_every_night_is_in_the_table_with_what_became_of_it(out: Path, text: str) -> None:
    table, ledger = table_of(text), read_ledger(out)
    for shown, kept in {"night": "night", "camera": "camera", "status": "status"}.items():
        assert table[shown].tolist() == ledger[kept].tolist()
    for shown, kept in {"frames": "found", "used": "used", "stars": "stars", "with ID": "identified"}.items():
        assert table[shown].astype(int).tolist() == ledger[kept].tolist()
    why = dict(zip(zip(table["night"], table["camera"], strict=True), table["why"], strict=True))
    assert "no star found" in why[BAD, "1:g"]
    assert "1 x " in why[FIRST, "1:g"] + why[FIRST, "2:r"]
    assert why[DIM, "1:g"] == why[DIM, "2:r"] == "cloudy: its stars are 1.25 mag fainter than in clear nights"
    assert not why[OTHER, "2:r"]
    assert "4 nights: 3 reduced, 1 excluded. 2 field(s), 14 objects." in text
    assert f"Excluded: {BAD}." in text
    assert f"Stars are fainter than in clear nights in {DIM}." in text


def test_only_nights_with_curves_can_be_picked(text: str) -> None:
    links = re.findall(r'data-night="(.*?)" data-camera="(.*?)"', text)
    assert links == [(night, camera) for night in (FIRST, DIM, OTHER) for camera in CAMERAS]


def test_light_curves_are_those_of_objects_over_all_nights(out: Path, text: str) -> None:
    blocks = data_of(text, "data")
    assert [(block["night"], block["camera"]) for block in blocks] == [
        (night, camera) for night in (FIRST, DIM, OTHER) for camera in CAMERAS
    ]
    known = Master.load(out)
    for block in blocks:
        assert block["ids"] == sorted(known.ids(block["night"], block["camera"]).values())
        assert block["label"] == LABEL


def test_objects_stand_on_their_stars_in_the_pictures(out: Path, text: str) -> None:
    pictures = data_of(text, "pictures")
    assert [(each["name"], each["camera"]) for each in pictures] == [
        (name, camera) for name in ("F001", "F002") for camera in CAMERAS
    ]
    sightings = Master.load(out).sightings
    for picture, night in zip(pictures, (FIRST, FIRST, OTHER, OTHER), strict=True):
        assert night in picture["title"]
        own = sightings[(sightings["night"] == night) & (sightings["camera"] == picture["camera"])]
        places = own.set_index("object_id")[["x", "y"]].loc[picture["stars"]["id"]].to_numpy()
        found = np.column_stack([picture["stars"]["x"], picture["stars"]["y"]])
        assert len(found) == 7
        assert np.abs(found - places).max() < 0.3
        assert picture["stars"]["text"][0] == "1"


def test_the_page_says_what_was_rejected_and_how_it_was_made(text: str) -> None:
    lost = text[text.index('<section id="rejected">') :]
    assert re.search(r"<td>1:g</td><td>[^<]+</td><td>1</td><td>1</td>", lost)
    assert f"<code>photometry.{LABEL}" in text
    assert "numpy" in text
    assert text.count("data:image/png;base64,") == 4 + 2 + 2  # fields; first of each camera; quality, noise
    for word in ('src="http', 'href="http', "//cdn"):
        assert word not in text


def test_the_command_writes_it_beside_the_survey(copy: Path) -> None:
    done = CliRunner().invoke(command, [str(copy)], catch_exceptions=False)
    assert done.exit_code == 0
    assert (copy / "report.html").is_file()


def without_ledger(out: Path) -> str:
    (out / "ledger.parquet").unlink()
    return f'<td class="night">{FIRST}</td>'


def without_light_curves(out: Path) -> str:
    shutil.rmtree(out / "lcs")
    return "2 field(s)"


def without_objects(out: Path) -> str:
    for name in ("fields", "objects", "sightings", "matched_catalogs"):
        (out / f"{name}.parquet").unlink()
    return "0 field(s), 0 objects"


def just_begun(out: Path) -> str:
    for path in out.iterdir():
        if path.name != "survey.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return "0 nights: none yet"


def without_a_night(out: Path) -> str:
    shutil.rmtree(out / "nights" / FIRST)
    return f"F001, {DIM}: click an object"


def without_any_night(out: Path) -> str:
    shutil.rmtree(out / "nights")
    return f'data-night="{FIRST}"'


def about_to_publish(out: Path) -> str:
    shutil.rmtree(camera_folder(dataset_root(out, LABEL), DIM, "1:g"))
    camera_folder(dataset_root(out, LABEL), DIM, "1:g").mkdir()
    return f'data-night="{DIM}" data-camera="2:r"'


@pytest.mark.parametrize(
    "spoil",
    [
        without_ledger,
        without_light_curves,
        without_objects,
        just_begun,
        without_a_night,
        without_any_night,
        about_to_publish,
    ],
    ids=lambda each: each.__name__,
)
def test_a_survey_in_any_state_has_a_page(copy: Path, spoil: Any) -> None:
    assert spoil(copy) in write_report(copy).read_text()


def rewritten(out: Path, ids: list[str]) -> Folder:
    """Give the rows of one night and camera other objects."""
    root = dataset_root(out, LABEL)
    (key,) = parts_in(root, FIRST, "1:g")
    rows = pa.parquet.read_table(part_path(root, key), partitioning=None)
    source = rows.column("source").to_numpy()
    names = pa.array([ids[each - 1] for each in source], pa.string())
    place = rows.schema.get_field_index("object_id")
    write_rows(rows.set_column(place, rows.schema.field(place), names), part_path(root, key))
    return Folder(root, LABEL, FIRST, "1:g", "object_id")


def test_sources_that_are_no_known_object_do_not_mix(copy: Path) -> None:
    folder = rewritten(copy, ["", "F001-0002", "", "", "", "F001-0006", "F001-0007"])
    rows = rows_in(folder)
    assert sorted(set(rows["object_id"])) == ["F001-0002", "F001-0006", "F001-0007"]
    assert not rows.duplicated(["object_id", "frame"]).any()
    assert data_of(write_report(copy).read_text(), "data")[0]["ids"] == sorted(set(rows["object_id"]))


def test_a_night_without_any_known_object_has_no_curve(copy: Path) -> None:
    rewritten(copy, [""] * 7)
    assert data_of(write_report(copy).read_text(), "data")[0]["ids"] == []


def test_a_damaged_part_is_named(copy: Path) -> None:
    root = dataset_root(copy, LABEL)
    (key,) = parts_in(root, DIM, "2:r")
    path = part_path(root, key)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=rf"{path.name}.*verify --repair"):
        write_report(copy)


def test_scatter_is_without_what_all_stars_of_a_night_share() -> None:
    rng = np.random.default_rng(5)
    clouds = {"a": 1.0, "b": 0.4, "c": 0.9}
    own = {"1": 1.0, "2": 1.0, "3": 1.0, "4": 1.0, "variable": 1.0}
    nights = []
    for night, cloud in clouds.items():
        level = {**own, "variable": {"a": 1.0, "b": 1.2, "c": 0.8}[night]}
        rows = [(name, night, 200, 1e4 * cloud * by, 50 * cloud, 60 * cloud) for name, by in level.items()]
        nights.append(
            pd.DataFrame(rows, columns=["object_id", "night", "measured", "flux", "flux_err", "rms"])
        )
    found = scatter_over_nights([nights[k] for k in rng.permutation(3)]).set_index("object_id")
    assert found.loc[["1", "2", "3", "4"], "rms"].to_numpy() / found.loc["1", "flux"] == pytest.approx(0.006)
    relative = found.loc["variable", "rms"] / found.loc["variable", "flux"]
    assert relative == pytest.approx(np.hypot(0.2 * np.sqrt(2 / 3), 0.006), rel=0.02)
    lonely = scatter_over_nights([night.iloc[:2] for night in nights]).set_index("object_id")
    assert lonely.loc["1", "rms"] / lonely.loc["1", "flux"] > 0.2


def test_residuals_are_those_of_identified_sources() -> None:
    rows = [("a", "F1", 0.1), ("a", "F2", 0.3), ("a", "", 9.0), ("b", "F1", 0.4)]
    sightings = pd.DataFrame(rows, columns=["night", "object_id", "separation"]).assign(camera="1:g")
    found = residuals_of_nights(sightings).set_index("night")["residual"]
    assert found.to_dict() == pytest.approx({"a": 0.2, "b": 0.4})


def test_quality_has_a_panel_each_and_marks_nights_without_light_curves() -> None:
    nights = pd.DataFrame({"night": ["2024-01-01", "2024-02-01"] * 2, "camera": ["1:g"] * 2 + ["2:r"] * 2})
    for name in LABELS:
        nights[name] = [1.0, 2.0, 3.0, 4.0]
    figure = nightly_figure(nights, ["2024-01-20", "2024-03-01"], "electron")
    assert [ax.get_ylabel() for ax in figure.axes][1] == "sky [electron / pixel]"
    for ax in figure.axes:
        marks = [line for line in ax.lines if line.get_linestyle() == ":"]
        points = [line for line in ax.lines if line.get_marker() == "o"]
        assert len(marks) == len(points) == 2
        assert points[1].get_ydata().tolist() == [3.0, 4.0]
    names = [each.get_text() for each in figure.axes[0].get_legend().get_texts()]
    assert names == ["1:g", "2:r", "no light curves"]
    assert figure.axes[2].yaxis_inverted()


def test_names_are_short_but_never_equal() -> None:
    assert short_names(["F001-0042", "F001-0100"]) == {"F001-0042": "42", "F001-0100": "100"}
    both = short_names(["F001-0042", "F010-0042"])
    assert both == {"F001-0042": "1-42", "F010-0042": "10-42"}


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_objects_and_nights_are_picked_and_zoomed(opened: Any, out: Path, tmp_path: Path, width: int) -> None:
    page, wrong = opened(write_report(out, tmp_path / "page.html"), width, 844)
    assert page.evaluate(FITS)
    page.select_option("#camera", "2:r")
    page.select_option("#source", "F001-0003")
    page.wait_for_selector(f"body[data-shown='{LABEL}|2:r|F001-0003'][data-night='all nights']")
    curve = opticam.light_curve(out, camera="2:r", object_id="F001-0003")
    data = page.evaluate(DATA)
    good = data["good"]
    assert good["night"] == [FIRST] * 4 + [DIM] * 4
    assert good["time"] == pytest.approx(curve["BMJD"].tolist(), abs=1e-9)
    assert good["y"] == pytest.approx(curve["flux"].tolist(), abs=float(curve["flux_err"].min()) / 32)
    assert np.diff(good["x"][:4]) == pytest.approx(np.diff(curve["BMJD"][:4]), abs=1e-8)
    assert good["x"][3] < data["gaps"]["x"][0] < good["x"][4]
    assert good["x"][-1] < 3 * np.ptp(curve["BMJD"][:4])
    middles = curve.groupby("night")["flux"].median()
    assert data["middles"]["y"] == pytest.approx(middles.tolist(), rel=1e-3)
    assert page.evaluate(AXES) == [False, True]
    page.click("#gaps")
    page.wait_for_function(f"() => ({AXES})()[0]")
    apart = page.evaluate(DATA)["good"]["x"]
    assert np.ptp(apart) == pytest.approx(24 * np.ptp(curve["BMJD"]), rel=1e-6)  # hours, up to three days
    page.click("#night-after")
    page.wait_for_selector(f"body[data-night='{FIRST}']")
    alone = page.evaluate(DATA)
    assert alone["good"]["night"] == [FIRST] * 4
    assert not alone["middles"]["x"]
    assert np.ptp(alone["good"]["x"]) == pytest.approx(86_400 * np.ptp(curve["BMJD"][:4]), rel=1e-5)
    ends = [min(alone["good"]["x"]), max(alone["good"]["x"])]
    page.wait_for_function(WITHIN, arg=ends)
    box = page.locator("#curves .bk-Figure").first.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_function(INSIDE, arg=ends)
    assert not wrong


@pytest.mark.browser
def test_a_night_of_the_table_shows_its_field(opened: Any, out: Path, tmp_path: Path) -> None:
    page, wrong = opened(write_report(out, tmp_path / "page.html"))
    page.click(f"a[data-night='{OTHER}'][data-camera='2:r']")
    page.wait_for_selector(f"body[data-shown='{LABEL}|2:r|F002-0001'][data-night='{OTHER}']")
    model = "Bokeh.documents[0].get_model_by_name"
    assert page.evaluate(f"{model}('field 1:g').title.text").startswith("1:g, F002, ")
    assert page.evaluate(f"{model}('sources 2:r').data.id")[0] == "F002-0001"
    page.select_option("#source", "F001-0001")
    page.wait_for_selector(f"body[data-shown='{LABEL}|2:r|F001-0001'][data-night='all nights']")
    assert page.evaluate(f"{model}('sources 2:r').data.id")[0] == "F001-0001"
    assert not wrong


@pytest.mark.browser
def test_csv_holds_all_nights_or_the_one_that_is_shown(opened: Any, out: Path, tmp_path: Path) -> None:
    page, _ = opened(write_report(out, tmp_path / "page.html"))
    sizes = {}
    for night in ("all nights", DIM):
        page.select_option("#night", night)
        page.wait_for_selector(f"body[data-night='{night}']")
        with page.expect_download() as saved:
            page.click("#save")
        sizes[saved.value.suggested_filename] = set(pd.read_csv(saved.value.path())["night"])
    assert sizes == {
        f"{LABEL}_1-g_F001-0001.csv": {FIRST, DIM},
        f"{LABEL}_1-g_F001-0001_{DIM}.csv": {DIM},
    }


@pytest.mark.browser
@pytest.mark.parametrize("font", ["monospace", "serif"])
def test_a_phone_shows_it_all_with_any_path_and_font(opened: Any, copy: Path, font: str) -> None:
    settings = json.loads((copy / "survey.json").read_text())
    settings["root"] = "/a_long_folder_without_blanks" * 20
    (copy / "survey.json").write_text(json.dumps(settings))
    page, wrong = opened(write_report(copy), 390, 844)
    page.add_style_tag(
        content=f"* {{ font-family: {font} !important }} html, body, form {{ font-size: 24px }}"
    )
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    assert page.evaluate(FITS)
    assert not wrong


@pytest.mark.browser
def test_a_survey_without_light_curves_says_so(opened: Any, copy: Path) -> None:
    without_light_curves(copy)
    page = write_report(copy)
    page.write_text(page.read_text().replace("<body ", "<body data-shown ", 1))
    shown, wrong = opened(page)
    shown.wait_for_function("document.getElementById('about').textContent.includes('no light curves yet')")
    assert not wrong

"""Surveys end to end: three nights, found and reduced once, then added to, changed, stopped and mended."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

import opticam_dask as opticam
from opticam_dask.cli import PARTLY_DONE, main
from opticam_dask.errors import BusyError, CatalogError, InputError, SchedulerLostError, SettingsChangedError
from opticam_dask.photometers import NoiseBudget
from opticam_dask.simulate.scene import CameraSetup
from opticam_dask.survey import Survey, SurveyOptions, read_ledger, work
from opticam_dask.survey.inventory import Inventory
from opticam_dask.survey.ledger import update_ledger
from opticam_dask.survey.vacuum import vacuum
from opticam_dask.survey.verify import repair_survey, verify_survey
from opticam_dask.tables.outdated import OutdatedRowsWarning, outdated_nights
from opticam_dask.tables.parts import part_path, parts_in, write_rows
from opticam_dask.tables.store import dataset_root, light_curve, open_light_curves
from opticam_dask.tables.verify import repair

# dask calls pandas with a keyword that pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:DeprecationWarning")

FIRST, SECOND, THIRD, BAD = "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"
GOOD = (FIRST, SECOND, THIRD)
STARS = 7
LABEL = "optimal_annulus"


def simulate(folder, night, shift=(0.0, 0.0), faint=False):
    """Frames of two cameras; the night of the local evening begins a day before the UTC of its frames."""
    rng = np.random.default_rng(3)
    xy = np.column_stack([rng.permuted(np.linspace(16, 96, STARS)), np.linspace(16, 78, STARS)])
    flux = np.geomspace(4e4, 8e3, STARS) * (1e-4 if faint else 1.0)
    stars = [(x + shift[0], y + shift[1], f) for (x, y), f in zip(xy, flux, strict=True)]
    scene = opticam.Scene(
        n_frames=4,
        shape=(97, 113),
        stars=stars,
        n_stars=STARS,
        semimajor_sigma=1.9,
        semiminor_sigma=1.4,
        orientation=35.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        compression="none",
        pointing=(83.6, 22.0),
        start=f"2024-01-{int(night[-2:]) + 1:02d}T04:00:00",
        seed=int(night[-2:]),
    )
    opticam.simulate_night(scene, folder)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Frames of single nights, to put together as one likes."""
    root = tmp_path_factory.mktemp("frames")
    for number, night in enumerate(GOOD):
        simulate(root / night, night, shift=(1.5 * number, -number))
    simulate(root / BAD, BAD, faint=True)
    return root


def put(frames, night, folder, only="*.fit"):
    folder.mkdir(parents=True, exist_ok=True)
    for path in (frames / night).glob(only):
        shutil.copy2(path, folder)


@pytest.fixture(scope="module", autouse=True)
def client():
    with (
        LocalCluster(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def annulus(**options):
    """The photometer of the command line."""
    return opticam.OptimalPhotometer(local_background_estimator=opticam.DefaultLocalBackground(), **options)


def survey(root, out, photometers=None, **options):
    return Survey(root, out, photometers or [annulus()], SurveyOptions(**options), figures=False)


@pytest.fixture(scope="module")
def done(frames, tmp_path_factory):
    """A survey that was run: one night mixed with another in one folder, one spread over two."""
    place = tmp_path_factory.mktemp("survey")
    root = place / "root"
    put(frames, FIRST, root / "mixed")
    put(frames, SECOND, root / "mixed")
    put(frames, THIRD, root / "a" / "deep", "*g*.fit")
    put(frames, THIRD, root / "b", "*r*.fit")
    (root / "b" / "broken.fits").write_bytes(b"SIMPLE  =")
    report = survey(root, place / "out").run()
    assert report.reduced == GOOD
    assert not report.failed
    return place


@pytest.fixture
def place(done, tmp_path, monkeypatch):
    """A copy of the survey; nights that are reduced again take what the first run made of them."""
    shutil.copytree(done / "root", tmp_path / "root")
    shutil.copytree(done / "out", tmp_path / "out")
    moved(tmp_path / "out", done, tmp_path)
    return tmp_path


def moved(out, old, new):
    """Let a copy of a survey take its copied root for the one it was made from."""
    for name in ("survey.json", "inventory.json"):
        path = out / name
        path.write_text(path.read_text().replace(str(old), str(new)))
    for path in [*out.glob("nights/*/frames.parquet"), out / "undated.parquet"]:
        table = pq.read_table(path)
        paths = pa.array([text.replace(str(old), str(new)) for text in table["path"].to_pylist()])
        pq.write_table(table.set_column(0, table.schema.field(0), paths), path)
    reseal(out, new / "root")


def reseal(out, root):
    """Write the digests that go with other paths."""
    from opticam_dask.survey.arrivals import _record
    from opticam_dask.survey.run import digest

    known = json.loads((out / "inventory.json").read_text())
    settings = json.loads((out / "survey.json").read_text())
    known["scanned"] = digest({"root": str(root), "scan": settings["scan"]})
    for night, record in known["nights"].items():
        table = pq.read_table(out / "nights" / night / "frames.parquet").to_pandas()
        record["files"] = record["made"]["files"] = _record(None, table).files
    (out / "inventory.json").write_text(json.dumps(known))


@pytest.fixture
def reduced(done, monkeypatch):
    """Nights reduced, in order; a night is a copy of what the first run made."""
    calls = []

    def copy(night, out, options, photometers, **_):
        calls.append((night, [each.label for each in photometers]))
        tree = out / "nights" / night
        kept = (tree / "frames.parquet").read_bytes()
        shutil.rmtree(tree)
        shutil.copytree(done / "out" / "nights" / night, tree)
        (tree / "frames.parquet").write_bytes(kept)

    monkeypatch.setattr(work, "reduce_night", copy)
    return calls


def tree_of(folder):
    """Bytes and times of all files."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def contents(folder):
    return {name: digest for name, (digest, _) in tree_of(folder).items()}


def rows_of(out):
    root = dataset_root(out, LABEL)
    table = pyarrow.dataset.dataset(root, partitioning="hive").to_table().to_pandas()
    return table.sort_values(["night", "camera", "source", "frame"], ignore_index=True)


def ids_of(out):
    rows = rows_of(out)[["night", "camera", "source", "object_id"]].drop_duplicates()
    return {tuple(row[:3]): row[3] for row in rows.itertuples(index=False, name=None)}


def test_nights_are_found_by_date_whatever_the_folders(done):
    ledger = read_ledger(done / "out")
    good = ledger[ledger["night"] != ""]
    assert list(zip(good["night"], good["camera"], strict=True)) == [
        (night, camera) for night in GOOD for camera in ("1:g", "2:r")
    ]
    assert (good["found"] == 4).all()
    assert (good["used"] == 4).all()
    assert (good["stars"] == STARS).all()
    assert (good["identified"] == STARS).all()
    assert (good["rows"] == 4 * STARS).all()
    assert (good["status"] == "reduced").all()
    # 2.3548 times the geometric mean of the sigmas, of pixels of 0.14 arcsec binned 4 x 4
    assert good["fwhm"].to_numpy() == pytest.approx(2.3548 * np.sqrt(1.9 * 1.4), rel=0.05)
    assert (good["seeing"] / good["fwhm"]).nunique() <= 2
    assert good["duration"].to_numpy() == pytest.approx(3.0, abs=1.0)


def test_a_file_that_tells_no_time_is_in_the_ledger(done):
    row = read_ledger(done / "out").iloc[0]
    assert (row["night"], row["found"], row["rejected"], row["status"]) == ("", 1, 1, "excluded")
    assert row["rejected_for"].startswith("1 x ")


def test_a_star_has_one_id_and_its_flux_in_all_nights_and_cameras(done):
    rows = rows_of(done / "out")
    assert rows["object_id"].nunique() == STARS
    per_star = rows.groupby("object_id")
    assert (per_star.size() == len(GOOD) * 2 * 4).all()
    truth = np.geomspace(4e4, 8e3, STARS)
    assert np.sort(per_star["flux"].median()) == pytest.approx(np.sort(truth), rel=0.05)
    assert (per_star["flux"].std() / per_star["flux"].mean()).max() < 0.05


def test_the_curve_of_an_object_is_read_by_its_id(done):
    out = done / "out"
    rows = rows_of(out)
    name = rows["object_id"].iloc[0]
    curve = light_curve(out, object_id=name)
    assert len(curve) == (rows["object_id"] == name).sum()
    assert set(curve["object_id"]) == {name}
    assert all(group["MJD"].is_monotonic_increasing for _, group in curve.groupby("camera"))
    one = light_curve(out, object_id=name, camera="2:r", night=SECOND)
    assert set(zip(one["night"], one["camera"], strict=True)) == {(SECOND, "2:r")}
    assert len(one) == 4
    by_source = light_curve(out, camera="2:r", source=int(one["source"].iloc[0]), night=SECOND)
    pd.testing.assert_frame_equal(by_source, one)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"object_id": "F009-9999"}, "no object 'F009-9999'"),
        ({"object_id": "F001-0001", "source": 1}, "needs camera= and source="),
        ({"source": 1}, "needs camera= and source="),
        ({"object_id": "F001-0001", "camera": "9:z"}, "no camera '9:z'"),
    ],
    ids=["unknown", "both", "no camera", "unknown camera"],
)
def test_what_is_asked_for_wrongly_is_told(done, asked, message):
    with pytest.raises(InputError, match=re.escape(message)):
        light_curve(done / "out", **asked)


@pytest.mark.parametrize("reader", ["pandas", "pyarrow", "dask", "duckdb", "polars"])
def test_every_reader_gives_the_same_rows(done, reader):
    root = str(dataset_root(done / "out", LABEL))
    line = re.search(rf"^ +{reader} +(\S.*)$", open_light_curves.__doc__, re.MULTILINE)[1]
    read = eval(line, {"pd": pd, "dd": dd, "pl": pl, "duckdb": duckdb, "pyarrow": pa, "root": root})
    read = read.compute() if isinstance(read, dd.DataFrame) else read
    read = read.df() if isinstance(read, duckdb.DuckDBPyRelation) else read
    read = pd.DataFrame(read.to_dict(as_series=False)) if isinstance(read, pl.DataFrame) else read
    read = read.to_pandas() if isinstance(read, pa.Table) else read
    order = ["night", "camera", "source", "frame"]
    read = read.sort_values(order, ignore_index=True)
    expected = rows_of(done / "out")
    for name in (*order, "object_id", "flux"):
        assert read[name].tolist() == expected[name].tolist()


def test_the_lazy_table_has_the_ids(done):
    table = open_light_curves(done / "out").compute()
    assert set(table["object_id"]) == set(rows_of(done / "out")["object_id"])


def test_rows_of_an_object_lie_together_and_statistics_tell_where(done):
    root = dataset_root(done / "out", LABEL)
    for night in GOOD:
        (key,) = parts_in(root, night, "1:g")
        file = pq.ParquetFile(part_path(root, key))
        names = file.read(columns=["object_id"])["object_id"].to_pylist()
        changes = sum(a != b for a, b in pairwise(names))
        assert changes == STARS - 1
        column = file.schema_arrow.names.index("object_id")
        statistics = file.metadata.row_group(0).column(column).statistics
        assert (statistics.min, statistics.max) == (min(names), max(names))


COUNT = """
import os, sys
root, opened = os.path.realpath(sys.argv[1]), []
def count(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and os.path.realpath(arguments[0]).startswith(root):
        opened.append(arguments[0])
sys.addaudithook(count)
sys.argv = ["opticam-dask", "survey", sys.argv[1], sys.argv[2], "--no-figures"]
from opticam_dask.cli import main
main()
heavy = {"distributed", "pandas", "photutils", "matplotlib"} & set(sys.modules)
print("opened", opened, "imported", sorted(heavy))
"""


def test_with_nothing_new_no_frame_is_opened_nothing_is_written_and_no_cluster_starts(place):
    before = tree_of(place / "out")
    call = [sys.executable, "-c", COUNT, str(place / "root"), str(place / "out")]
    told = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert "0 nights reduced; 3 unchanged" in told
    assert "opened [] imported []" in told
    assert tree_of(place / "out") == before


def test_a_new_night_rewrites_no_other_and_changes_no_id(place, frames, monkeypatch):
    shutil.rmtree(place / "out")
    (place / "aside").mkdir()
    for path in (place / "root" / "b").glob("*"):
        path.rename(place / "aside" / path.name)
    shutil.move(place / "root" / "a", place / "aside" / "a")
    early = survey(place / "root", place / "out")
    assert early.run().reduced == (FIRST, SECOND)
    before, ids = tree_of(place / "out"), ids_of(place / "out")
    shutil.move(place / "aside" / "a", place / "root" / "a")
    put(frames, THIRD, place / "root" / "b", "*r*.fit")
    assert early.run().reduced == (THIRD,)
    after = tree_of(place / "out")
    of_others = [name for name in before if FIRST in name or SECOND in name]
    assert len(of_others) > 20
    assert {name: after[name] for name in of_others} == {name: before[name] for name in of_others}
    assert ids.items() <= ids_of(place / "out").items()


def test_night_by_night_gives_the_bytes_of_all_at_once(done, place, reduced):
    shutil.rmtree(place / "out")
    one = survey(place / "root", place / "out")
    for night in GOOD:
        assert one.run(nights=[night]).reduced == (night,)
    names = ("lcs", "objects.parquet", "sightings.parquet", "fields.parquet")
    for name in names:
        here, there = place / "out" / name, done / "out" / name
        if here.is_dir():
            assert contents(here) == contents(there)
        else:
            assert here.read_bytes() == there.read_bytes()


def test_a_changed_file_costs_its_night_alone(place, reduced):
    path = next((place / "root" / "b").glob("*.fit"))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    one = survey(place / "root", place / "out")
    (plan,) = one.plan()
    assert (plan.night, plan.why) == (THIRD, "its frames changed")
    assert one.run().reduced == (THIRD,)
    assert reduced == [(THIRD, [LABEL])]
    assert one.run().reduced == ()


def test_a_plan_writes_nothing(place, frames):
    put(frames, BAD, place / "root" / "new")
    before = tree_of(place / "out")
    assert [plan.night for plan in survey(place / "root", place / "out").plan()] == [BAD]
    assert tree_of(place / "out") == before


def test_a_night_without_stars_costs_itself_and_is_not_tried_again(place, frames, reduced, monkeypatch):
    from opticam_dask.survey.night import reduce_night

    monkeypatch.setattr(work, "reduce_night", reduce_night)
    put(frames, BAD, place / "root" / "new")
    before = rows_of(place / "out")
    one = survey(place / "root", place / "out")
    report = one.run()
    assert list(report.failed) == [BAD]
    rows = one.ledger.set_index("night").loc[BAD]
    assert set(rows["status"]) == {"excluded"}
    assert rows["reason"].str.len().min() > 10
    assert one.plan() == []
    assert [plan.night for plan in one.plan(retry=True)] == [BAD]
    pd.testing.assert_frame_equal(rows_of(place / "out"), before)


@pytest.mark.parametrize("night", [FIRST, SECOND])
def test_a_night_that_breaks_is_tried_again_and_the_rest_goes_on(place, reduced, monkeypatch, night):
    copy, broken, good = work.reduce_night, [night], tuple(each for each in GOOD if each != night)

    def fail(night, *args, **options):
        if night in broken:
            raise RuntimeError("the disk sneezed")
        copy(night, *args, **options)

    shutil.rmtree(place / "out")
    monkeypatch.setattr(work, "reduce_night", fail)
    one = survey(place / "root", place / "out")
    report = one.run()
    assert (report.reduced, report.failed) == (good, {night: "the disk sneezed"})
    assert set(one.ledger.set_index("night").loc[night]["status"]) == {"failed"}
    broken.clear()
    assert one.run().reduced == (night,)
    assert len(rows_of(place / "out")) == 3 * 2 * 4 * STARS


def test_without_its_scheduler_a_survey_ends_and_the_nights_left_are_no_failures(place, reduced, monkeypatch):
    copy = work.reduce_night

    def lose(night, *args, **options):
        if night == SECOND:
            raise SchedulerLostError("the connection was lost; run again")
        copy(night, *args, **options)

    shutil.rmtree(place / "out")
    monkeypatch.setattr(work, "reduce_night", lose)
    one = survey(place / "root", place / "out")
    with pytest.raises(SchedulerLostError, match="run again"):
        one.run()
    assert set(one.ledger["status"]) == {"reduced"}
    monkeypatch.setattr(work, "reduce_night", copy)
    assert one.run().reduced == (SECOND, THIRD)


class Stopped(BaseException):
    """The process dies here."""


STEPS = [
    "reduce_night",
    "night_catalogs",
    "publications_of",
    "map_blocks_of_frames",
    "withdraw",
    "ids_digest",
    "night_rows",
    "update_ledger",
]


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.slow)])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_step_a_run_dies_at_the_next_one_mends_it(place, done, reduced, monkeypatch, step, when):
    import opticam_dask.lazy.chunks as chunks

    home = chunks if step == "map_blocks_of_frames" else work
    shutil.rmtree(place / "out")
    real, calls = getattr(home, step), []

    def die(*args, **options):
        calls.append(1)
        if len(calls) == 2 and when == "before":
            raise Stopped
        value = real(*args, **options)
        if len(calls) == 2:
            raise Stopped
        return value

    monkeypatch.setattr(home, step, die)
    one = survey(place / "root", place / "out")
    with pytest.raises(Stopped):
        one.run()
    monkeypatch.setattr(home, step, real)
    one.run()
    assert contents(place / "out" / "lcs") == contents(done / "out" / "lcs")
    assert ids_of(place / "out") == ids_of(done / "out")
    kept = ["night", "camera", "status", "used", "rows", "identified"]
    pd.testing.assert_frame_equal(one.ledger[kept], read_ledger(done / "out")[kept])
    assert one.plan() == []
    assert reduced[-1][0] == THIRD


def test_a_run_that_dies_while_ids_are_saved_is_mended(place, done, reduced, monkeypatch):
    from opticam_dask.matching import Master

    shutil.rmtree(place / "out")
    real = Master.save

    def die(master, folder):
        real(master, folder)
        raise Stopped

    monkeypatch.setattr(Master, "save", die)
    one = survey(place / "root", place / "out")
    for _ in range(2):
        with pytest.raises(Stopped):
            one.run()
    monkeypatch.setattr(Master, "save", real)
    one.run()
    assert contents(place / "out" / "lcs") == contents(done / "out" / "lcs")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"threshold": 6.0}, "catalogs.threshold: 5 -> 6"),
        ({"max_catalog_sources": 5}, "catalogs.max_catalog_sources: 15 -> 5"),
        ({"target": "05:34:31.9 +22:00:52"}, 'scan.target: null -> "05:34:31.9 +22:00:52"'),
    ],
    ids=["threshold", "sources", "target"],
)
def test_changed_settings_are_refused_and_nothing_is_touched(place, change, named):
    before = tree_of(place / "out")
    with pytest.raises(SettingsChangedError, match=re.escape(named)):
        survey(place / "root", place / "out", **change).run()
    assert tree_of(place / "out") == before


def test_a_changed_photometer_measures_again_and_keeps_catalogues(place, monkeypatch):
    one = survey(place / "root", place / "out", [annulus(noise=NoiseBudget(scintillation=True))])
    with pytest.raises(SettingsChangedError, match=rf"photometry\.{LABEL}\."):
        one.run()
    before = tree_of(place / "out")
    assert one.run(nights=[FIRST], overwrite=True).reduced == (FIRST,)
    after = tree_of(place / "out")
    different = {name for name in before if after.get(name) != before[name]}
    assert not [name for name in different if "/cat/" in name or SECOND in name or THIRD in name]
    assert [name for name in different if name.startswith(f"lcs/{LABEL}/light_curves/night={FIRST}")]
    # the settings are recorded: what is left needs no permission any more
    assert [plan.night for plan in one.plan()] == [SECOND, THIRD]


def test_another_label_is_measured_beside_the_first(place):
    both = [annulus(), opticam.AperturePhotometer()]
    vacuum(place / "out")
    before = contents(place / "out" / "lcs" / LABEL)
    one = survey(place / "root", place / "out", both)
    assert [plan.labels for plan in one.plan()] == [(both[1].label,)] * 3
    assert one.run(nights=[FIRST]).reduced == (FIRST,)
    assert contents(place / "out" / "lcs" / LABEL) == before
    rows = pq.read_table(dataset_root(place / "out", both[1].label))
    assert rows.num_rows == 2 * 4 * STARS


def test_two_surveys_at_once_the_second_says_so(place):
    hold = "import sys\nfrom opticam_dask.tables.lock import held\nwith held(sys.argv[1], 'survey'):\n"
    hold += "    print('held', flush=True)\n    sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(place / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=rf"survey \(process {process.pid}"):
            survey(place / "root", place / "out").run()
        with pytest.raises(BusyError):
            vacuum(place / "out", dry_run=True)
    finally:
        process.communicate()


def test_nights_that_are_gone_are_told_and_kept(place, frames):
    shutil.rmtree(place / "root" / "mixed")
    before = contents(place / "out" / "lcs")
    one = survey(place / "root", place / "out")
    report = one.run()
    assert report.gone == (FIRST, SECOND)
    assert contents(place / "out" / "lcs") == before
    ledger = one.ledger.set_index("night")
    assert set(ledger.loc[FIRST]["status"]) == {"gone"}
    assert set(ledger.loc[THIRD]["status"]) == {"reduced"}
    assert set(ledger.loc[FIRST]["used"]) == {4}
    assert vacuum(place / "out", dry_run=True, gone=True)
    assert contents(place / "out" / "lcs") == before
    # they come back as they were: nothing to do
    put(frames, FIRST, place / "root" / "mixed")
    put(frames, SECOND, place / "root" / "mixed")
    assert one.plan() == []
    assert one.run().gone == ()
    assert set(one.ledger.set_index("night").loc[FIRST]["status"]) == {"reduced"}


def test_vacuum_removes_gone_nights_only_if_asked(place):
    shutil.rmtree(place / "root" / "mixed")
    one = survey(place / "root", place / "out")
    one.run()
    vacuum(place / "out")
    assert (place / "out" / "nights" / FIRST / "frames.parquet").is_file()
    vacuum(place / "out", gone=True)
    assert sorted(path.name for path in (place / "out" / "nights").iterdir()) == [THIRD]
    assert set(rows_of(place / "out")["night"]) == {THIRD}
    assert list(Inventory.load(place / "out").nights) == [THIRD]
    assert set(one.ledger["night"]) == {"", THIRD}


def test_vacuum_says_what_it_frees_and_loses_no_row(place, reduced):
    out = place / "out"
    (out / "lcs" / LABEL / ".part.parquet.1.tmp").write_bytes(b"x" * 10)
    before, rows = tree_of(out), rows_of(out)
    told = vacuum(out, dry_run=True)
    assert tree_of(out) == before
    assert [one.why for one in told] == ["never finished"] + ["published"] * 3
    own = [out / "nights" / night / "lcs" / LABEL / "light_curves" for night in GOOD]
    assert [one.path for one in told[1:]] == own
    bytes_of = [sum(path.stat().st_size for path in folder.rglob("*.parquet")) for folder in own]
    assert [one.size for one in told] == [10, *bytes_of]
    assert vacuum(out) == told
    assert not any(folder.exists() for folder in own)
    pd.testing.assert_frame_equal(rows_of(out), rows)
    assert vacuum(out) == []
    assert survey(place / "root", out).plan() == []


def test_vacuum_keeps_what_is_not_published_as_it_should_be(place):
    out = place / "out"
    root = dataset_root(out, LABEL)
    (key,) = parts_in(root, SECOND, "2:r")
    part_path(root, key).unlink()
    kept = out / "nights" / SECOND / "lcs" / LABEL / "light_curves"
    assert kept not in [one.path for one in vacuum(out)]
    assert parts_in(kept, SECOND, "2:r")


def test_ids_that_become_known_later_are_published_from_what_is_published(place, reduced, monkeypatch):
    """A night whose own rows were freed is published again with its new IDs."""
    from opticam_dask.matching import Master

    out = place / "out"
    vacuum(out)
    before = rows_of(out)
    real = Master.ids
    monkeypatch.setattr(
        Master, "ids", lambda self, *key: {n: f"X{name}" for n, name in real(self, *key).items()}
    )
    known = Inventory.load(out)
    record = known.nights[SECOND]
    record.made.pop("ids")
    known.save(out)
    one = survey(place / "root", out)
    (plan,) = one.plan()
    assert (plan.night, plan.labels) == (SECOND, ())
    one.run()
    assert reduced == []
    after = rows_of(out)
    changed = after["object_id"] != before["object_id"]
    assert set(after[changed]["night"]) == {SECOND}
    assert (after[changed]["object_id"] == "X" + before[changed]["object_id"]).all()
    columns = [name for name in before if name != "object_id"]
    pd.testing.assert_frame_equal(after[columns], before[columns])


def test_compact_merges_parts_of_the_dataset_and_keeps_the_ids(place):
    out = place / "out"
    root = dataset_root(out, LABEL)
    (key,) = parts_in(root, FIRST, "1:g")
    rows, before = pq.read_table(part_path(root, key), partitioning=None), rows_of(out)
    from opticam_dask.tables.records import PartRecord, read_record

    made_of = read_record(part_path(root, key)).made_of
    part_path(root, key).unlink()
    for start, stop in ((0, 3), (3, 4)):
        frame = rows["frame"].to_numpy()
        some = rows.filter(pa.array((frame >= start) & (frame < stop))).replace_schema_metadata(None)
        piece = (FIRST, "1:g", start, stop)
        write_rows(PartRecord.of(some, piece, made_of).attached(some), part_path(root, piece))
    (one,) = opticam.compact(out)
    assert (one.before, one.after, one.reason) == (2, 1, "")
    pd.testing.assert_frame_equal(rows_of(out), before)
    assert survey(place / "root", out).plan() == []


def test_verify_finds_what_is_not_as_it_was_written_and_the_next_run_makes_it_again(place, done, reduced):
    out = place / "out"
    assert verify_survey(out) == []
    root = dataset_root(out, LABEL)
    (key,) = parts_in(root, SECOND, "2:r")
    part_path(root, key).write_bytes(b"torn")
    findings = verify_survey(out)
    assert {one.kind for one in findings} >= {"torn"}
    assert repair(findings) == [part_path(root, key)]
    assert repair_survey(out) == [SECOND]
    one = survey(place / "root", out)
    assert one.run().reduced == (SECOND,)
    assert verify_survey(out) == []
    assert contents(out / "lcs") == contents(done / "out" / "lcs")


def run_cli(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["opticam-dask", *map(str, words)])
    try:
        main()
    except SystemExit as error:
        return error.code
    return 0


def test_the_command_says_what_it_would_do_and_prints_the_ledger(place, frames, monkeypatch, capsys):
    put(frames, BAD, place / "root" / "new")
    code = run_cli(monkeypatch, "survey", place / "root", place / "out", "--dry-run")
    assert (code, capsys.readouterr().out) == (0, f"{BAD}: measure {LABEL} (new)\n1 nights to do\n")
    assert run_cli(monkeypatch, "survey", "--ledger", place / "out") == 0
    told = capsys.readouterr().out
    assert re.search(rf"{SECOND} +2:r +reduced +4 +4", told)
    assert "no date" in told


def test_the_ledger_is_printed_with_clouds_and_what_is_outdated(place, monkeypatch, capsys):
    ledger = read_ledger(place / "out")
    chosen = (ledger["night"] == SECOND) & (ledger["camera"] == "1:g")
    ledger.loc[chosen, ["extinction", "outdated_for"]] = 1.5, "56 rows of 'a': why"
    update_ledger(place / "out", {SECOND: ledger[ledger["night"] == SECOND]})
    assert run_cli(monkeypatch, "survey", "--ledger", place / "out") == 0
    told = capsys.readouterr().out
    assert f"{SECOND} 1:g: cloudy: its stars are 1.50 mag fainter than in clear nights\n" in told
    assert f"{SECOND} 1:g: 56 rows of 'a': why\n" in told
    assert told.count("cloudy") == 1


def test_the_command_ends_with_a_code_of_its_own_if_a_night_fails(place, frames, monkeypatch, capsys):
    put(frames, BAD, place / "root" / "new")
    code = run_cli(monkeypatch, "survey", place / "root", place / "out", "--no-figures")
    assert code == PARTLY_DONE
    assert f"1 failed or excluded: {BAD}" in capsys.readouterr().out


def test_the_command_frees_space(place, monkeypatch, capsys):
    assert run_cli(monkeypatch, "vacuum", place / "out", "--dry-run") == 0
    assert re.search(r"^\d+ bytes in 3 places would be freed$", capsys.readouterr().out, re.MULTILINE)


def test_an_object_on_the_command_line(done, monkeypatch, capsys):
    name = rows_of(done / "out")["object_id"].iloc[0]
    assert run_cli(monkeypatch, "light-curve", done / "out", "--object", name, "--night", FIRST) == 0
    assert capsys.readouterr().out.count(f",{name}") == 8


def test_a_root_without_frames_is_told(tmp_path):
    (tmp_path / "root").mkdir()
    with pytest.raises(InputError, match="no FITS file and no store"):
        survey(tmp_path / "root", tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


def change(place, night_folder="b"):
    path = next((place / "root" / night_folder).glob("*.fit"))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


@pytest.mark.parametrize(
    ("error", "status", "why"),
    [
        (CatalogError("no star is found"), "excluded", "gives no light curves now"),
        (RuntimeError("the disk sneezed"), "failed", "its reduction failed since"),
    ],
    ids=["excluded", "failed"],
)
def test_rows_of_a_night_that_changed_and_gives_nothing_are_kept_and_told(
    place, monkeypatch, error, status, why
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(work, "reduce_night", fail)
    out, before = place / "out", rows_of(place / "out")
    change(place)
    one = survey(place / "root", out)
    assert list(one.run().failed) == [THIRD]
    pd.testing.assert_frame_equal(rows_of(out), before)
    ledger = one.ledger.set_index("night")
    assert ledger.loc[THIRD]["status"].unique().tolist() == [status]
    assert ledger.loc[THIRD]["outdated"].tolist() == [4 * STARS] * 2
    assert ledger.loc[THIRD]["outdated_for"].str.contains(rf"'{LABEL}'.*{why}").all()
    assert (ledger.loc[SECOND]["outdated"] == 0).all()
    assert f"keeps {4 * STARS} rows of '{LABEL}'" in (out / "survey.log").read_text()
    with pytest.warns(OutdatedRowsWarning, match=rf"{THIRD}: .*{why}"):
        light_curve(out, camera="1:g", source=1)
    light_curve(out, camera="1:g", source=1, night=SECOND)
    assert verify_survey(out) == []
    assert [found for found in vacuum(out, dry_run=True) if THIRD in str(found.path.relative_to(out))] == []
    gone = vacuum(out, outdated=True)
    assert sum(f"night={THIRD}" in str(found.path) for found in gone) == 2
    assert set(rows_of(out)["night"]) == {FIRST, SECOND}
    assert (one.ledger["outdated"] == 0).all()
    light_curve(out, camera="1:g", source=1)


def test_light_curves_not_asked_for_again_with_new_catalogues_are_told(place, reduced):
    out, other = place / "out", "other"
    shutil.copytree(out / "lcs" / LABEL, out / "lcs" / other)
    known = Inventory.load(out)
    for record in known.nights.values():
        record.made[f"photometry.{other}"] = "1"
    known.save(out)
    one = survey(place / "root", out, threshold=6.0)
    assert one.run([FIRST], overwrite=True).reduced == (FIRST,)
    ledger = one.ledger.set_index("night")
    assert ledger.loc[FIRST]["outdated"].tolist() == [4 * STARS] * 2
    assert ledger.loc[FIRST]["outdated_for"].str.contains("not asked for again").all()
    assert set(outdated_nights(dataset_root(out, other))) == {FIRST}
    assert outdated_nights(dataset_root(out, LABEL)) == {}
    with pytest.warns(OutdatedRowsWarning, match=FIRST):
        open_light_curves(out, other)
    vacuum(out, outdated=True)
    left = pyarrow.dataset.dataset(dataset_root(out, other), partitioning="hive").to_table().to_pandas()
    assert set(left["night"]) == {SECOND, THIRD}
    assert set(rows_of(out)["night"]) == set(GOOD)

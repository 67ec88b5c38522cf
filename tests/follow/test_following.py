"""A night followed as its frames arrive: every frame once, its true flux, and what is said of the rest."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from distributed import Client, LocalCluster

import opticam_dask as opticam
from opticam_dask.errors import BusyError, InputError, SettingsChangedError
from opticam_dask.follow import FollowReport, Live, Reduction, follow
from opticam_dask.follow.run import require_frames
from opticam_dask.follow.state import refuse_followed
from opticam_dask.schema import LIGHT_CURVE_KEY
from opticam_dask.simulate import CameraSetup
from opticam_dask.tables.digest import digest
from opticam_dask.tables.parts import existing_parts, part_path
from opticam_dask.tables.records import read_record
from opticam_dask.tables.store import dataset_root, labels

_spec = importlib.util.spec_from_file_location("arriving", Path(__file__).with_name("arriving.py"))
assert _spec is not None
assert _spec.loader is not None
arriving = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(arriving)

N_FRAMES = 24


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=N_FRAMES,
        shape=(121, 133),
        n_stars=6,
        flux_range=(5e3, 5e4),
        min_separation_px=15.0,
        semimajor_sigma=1.9,
        semiminor_sigma=1.5,
        orientation=30.0,
        drift_px_per_hour=(900.0, 400.0),
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        compression="none",
        pointing=(83.6, 22.0),
        seed=5,
    )
    opticam.simulate_night(scene, folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "arriving"
    path.mkdir()
    return path


def frames_of(night: Path) -> list[Path]:
    return sorted(night.glob("*.fit"))


def forced() -> opticam.AperturePhotometer:
    return opticam.AperturePhotometer(forced=True)


def live(**changes: Any) -> Live:
    return Live(**{"quiet_time": 0.7, "catalog_after": 8, "poll_s": 0.1, "export_csv": False} | changes)


def run(folder: Path, out: Path, **changes: Any) -> FollowReport:
    options = {
        name: changes.pop(name) for name in ("reduction", "overwrite", "photometer") if name in changes
    }
    photometer = options.pop("photometer", forced())
    return follow(out, folder, photometer, live=live(**changes), verbose=False, **options)


def meanwhile(work: Callable[[], object]) -> Thread:
    thread = Thread(target=work)
    thread.start()
    return thread


def measured(out: Path) -> int:
    """Frames measured, as the status tells while a night goes on."""
    path = out / "follow" / "status.json"
    return int(json.loads(path.read_text())["measured"]) if path.exists() else 0


def made_of(out: Path) -> set[str]:
    """Digests in the records of all parts."""
    (label,) = labels(out)
    root = dataset_root(out, label)
    records = [read_record(part_path(root, key)) for key in existing_parts(root)]
    return {record.made_of if record else "none" for record in records}


def settings_of(out: Path) -> dict[str, Any]:
    """Settings of the light curves."""
    (label,) = labels(out)
    found: dict[str, Any] = json.loads((out / "lcs" / label / "settings.json").read_text())
    return found


def index(out: Path) -> pd.DataFrame:
    frames = pd.read_parquet(out / "frames.parquet")
    return frames.assign(file=[Path(path).name for path in frames["path"]])


def curves(out: Path) -> pd.DataFrame:
    rows: pd.DataFrame = opticam.open_light_curves(out).compute()
    return rows.sort_values(list(LIGHT_CURVE_KEY), ignore_index=True)


def with_files(out: Path) -> pd.DataFrame:
    """Light-curve rows with the file of each frame: numbers may differ between two ways, files do not."""
    frames = index(out)[["night", "camera", "frame", "file"]]
    return curves(out).merge(frames, on=["night", "camera", "frame"])


def assert_complete(out: Path, night: Path) -> None:
    """Every frame of every camera has each source once, numbers have no gap, fluxes are the true ones."""
    good = index(out).query("status == 'accepted'")
    assert sorted(good["file"]) == [path.name for path in frames_of(night)]
    assert not good.duplicated(["night", "camera", "frame"]).any()
    for _, some in good.groupby(["night", "camera"]):
        assert sorted(some["frame"]) == list(range(len(some)))
    rows = with_files(out)
    assert not rows.duplicated(list(LIGHT_CURVE_KEY)).any()
    assert (rows.groupby(["camera", "source"]).size() == N_FRAMES).all()
    assert rows.groupby("camera")["source"].nunique().tolist() == [6, 6]
    pulls = pulls_of(rows, night)
    assert len(pulls) == len(rows)
    assert abs(pulls.mean()) < 0.3
    assert 0.8 < pulls.std() < 1.25
    assert pulls.abs().max() < 5.0


def pulls_of(rows: pd.DataFrame, night: Path) -> pd.Series:
    truth = pd.read_parquet(night / "truth.parquet", columns=["camera", "file", "x", "y", "flux"])
    truth = truth.rename(columns={"x": "true_x", "y": "true_y", "flux": "true"})
    both = rows.merge(truth, on=["camera", "file"])
    both = both[np.hypot(both["x"] - both["true_x"], both["y"] - both["true_y"]) < 2.0]
    return (both["flux"] - both["true"]) / both["flux_err"]


def test_frames_that_arrive_in_all_ways_are_measured_once_each(
    night: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def observe() -> None:
        arriving.bring(frames_of(night), folder, every_s=0.01, seed=3)
        wait_for(lambda: measured(out) == 2 * N_FRAMES)
        os.kill(os.getpid(), signal.SIGINT)

    observer = meanwhile(observe)
    report = run(folder, out, quiet_time="1h")
    observer.join()
    assert (report.ended, report.measured, report.rejected) == ("interrupted", 2 * N_FRAMES, 0)
    assert report.waiting == 0
    assert not report.incomplete
    assert_complete(tmp_path / "out", night)
    # parts say what they were made with
    assert made_of(out) == {digest(settings_of(out))}


def test_of_a_whole_night_it_makes_what_a_plain_reduction_makes(night: Path, tmp_path: Path) -> None:
    run(night, tmp_path / "followed", catalog_after=N_FRAMES)
    plain = opticam.Reducer(tmp_path / "plain", night, verbose=False, show_plots=False, figures=False)
    plain.create_catalogs()
    plain.photometry(forced(), export_csv=False)
    pd.testing.assert_frame_equal(curves(tmp_path / "followed"), curves(tmp_path / "plain"))
    for name in ("frames.parquet", "alignment.parquet"):
        ours, theirs = (pd.read_parquet(tmp_path / way / name) for way in ("followed", "plain"))
        pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.slow
def test_with_the_catalogue_of_the_first_frames_fluxes_hardly_differ(
    night: Path, folder: Path, tmp_path: Path
) -> None:
    for path in frames_of(night):
        if int(path.name[7:16]) - 200_000_000 < 10:
            arriving.whole(path, folder)
    assert run(folder, tmp_path / "out", catalog_after=10).measured == 20
    for path in frames_of(night):
        arriving.whole(path, folder)
    run(folder, tmp_path / "out", catalog_after=10)
    plain = opticam.Reducer(tmp_path / "plain", folder, verbose=False, show_plots=False, figures=False)
    plain.create_catalogs()
    plain.photometry(forced(), export_csv=False)
    both = with_files(tmp_path / "out").merge(
        with_files(tmp_path / "plain"), on=["camera", "file", "source"], suffixes=("", "_plain")
    )
    assert len(both) == 2 * N_FRAMES * 6
    assert (np.hypot(both["x"] - both["x_plain"], both["y"] - both["y_plain"]) < 0.1).all()
    assert (np.abs(both["flux"] - both["flux_plain"]) < 0.3 * both["flux_err"]).all()
    assert_complete(tmp_path / "out", night)


def test_late_frames_get_numbers_after_those_that_were_given(
    night: Path, folder: Path, tmp_path: Path
) -> None:
    files = [path for path in frames_of(night) if "g" in path.name]
    for path in [*files[:10], *files[12:]]:
        arriving.whole(path, folder)
    run(folder, tmp_path / "out")
    before = curves(tmp_path / "out")
    for path in files[10:12]:
        arriving.whole(path, folder)
    run(folder, tmp_path / "out")
    after = curves(tmp_path / "out")
    kept = after[after["frame"] < N_FRAMES - 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before)
    frames = index(tmp_path / "out").set_index("file").loc[[path.name for path in files[10:12]]]
    assert frames["frame"].tolist() == [N_FRAMES - 2, N_FRAMES - 1]
    assert frames["notes"].str.contains("came after later frames").all()
    curve = opticam.light_curve(tmp_path / "out", camera="1:g", source=1)
    assert curve["MJD"].is_monotonic_increasing
    assert len(curve) == N_FRAMES


def test_what_is_no_frame_or_never_complete_is_told_and_costs_only_itself(
    night: Path, folder: Path, tmp_path: Path
) -> None:
    files = frames_of(night)
    for path in files:
        arriving.whole(path, folder)
    next(arriving.never(files[0], folder / ".."))
    (tmp_path / files[0].name).rename(folder / "half.fits")
    (folder / "notes.fits").write_text("no frame at all")
    (folder / "notes.txt").write_text("no frame at all")
    header = fits.getheader(files[0])
    header["IMGTYPE"] = "flat"
    fits.writeto(folder / "flat.fits", fits.getdata(files[0]), header)
    report = run(folder, tmp_path / "out")
    assert report.measured == 2 * N_FRAMES
    assert report.rejected == 1
    assert sorted(Path(path).name for path in report.incomplete) == ["half.fits", "notes.fits"]
    bad = index(tmp_path / "out").query("status == 'rejected'").set_index("file")["reason"]
    assert bad["half.fits"].startswith("truncated: the data need")
    assert "not a FITS file" in bad["notes.fits"]
    assert "flat" in bad["flat.fits"]
    shutil.copyfile(files[0], folder / "half.fits")
    assert run(folder, tmp_path / "out").measured == 2 * N_FRAMES + 1


@pytest.mark.slow
def test_a_camera_may_come_late_and_another_show_no_star(night: Path, folder: Path, tmp_path: Path) -> None:
    green = [path for path in frames_of(night) if "g" in path.name]
    for path in green:
        header, rng = fits.getheader(path), np.random.default_rng(len(path.name))
        arriving.whole(path, folder)
        blank = rng.poisson(100.0, (121, 133)).astype(np.uint16)
        header["FILTER"] = "i"
        fits.writeto(folder / path.name.replace("g", "i"), blank, header)
    red = [path for path in frames_of(night) if "r2" in path.name]
    report = run(folder, tmp_path / "out")
    assert report.measured == N_FRAMES
    assert report.waiting == N_FRAMES
    alignment = pd.read_parquet(tmp_path / "out" / "alignment.parquet")
    lost = alignment[alignment["camera"].str.endswith(":i")]
    assert len(lost) == N_FRAMES
    assert lost["reason"].str.startswith("no catalogue: ").all()
    for path in red:
        arriving.whole(path, folder)
    assert run(folder, tmp_path / "out").measured == 2 * N_FRAMES
    assert sorted(curves(tmp_path / "out")["camera"].unique()) == ["1:g", "2:r"]


@pytest.mark.slow
def test_a_plain_reduction_takes_its_place_only_when_told_to(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(night, out)
    with pytest.raises(SettingsChangedError, match=r"--follow.*--overwrite"):
        refuse_followed(out, overwrite=False)
    reducer = opticam.Reducer(out, night, verbose=False, show_plots=False, figures=False)
    with pytest.raises(SettingsChangedError, match="catalogues of the first frames"):
        reducer.create_catalogs()
    assert run(night, out).measured == 2 * N_FRAMES  # the frame index that was scanned meanwhile does no harm
    refuse_followed(out, overwrite=True)
    reducer.create_catalogs(overwrite=True)
    followed = made_of(out)
    reducer.photometry(forced(), overwrite=True, export_csv=False)
    assert made_of(out) == {digest(settings_of(out))}
    assert made_of(out).isdisjoint(followed)
    with pytest.raises(SettingsChangedError, match="holds a reduction of a whole night"):
        run(night, out)
    assert run(night, out, overwrite=True).measured == 2 * N_FRAMES
    assert_complete(out, night)


@pytest.mark.slow
def test_other_settings_are_refused_by_name(night: Path, tmp_path: Path) -> None:
    run(night, tmp_path)
    with pytest.raises(SettingsChangedError, match=r"threshold: 5 -> 6"):
        run(night, tmp_path, reduction=Reduction(threshold=6.0))
    assert run(night, tmp_path, reduction=Reduction(threshold=6.0), overwrite=True).measured == 2 * N_FRAMES


@pytest.mark.slow
def test_a_second_photometer_measures_the_frames_that_came_before(night: Path, tmp_path: Path) -> None:
    run(night, tmp_path)
    run(night, tmp_path, photometer=[forced(), opticam.OptimalPhotometer(forced=True)])
    both = [opticam.open_light_curves(tmp_path, label=label).compute() for label in labels(tmp_path)]
    assert [len(rows) for rows in both] == [2 * N_FRAMES * 6] * 2


def test_two_at_once_are_refused_and_an_empty_night_ends(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "out"
    report = run(folder, out, quiet_time=0.3)
    assert (report.ended, report.measured) == ("quiet", 0)
    with pytest.raises(InputError, match="no frame was measured"):
        require_frames(report)
    code = f"from opticam_dask.tables.lock import held\nwith held({str(out)!r}): input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as other:
        wait_for(lambda: (out / ".opticam.lock").exists())
        with pytest.raises(BusyError):
            run(folder, out)
        other.communicate(b"\n")


def wait_for(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.05)
    raise TimeoutError


@pytest.mark.slow
def test_light_curves_csv_and_figure_are_there_while_it_goes_on(
    night: Path, folder: Path, tmp_path: Path
) -> None:
    for path in frames_of(night):
        arriving.whole(path, folder)
    picture = tmp_path / "live.png"
    run(folder, tmp_path / "out", plot=picture, source=2, export_csv=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
    csv = pd.read_csv(tmp_path / "out" / "lcs" / "forced_aperture" / "1:g_source_2.csv")
    assert len(csv) == N_FRAMES

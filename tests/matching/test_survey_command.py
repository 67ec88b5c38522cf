"""The survey command on nights of all kinds: the same star has one ID, whatever the order of the nights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from opticam_dask.catalog.store import load_catalogs
from opticam_dask.io.frame_index import accepted, read_frames
from opticam_dask.matching import Master
from opticam_dask.simulate.survey import SimulatedSurvey, simulate_survey
from opticam_dask.survey import read_ledger

NIGHTS = 7
COMMAND = "from opticam_dask.cli import main; main()"
COPYING = """
import shutil, sys
from pathlib import Path
from opticam_dask.survey import work

made = Path(sys.argv.pop(1)) / "nights"

def copied(night, out, *_, **__):
    tree = out / "nights" / night
    frames = (tree / "frames.parquet").read_bytes()
    shutil.copytree(made / night, tree, dirs_exist_ok=True)
    (tree / "frames.parquet").write_bytes(frames)

work.reduce_night = copied
from opticam_dask.cli import main
main()
"""
"""The command, which takes the reduction of single nights from another output directory."""


def survey(code: str, *words: str | Path) -> str:
    """Run the command; returns what it says."""
    last = words[-2:]
    call = [sys.executable, "-c", code, *map(str, words[:-2]), "survey", *map(str, last)]
    more = ["--no-figures", "--cluster", "threads", "--workers", "2"]
    return subprocess.run([*call, *more], capture_output=True, text=True, check=True).stdout


def stars_of(
    simulated: SimulatedSurvey, night: str, field: int, out: Path
) -> dict[tuple[str, str, int], tuple[object, ...]]:
    """Star of each source of a night, by the truth of its reference frames; what is no star is alone."""
    tree, found = out / "nights" / night, {}
    frames, truth = accepted(read_frames(tree / "frames.parquet")), pd.read_parquet(simulated.truth(night))
    for camera, catalog in load_catalogs(tree).items():
        own = (frames["camera"] == camera) & (frames["frame"] == catalog.reference_frame[2])
        stars = truth[truth["file"] == Path(frames[own]["path"].iloc[0]).name]
        for source, place in zip(catalog.table["source"].tolist(), catalog.xy, strict=True):
            distance = np.hypot(*(stars[["x", "y"]].to_numpy() - place).T)
            near, key = int(distance.argmin()), (night, camera, source)
            found[key] = (field, int(stars["star"].iloc[near])) if distance[near] < 2.0 else key
    return found


def ids_in(master: Master) -> dict[tuple[str, str, int], str]:
    """ID of each source that has one."""
    rows = master.sightings[master.sightings["object_id"] != ""]
    keys = zip(rows["night"], rows["camera"], rows["source"], strict=True)
    return dict(zip(keys, rows["object_id"], strict=True))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nights_in_any_order_and_in_several_goes_give_the_same_stars(tmp_path, pair_counts, partition):
    simulated = simulate_survey(tmp_path / "data", NIGHTS, n_frames=3)
    out, later = tmp_path / "out", tmp_path / "later"
    told = survey(COMMAND, simulated.directory, out)
    assert f"{NIGHTS} nights reduced; 0 unchanged" in told
    master, truth = Master.load(out), {}
    for night, field in zip(simulated.nights, simulated.fields, strict=True):
        truth |= stars_of(simulated, night, field, out)
    assert len(master.catalogs) == 3 * NIGHTS - 1
    right, belong, put = pair_counts(master, truth)
    assert right / belong >= 0.99
    assert right / put >= 0.99
    assert len(master.fields) == 2

    ledger = read_ledger(out).set_index("night")["extinction"]
    assert ledger[simulated.cloudy].to_numpy() == pytest.approx(1.5, abs=0.05)
    clear = set(simulated.nights[:4]) - {simulated.cloudy}
    assert ledger[sorted(clear)].abs().max() < 0.05

    order, before = np.random.default_rng(2).permutation(NIGHTS), dict[tuple[str, str, int], str]()
    for start, stop in ((0, 3), (3, 4), (4, NIGHTS)):
        for number in order[start:stop]:
            night = simulated.nights[number]
            shutil.copytree(simulated.directory / night, tmp_path / "root" / night)
        told = survey(COPYING, out, tmp_path / "root", later)
        assert f"{stop - start} nights reduced; {start} unchanged" in told
        now = ids_in(Master.load(later))
        assert before.items() <= now.items()
        before = now
    assert partition(Master.load(later)) == partition(master)

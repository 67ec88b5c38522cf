"""The pieces of follow mode: its log, its rules, its plans on disk, its requests to stop."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from opticam_dask.catalog.ensemble import Ensemble
from opticam_dask.catalog.fixing import TrackingPlan
from opticam_dask.catalog.model import AlignmentConfig
from opticam_dask.catalog.order import FrameOrder
from opticam_dask.errors import InputError
from opticam_dask.follow.log import FollowLog, alignment_in, frames_in
from opticam_dask.follow.pace import Paced
from opticam_dask.follow.plans import load_plan, no_track, save_plan
from opticam_dask.follow.queues import BATCH, Queue
from opticam_dask.follow.settings import CatalogAfter, Live, seconds_of
from opticam_dask.follow.stopping import stoppable
from opticam_dask.schema import ALIGNMENT, FRAMES


def table(schema: pa.Schema, rows: list[dict[str, object]]) -> pd.DataFrame:
    defaults = {"string": "", "double": np.nan, "int32": 0, "int64": 0}
    names = [(field.name, defaults[str(field.type)]) for field in schema]
    return pd.DataFrame([{name: row.get(name, value) for name, value in names} for row in rows])


def batch(start: int, stop: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accepted frames and, before them, one that was rejected."""
    rows = [
        {"night": "n", "camera": "1:g", "frame": i, "path": f"{i}.fits", "MJD": 0.1 * i}
        for i in range(start, stop)
    ]
    bad = {"path": f"bad{start}.fits", "frame": -1, "status": "rejected", "reason": "dark"}
    frames = table(FRAMES, [bad, *({**row, "status": "accepted"} for row in rows)])
    aligned = [{**row, "n_matched": 7, "cloud": np.inf, "status": "aligned"} for row in reversed(rows)]
    return frames, table(ALIGNMENT, aligned)


def test_the_log_gives_back_its_batches_in_order_however_they_are_joined(tmp_path: Path) -> None:
    log = FollowLog(tmp_path)
    for number in range(11):
        assert log.append(*batch(3 * number, 3 * number + 3)) == number + 1
        log.join(least=3)
    assert len(list(tmp_path.iterdir())) < 6
    again = FollowLog(tmp_path)
    assert again.last == 11
    frames, alignment = frames_in(again.read()), alignment_in(again.read())
    assert frames["batch"].tolist() == np.repeat(np.arange(1, 12), 4).tolist()
    assert frames[frames["status"] == "accepted"]["frame"].tolist() == list(range(33))
    assert alignment["frame"].tolist() == list(range(33))
    assert (alignment["cloud"] == np.inf).all()
    assert alignment["n_matched"].dtype == np.int32
    assert frames[frames["frame"] == -1]["reason"].tolist() == ["dark"] * 11


def test_what_a_stop_while_joining_leaves_counts_once(tmp_path: Path) -> None:
    log = FollowLog(tmp_path)
    for number in range(3):
        log.append(*batch(number, number + 1))
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    log.join(least=3)
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".batches-00000004-00000004.parquet.x.tmp").write_bytes(b"half")
    again = FollowLog(tmp_path)
    assert again.last == 3
    assert alignment_in(again.read())["frame"].tolist() == [0, 1, 2]


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "batches-00000001-00000001.parquet").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"batches-00000001-00000001.parquet: cannot be read"):
        FollowLog(tmp_path).read()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), (1.5, 1.5), ("90s", 90.0), ("5min", 300.0), ("2 h", 7200.0), (".5m", 30.0)],
)
def test_times_as_people_write_them(text: str | float, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "soon", "5 days", "1e3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no time"):
        seconds_of(text)


def test_when_a_catalogue_is_due() -> None:
    assert CatalogAfter.of("50") == CatalogAfter(50, np.inf)
    assert CatalogAfter.of("2min") == CatalogAfter(np.inf, 120.0)
    both = CatalogAfter.of("50,60s")
    assert [both.reached(*now) for now in ((50, 0.0), (49, 59.0), (3, 60.0), (2, 99.0))] == [
        True,
        False,
        True,
        False,
    ]
    with pytest.raises(InputError, match="needs 3 frames"):
        CatalogAfter.of(2)
    with pytest.raises(InputError, match="figure"):
        Live(plot=Path("star.txt"))
    with pytest.raises(InputError, match="is no time"):
        Live(quiet_time=0)


def test_after_a_failed_try_a_quarter_more_frames_are_awaited_and_half_the_first_must_align() -> None:
    queue = Queue()
    for frame in range(40):
        queue.add(batch(frame, frame + 1)[0].iloc[1:], seen=5.0)
    assert queue.is_due(CatalogAfter(40, np.inf), 6.0)
    assert len(queue.for_catalog()) == 40
    assert not queue.is_due(CatalogAfter(40, np.inf), 6.0)
    for frame in range(40, 50):
        queue.add(batch(frame, frame + 1)[0].iloc[1:], seen=7.0)
    assert queue.is_due(CatalogAfter(40, np.inf), 8.0)
    assert queue.least_aligned() == 20
    queue.drop(queue.rows[queue.rows["frame"] < 45])
    assert queue.rows["frame"].tolist() == [45, 46, 47, 48, 49]


def test_frames_of_one_file_are_taken_together() -> None:
    queue, rows = Queue(), batch(0, BATCH + 50)[0].iloc[1:]
    queue.add(rows.assign(path=["cube.fits"] * 3 + [f"{i}.fits" for i in range(len(rows) - 3)]), seen=0.0)
    assert len(queue.take()) == BATCH
    queue.rows = queue.rows.assign(path="cube.fits")
    assert len(queue.take()) == BATCH + 50


def test_a_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    stars = np.zeros(4, [("x", "f8"), ("flux", "f8")])
    stars["x"] = rng.normal(size=4)
    plan = TrackingPlan(
        shape=(67, 91),
        config=AlignmentConfig(translation_limit=[3.0, 4.0]),
        order=FrameOrder({"n": 3}),
        stars=stars,
        chosen=np.array([2, 0, 1]),
        ensemble=Ensemble(rng.normal(size=(3, 2)), rng.normal(size=3), np.array([True, False, True, True])),
        sigma=0.1 + 0.2,
        noise=1.0 / 3.0,
        exposure=2.5,
        hot=np.array([5, 9]),
        track=no_track(),
        scale=2.0**20,
        limit=65536.0,
    )
    save_plan(tmp_path / "plan.npz", plan, {"layout": "67x91"})
    back, notes = load_plan(tmp_path / "plan.npz")
    assert notes == {"layout": "67x91"}
    for name in ("shape", "config", "sigma", "noise", "exposure", "scale", "limit"):
        assert getattr(back, name) == getattr(plan, name)
    for name in ("stars", "chosen", "hot"):
        np.testing.assert_array_equal(getattr(back, name), getattr(plan, name))
    for name in ("xy", "flux", "shapely"):
        np.testing.assert_array_equal(getattr(back.ensemble, name), getattr(plan.ensemble, name))
    (tmp_path / "plan.npz").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"plan.npz: cannot be read"):
        load_plan(tmp_path / "plan.npz")


def test_repeated_work_takes_a_tenth_of_the_time_at_most() -> None:
    now, calls = [0.0], list[float]()

    def work() -> None:
        calls.append(now[0])
        now[0] += 3.0

    paced = Paced(work, 5.0, clock=lambda: now[0])
    for _ in range(200):
        paced.changed()
        paced()
        now[0] += 1.0
    assert np.diff(calls).min() >= 33.0
    before = len(calls)
    paced.changed()
    paced(now=True)
    paced(now=True)
    assert len(calls) == before + 1


def test_the_first_signal_asks_for_an_end_and_the_second_means_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stoppable() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5.0)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before

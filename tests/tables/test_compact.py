"""Merging parts: the same table before, after, and whenever it is stopped."""

import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.errors import InputError
from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables import compact as compact_module
from opticam_dask.tables import swap
from opticam_dask.tables.compact import DamagedPartError, compact, compact_folder, merged_spans
from opticam_dask.tables.export_csv import export_camera
from opticam_dask.tables.parts import existing_parts, part_path, parts_in, write_part
from opticam_dask.tables.records import record_in
from opticam_dask.tables.row_sums import RowSum
from opticam_dask.tables.store import dataset_root, light_curve, provenance

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:DeprecationWarning")

NIGHT, CAMERA = "2024-01-01", "1:g"


def rows(night, camera, start, stop, sources):
    """Rows that depend on the frame alone, not on the part: noise, NaN, equal values."""
    frames = []
    for frame in range(start, stop):
        rng = np.random.default_rng([int(night[-2:]), int(camera[0]), frame])
        table = pd.DataFrame(rng.normal(size=(len(sources), 17)), columns=LIGHT_CURVES.names)
        table["source"], table["frame"] = sources, frame
        table["MJD"] = 60000.0 + int(night[-2:]) + frame * 1e-5
        frames.append(table)
    table = pd.concat(frames, ignore_index=True)
    table["night"], table["camera"], table["filter"] = night, camera, camera[2:]
    table["flags"] = np.where(table["flux"] < -1, 1 << 4, 0)
    table.loc[table["flux"] < -1, "flux"] = np.nan
    return pa.Table.from_pandas(table, schema=LIGHT_CURVES, preserve_index=False)


def fill(root, edges, *, night=NIGHT, camera=CAMERA, sources=(1, 2, 3)):
    """Write parts whose frames are cut at ``edges``; returns their rows."""
    written = []
    for start, stop in pairwise(edges):
        written.append(rows(night, camera, start, stop, list(sources)))
        write_part(written[-1], root, (night, camera, start, stop), {"version": "9"})
    return pa.concat_tables(written)


KEY = ["night", "camera", "source", "frame"]


@pytest.fixture
def root(tmp_path):
    return dataset_root(tmp_path, "optimal")


def contents(root):
    table = pyarrow.dataset.dataset(root, partitioning="hive").to_table().to_pandas()
    return table.sort_values(KEY, ignore_index=True)[sorted(table.columns)]


def files(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*.parquet")}


def test_the_table_is_the_same_and_a_camera_is_one_file(tmp_path, root):
    for night, camera in ((NIGHT, "1:g"), (NIGHT, "2:r"), ("2024-01-02", "1:g")):
        fill(root, [0, 4, 8, 10], night=night, camera=camera)
    before, curve = contents(root), light_curve(tmp_path, camera=CAMERA, source=2)
    csv = [p.read_bytes() for p in export_camera(root, tmp_path / "csv", CAMERA, [1, 3])]
    done = compact(tmp_path)
    assert [(one.before, one.after, one.rows, one.reason) for one in done] == [(3, 1, 30, "")] * 3
    assert existing_parts(root) == {
        (night, camera, 0, 10) for night, camera in ((NIGHT, "1:g"), (NIGHT, "2:r"), ("2024-01-02", "1:g"))
    }
    pd.testing.assert_frame_equal(contents(root), before)
    pd.testing.assert_frame_equal(light_curve(tmp_path, camera=CAMERA, source=2), curve)
    assert [p.read_bytes() for p in export_camera(root, tmp_path / "csv", CAMERA, [1, 3])] == csv
    assert [path.name for path in root.parent.iterdir()] == ["light_curves"]


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.sets(st.integers(1, 11), max_size=8), min_size=2, max_size=2))
def test_the_bytes_do_not_depend_on_the_parts(tmp_path_factory, cuts):
    found = []
    for cut in cuts:
        out = tmp_path_factory.mktemp("out")
        root = dataset_root(out, "optimal")
        fill(root, sorted({0, 12} | cut))
        compact(out)
        found.append(files(root))
    assert found[0] == found[1]
    assert len(found[0]) == 1


def test_a_long_night_is_cut_at_the_same_frames_whatever_its_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(compact_module, "_MOST_ROWS", 21)
    found = []
    for name, edges in (("a", [0, 5, 10, 15, 20]), ("b", [0, 3, 20]), ("c", list(range(21)))):
        root = dataset_root(tmp_path / name, "optimal")
        expected = fill(root, edges)
        assert compact(tmp_path / name)[0].after == 3
        assert sorted(key[2:] for key in existing_parts(root)) == [(0, 7), (7, 14), (14, 20)]
        assert len(contents(root)) == expected.num_rows
        found.append(files(root))
    assert found[0] == found[1] == found[2]


def test_compacting_again_touches_nothing_and_new_nights_leave_old_ones_alone(tmp_path, root):
    fill(root, [0, 4, 8])
    compact(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")}
    assert compact(tmp_path) == []
    fill(root, [0, 3, 6], night="2024-01-02")
    assert [one.night for one in compact(tmp_path)] == ["2024-01-02"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_frames_not_measured_yet_stay_a_gap(tmp_path, root):
    fill(root, [0, 2, 4])
    fill(root, [6, 8, 9])
    compact(tmp_path)
    assert sorted(key[2:] for key in existing_parts(root)) == [(0, 4), (6, 9)]
    fill(root, [4, 6])
    compact(tmp_path)
    assert sorted(key[2:] for key in existing_parts(root)) == [(0, 9)]
    assert list(light_curve(tmp_path, camera=CAMERA, source=1)["frame"]) == list(range(9))


def test_few_parts_are_left_alone_when_told(tmp_path, root):
    fill(root, [0, 2, 4])
    assert compact(tmp_path, least=3) == []
    assert len(existing_parts(root)) == 2


def test_provenance_names_every_version(tmp_path, root):
    fill(root, [0, 2, 4])
    fill(root, [4, 6], sources=(1, 2, 3))
    path = part_path(root, (NIGHT, CAMERA, 4, 6))
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.replace_schema_metadata({"version": "10"}), path)
    compact(tmp_path)
    schema = pq.read_schema(part_path(root, (NIGHT, CAMERA, 0, 6)))
    record = record_in(schema)
    assert record.key == (NIGHT, CAMERA, 0, 6)
    assert record.agrees(pq.read_table(path.with_name("part-00000000-00000006.parquet"), partitioning=None))
    assert provenance(root) == {"version": "10, 9"}
    assert schema.field("flux").metadata[b"unit"] == b"adu"


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-100], lambda b: b"", lambda b: b[:200] + b"\0" * 60 + b[260:]]
)
def test_a_damaged_part_costs_its_own_night_only(tmp_path, root, damage):
    fill(root, [0, 40, 80])
    fill(root, [0, 4, 8], night="2024-01-02")
    path = part_path(root, (NIGHT, CAMERA, 40, 80))
    path.write_bytes(damage(path.read_bytes()))
    before = files(root)
    one, other = compact(tmp_path)
    assert path.name in one.reason
    assert "run the photometry again" in one.reason
    assert (other.after, other.reason) == (1, "")
    assert {p: b for p, b in files(root).items() if NIGHT in str(p)} == {
        p: b for p, b in before.items() if NIGHT in str(p)
    }
    assert [p.name for p in root.parent.iterdir()] == ["light_curves"]


@pytest.mark.parametrize("spoil", ["lost", "doubled", "changed"])
def test_rows_that_went_wrong_on_the_way_are_noticed(tmp_path, root, monkeypatch, spoil):
    fill(root, [0, 4, 8])
    before = files(root)
    write = compact_module.write_rows

    def wrong(table, path):
        if spoil == "changed":
            flux = table.column("flux").to_numpy().copy()
            flux[[5, 6]] = flux[[6, 5]]
            at = table.column_names.index("flux")
            table = table.set_column(at, table.schema.field("flux"), pyarrow.array(flux))
        write(
            {"lost": table[1:], "doubled": pyarrow.concat_tables([table[:1], table])}.get(spoil, table), path
        )

    monkeypatch.setattr(compact_module, "write_rows", wrong)
    (one,) = compact(tmp_path)
    assert one.reason
    assert files(root) == before


def test_parts_that_overlap_are_not_merged(tmp_path, root):
    fill(root, [0, 4, 8])
    other = dataset_root(tmp_path / "elsewhere", "optimal")
    fill(other, [2, 6])  # nothing of ours writes it beside the others
    key = (NIGHT, CAMERA, 2, 6)
    shutil.copy(part_path(other, key), part_path(root, key))
    (one,) = compact(tmp_path)
    assert "overlap at frame 2" in one.reason


def test_a_sum_tells_rows_apart_and_not_their_order():
    table = rows(NIGHT, CAMERA, 0, 6, [1, 2, 3])
    shuffled = table.take(np.random.default_rng(1).permutation(table.num_rows))
    assert RowSum.of(table) == RowSum.of(shuffled) == RowSum.of(table[:5]) + RowSum.of(table[5:])
    assert RowSum.of(table[1:]) != RowSum.of(table)
    for name in ("flux", "x", "frame"):
        values = table.column(name).to_numpy().copy()
        values[[2, 3]] = values[[3, 2]] if name != "frame" else values[[2, 3]] + 1
        at = table.column_names.index(name)
        changed = table.set_column(at, table.schema.field(name), pyarrow.array(values))
        assert RowSum.of(changed) != RowSum.of(table), name


@given(
    start=st.integers(0, 50),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=9),
    per=st.integers(1, 9),
)
def test_spans_hold_the_frames_of_the_parts(start, lengths, per):
    edges = [start + sum(lengths[:i]) for i in range(len(lengths) + 1)]
    parts = [(NIGHT, CAMERA, a, b) for a, b in pairwise(edges)]
    spans = merged_spans(parts, per * (edges[-1] - start))
    assert (spans[0][2], spans[-1][3]) == (start, edges[-1])
    assert all(a[3] == b[2] for a, b in pairwise(spans))
    with pytest.raises(DamagedPartError):
        merged_spans([*parts, (NIGHT, CAMERA, edges[-1] - 1, edges[-1] + 1)], 100)


def test_no_label_of_that_name(tmp_path, root):
    fill(root, [0, 2])
    with pytest.raises(InputError, match="no label 'x'"):
        compact(tmp_path, label="x")


READERS = {
    "pandas": lambda root: len(pd.read_parquet(root)),
    "pyarrow": lambda root: pyarrow.dataset.dataset(root, partitioning="hive").count_rows(),
    "dask": lambda root: len(dd.read_parquet(root)),
    "duckdb": lambda root: duckdb.sql(f"SELECT count(*) FROM '{root}/**/*.parquet'").fetchall()[0][0],
    "polars": lambda root: len(pl.read_parquet(root)),
}


class Stop(BaseException):
    """Stands for the end of the process."""


def stopping(monkeypatch, at):
    """Let the process end just before the ``at``-th call that changes names on disk; lists the calls."""
    seen = []

    def before(call):
        def counted(*args, **options):
            seen.append(call)
            if len(seen) >= at:  # a process that ended does nothing more
                raise Stop
            return call(*args, **options)

        return counted

    for owner, name in (
        (Path, "rename"), (Path, "replace"), (Path, "mkdir"), (Path, "unlink"),
        (os, "unlink"), (os, "rmdir"), (swap, "exchanged"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, before(getattr(owner, name)))
    return seen


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_stopped_before_any_step_every_reader_finds_each_row_once(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(swap, "exchanged", lambda *_: False)
    for at in range(1, 60):
        root = dataset_root(tmp_path / str(at), "optimal")
        fill(root, [0, 3, 6, 8])
        expected = contents(root)
        with monkeypatch.context() as patch:
            seen = stopping(patch, at)
            try:
                compact_folder((NIGHT, CAMERA), root)
                ended = False
            except Stop:
                ended = True
        if exchange or existing_parts(root):
            # only between the two renames, where folders cannot be exchanged, are there no rows
            assert {name: read(root) for name, read in READERS.items()} == dict.fromkeys(READERS, 24), at
        swap.recover(root)
        pd.testing.assert_frame_equal(contents(root), expected)
        assert len(parts_in(root, NIGHT, CAMERA)) in (1, 3)
        compact(tmp_path / str(at))
        assert existing_parts(root) == {(NIGHT, CAMERA, 0, 8)}
        pd.testing.assert_frame_equal(contents(root), expected)
        assert [path.name for path in root.parent.iterdir()] == ["light_curves"]
        if not ended:
            assert len(seen) > 8
            return
    raise AssertionError("never came to an end")


def test_a_part_written_while_others_are_merged_is_kept(tmp_path, root, monkeypatch):
    fill(root, [0, 3, 6])
    checked = compact_module._checked
    monkeypatch.setattr(compact_module, "_checked", lambda path: fill(root, [6, 8]) and checked(path))
    compact(tmp_path)
    assert sorted(key[2:] for key in existing_parts(root)) == [(0, 6), (6, 8)]
    assert list(light_curve(tmp_path, camera=CAMERA, source=1)["frame"]) == list(range(8))


def test_merged_by_two_at_once_no_row_is_doubled(tmp_path, root, monkeypatch):
    fill(root, [0, 3, 6])
    expected = contents(root)
    checked = compact_module._checked

    def slow(path):
        monkeypatch.setattr(compact_module, "_checked", checked)
        monkeypatch.setattr(compact_module, "recover", lambda *_: None)
        compact_folder((NIGHT, CAMERA), root)
        fill(root, [6, 8])
        return checked(path)

    monkeypatch.setattr(compact_module, "_checked", slow)
    compact(tmp_path)
    assert sorted(key[2:] for key in existing_parts(root)) == [(0, 6), (6, 8)]
    assert contents(root).query("frame < 6").reset_index(drop=True).equals(expected)


def test_a_reader_that_listed_the_parts_too_early_looks_again(tmp_path, root, monkeypatch):
    from opticam_dask.tables import reading

    fill(root, [0, 3, 6])
    listed = reading.camera_dataset

    def early(*args):
        dataset = listed(*args)
        compact(tmp_path)
        return dataset

    monkeypatch.setattr(reading, "camera_dataset", early)
    assert len(light_curve(tmp_path, camera=CAMERA, source=1)) == 6


_CHILD = """
import sys
from pathlib import Path
from opticam_dask.tables.compact import compact
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
compact(sys.argv[1])
"""


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost_or_doubled(tmp_path):
    template = tmp_path / "template"
    for camera in ("1:g", "2:r", "3:i"):
        fill(dataset_root(template, "optimal"), list(range(0, 201, 10)), camera=camera)
    expected = contents(dataset_root(template, "optimal"))
    rng, killed = np.random.default_rng(7), 0
    for number in range(25):
        out = tmp_path / f"out{number}"
        shutil.copytree(template, out)
        root = dataset_root(out, "optimal")
        for _ in range(3):
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            child.stdout.readline()
            child.stdin.write(b"\n")
            child.stdin.flush()
            time.sleep(rng.uniform(0, 0.25))
            child.send_signal(signal.SIGKILL)
            child.communicate()
            killed += child.returncode == -signal.SIGKILL
            pd.testing.assert_frame_equal(contents(root), expected)
        compact(out)
        pd.testing.assert_frame_equal(contents(root), expected)
        assert len(existing_parts(root)) == 3
        assert [path.name for path in root.parent.iterdir()] == ["light_curves"]
    assert killed > 25


def test_the_schema_of_a_merged_part_is_that_of_the_parts(tmp_path, root):
    fill(root, [0, 3, 6])
    compact(tmp_path)
    schema = pq.read_schema(part_path(root, (NIGHT, CAMERA, 0, 6)))
    assert schema.names == [name for name in LIGHT_CURVES.names if name not in ("night", "camera")]
    assert all(b"meaning" in field.metadata for field in schema)


def test_a_worker_that_ends_after_its_rows_were_merged_doubles_none(root):
    fill(root, range(0, 10, 3))
    compact(root.parents[2])
    before = light_curve(root.parents[2], camera=CAMERA, source=2)
    for start, stop in ((0, 3), (3, 6), (0, 4)):
        write_part(rows(NIGHT, CAMERA, start, stop, [1, 2, 3]), root, (NIGHT, CAMERA, start, stop))
    assert parts_in(root, NIGHT, CAMERA) == [(NIGHT, CAMERA, 0, 9)]
    assert light_curve(root.parents[2], camera=CAMERA, source=2).equals(before)


def test_a_set_without_parts_is_no_hindrance_to_others(root):
    fill(root, range(0, 10, 3))
    dataset_root(root.parents[2], "empty").mkdir(parents=True)
    (done,) = compact(root.parents[2])
    assert (done.before, done.after) == (3, 1)


def test_a_flipped_bit_is_noticed_by_merging_and_by_reading(root):
    fill(root, range(0, 10, 3))
    path = part_path(root, (NIGHT, CAMERA, 3, 6))
    data = bytearray(path.read_bytes())
    data[pq.ParquetFile(path).metadata.row_group(0).column(7).data_page_offset + 60] ^= 16
    path.write_bytes(data)
    (done,) = compact(root.parents[2])
    assert done.after == done.before == 3
    assert path.name in done.reason
    with pytest.raises(InputError, match=rf"(?i){path.name}: damaged .*(checksum|corrupt).*verify --repair"):
        light_curve(root.parents[2], camera=CAMERA, source=2)

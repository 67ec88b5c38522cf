import re

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from opticam_dask.errors import InputError
from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables.parts import write_part
from opticam_dask.tables.store import (
    cameras,
    dataset_root,
    labels,
    light_curve,
    open_light_curves,
    provenance,
    ranges,
    sources,
)

# dask calls pandas with a keyword that pandas 3.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:DeprecationWarning")

NIGHTS, CAMERAS = ("2024-01-01", "2024-01-02"), ("1:g", "2:r")


def part(night, camera, start, stop, n_sources):
    seed = [int(night[-2:]), int(camera[0]), start]
    n = (stop - start) * n_sources
    table = pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 17)), columns=LIGHT_CURVES.names)
    table["night"], table["camera"], table["filter"] = night, camera, camera[2:]
    table["source"] = np.tile(np.arange(1, n_sources + 1), stop - start)
    table["frame"] = np.repeat(np.arange(start, stop), n_sources)
    table["MJD"] = 60000.0 + int(night[-2:]) + table["frame"] * 1e-5
    table["flags"] = np.where(table["flux"] < -1, 1 << 4, 0)
    table.loc[table["flux"] < -1, "flux"] = np.nan
    return pa.Table.from_pandas(table, schema=LIGHT_CURVES, preserve_index=False)


def fill(root):
    """Write a dataset of two nights, two cameras and two parts; returns its rows."""
    written = []
    for night in NIGHTS:
        for camera in CAMERAS:
            for start, stop in ((0, 3), (3, 5)):
                table = part(night, camera, start, stop, 3 if camera == "1:g" else 2)
                write_part(table, root, (night, camera, start, stop), {"version": "9"})
                written.append(table)
    return pa.concat_tables(written)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def rows(out):
    return fill(dataset_root(out, "optimal"))


def comparable(table):
    """Arrow table with columns and rows in one order; text and string types of the readers made one."""
    table = table.select(LIGHT_CURVES.names).sort_by(
        [(n, "ascending") for n in ("night", "camera", "source", "frame")]
    )
    bare = [
        pa.field(field.name, pa.string() if pa.types.is_large_string(field.type) else field.type)
        for field in table.schema
    ]
    return table.cast(pa.schema(bare)).combine_chunks()


def to_arrow(read):
    """Arrow table of what a reader gave, types as they are."""
    if isinstance(read, pa.Table):
        return read.replace_schema_metadata()
    if isinstance(read, dd.DataFrame):
        read = read.compute()
    if isinstance(read, pd.DataFrame):
        return _pandas(read)
    if isinstance(read, pl.DataFrame):
        return pa.table(
            {name: pa.array(read[name].to_list(), _POLARS[str(read[name].dtype)]) for name in read.columns}
        )
    return read.to_arrow_table()


_POLARS = {"String": pa.string(), "Int32": pa.int32(), "Int64": pa.int64(), "Float64": pa.float64()}


def _pandas(frame):
    """Arrow table of a pandas one; NaN stays NaN."""
    columns = {}
    for name in frame.columns:
        values = frame[name]
        columns[name] = pa.array(values.to_numpy()) if values.dtype.kind in "if" else pa.array(values)
    return pa.table(columns)


def documented_lines():
    text = open_light_curves.__doc__
    return dict(re.findall(r"^ +(pandas|pyarrow|dask|duckdb|polars) +(\S.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("reader", ["pandas", "pyarrow", "dask", "duckdb", "polars"])
def test_the_documented_line_of_each_reader_gives_equal_values_and_types(out, rows, reader):
    root = str(dataset_root(out, "optimal"))
    read = eval(
        documented_lines()[reader],
        {"pd": pd, "dd": dd, "pl": pl, "duckdb": duckdb, "pyarrow": pa, "root": root},
    )
    table = comparable(to_arrow(read))
    expected = comparable(rows)
    assert {f.name: f.type for f in table.schema} == {f.name: f.type for f in expected.schema}
    assert set(table["camera"].to_pylist()) == {"1:g", "2:r"}
    for name in LIGHT_CURVES.names:
        np.testing.assert_array_equal(table[name].to_numpy(), expected[name].to_numpy(), err_msg=name)


@pytest.mark.parametrize(
    "line",
    [
        "pd.read_parquet(root)",
        "dd.read_parquet(root).compute()",
        "duckdb.sql(f\"FROM '{root}/**/*.parquet'\").df()",
        "pl.read_parquet(root)",
        "pa.parquet.read_table(root).to_pandas()",
    ],
)
def test_with_no_option_each_reader_still_reads_every_row_and_column(out, rows, line):
    read = eval(
        line,
        {"pd": pd, "dd": dd, "pl": pl, "duckdb": duckdb, "pa": pa, "root": str(dataset_root(out, "optimal"))},
    )
    assert len(read) == rows.num_rows
    assert set(read.columns) == set(LIGHT_CURVES.names)
    assert {str(camera) for camera in read["camera"]} == {"1:g", "2:r"}
    assert {str(night)[:10] for night in read["night"]} == set(NIGHTS)


def test_readers_ignore_a_part_that_is_being_written(tmp_path, monkeypatch):
    root = dataset_root(tmp_path, "optimal")
    n_rows = fill(root).num_rows
    seen = []

    def dying(table, where):
        where.write_bytes(b"PAR1 half a part")
        seen.extend(
            [len(pl.read_parquet(root)), len(pd.read_parquet(root)), len(open_light_curves(tmp_path))]
        )
        seen.append(duckdb.sql(f"SELECT count(*) FROM '{root}/**/*.parquet'").fetchall()[0][0])
        raise OSError("killed")

    monkeypatch.setattr("opticam_dask.tables.parts.write_rows", dying)
    with pytest.raises(OSError, match="killed"):
        write_part(part("2024-01-03", "1:g", 0, 3, 2), root, ("2024-01-03", "1:g", 0, 3))
    assert seen == [n_rows] * 4


def test_open_light_curves_is_lazy_and_complete(out, rows):
    frame = open_light_curves(out)
    assert isinstance(frame, dd.DataFrame)
    assert list(frame.columns) == LIGHT_CURVES.names
    bright = frame[(frame["camera"] == "1:g") & (frame["source"] == 1)].compute()
    assert len(bright) == 10
    assert set(bright["night"]) == set(NIGHTS)
    everything = comparable(_pandas(frame.compute()))
    np.testing.assert_array_equal(everything["flux"].to_numpy(), comparable(rows)["flux"].to_numpy())


def test_light_curve_is_one_source_over_all_nights_in_time(out, rows):
    curve = light_curve(out, camera="1:g", source=2)
    assert list(curve.columns) == LIGHT_CURVES.names
    assert curve["MJD"].is_monotonic_increasing
    assert list(curve["frame"]) == [0, 1, 2, 3, 4] * 2
    expected = rows.to_pandas().query("camera == '1:g' and source == 2").sort_values("MJD")
    np.testing.assert_array_equal(curve["flux"], expected["flux"])


def test_light_curve_reads_only_the_columns_asked_for(out, rows):
    curve = light_curve(out, camera="2:r", source=1, columns=["BMJD", "flux"])
    assert list(curve.columns) == ["BMJD", "flux"]
    assert len(curve) == 10


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"camera": "3:i", "source": 1}, "no camera '3:i'; there are: 1:g, 2:r"),
        ({"camera": "2:r", "source": 9}, "no source 9 in camera 2:r; sources: 1-2"),
        ({"camera": "2:r", "source": 1, "label": "forced"}, "no label 'forced'; there are: optimal"),
        ({"camera": "2:r", "source": 1, "columns": ["mag"]}, "no column 'mag'; there are: night, camera"),
    ],
)
def test_a_choice_that_does_not_exist_is_told_with_those_that_do(out, rows, choice, message):
    with pytest.raises(InputError, match=message):
        light_curve(out, **choice)


def test_labels_are_chosen_only_when_there_is_no_doubt(tmp_path):
    with pytest.raises(InputError, match="no such directory"):
        open_light_curves(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no light curves; run the photometry"):
        open_light_curves(tmp_path)
    for label in ("optimal", "aperture"):
        write_part(part(NIGHTS[0], "1:g", 0, 2, 1), dataset_root(tmp_path, label), (NIGHTS[0], "1:g", 0, 2))
    assert labels(tmp_path) == ["aperture", "optimal"]
    with pytest.raises(InputError, match="choose label= from: aperture, optimal"):
        open_light_curves(tmp_path)
    assert len(open_light_curves(tmp_path, "optimal")) == 2
    dataset_root(tmp_path, "empty").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no light curves yet"):
        open_light_curves(tmp_path, "empty")


def test_cameras_sources_and_provenance(out, rows):
    root = dataset_root(out, "optimal")
    assert cameras(root) == ["1:g", "2:r"]
    assert sources(root, "1:g") == [1, 2, 3]
    assert provenance(root) == {"version": "9"}
    assert provenance(root / "absent") == {}


def test_ranges():
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
    assert ranges([]) == "none"

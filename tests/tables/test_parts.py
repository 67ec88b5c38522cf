import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opticam_dask.errors import InputError, StorageError
from opticam_dask.schema import LIGHT_CURVE_COLUMNS, LIGHT_CURVES
from opticam_dask.tables import parts
from opticam_dask.tables.parts import existing_parts, part_key, part_path, write_part

KEY = ("2024-01-01", "1:g", 0, 4)


def rows(key=KEY, sources=(2, 1, 3)):
    """Rows of a part, out of order."""
    night, camera, start, stop = key
    frames = np.arange(start, stop)[::-1]
    n = len(frames) * len(sources)
    columns = {column.name: np.linspace(0.1, 7.3, n) for column in LIGHT_CURVE_COLUMNS}
    columns |= {"night": [night] * n, "camera": [camera] * n, "filter": [camera.split(":")[1]] * n}
    columns |= {"source": np.tile(sources, len(frames)), "frame": np.repeat(frames, len(sources))}
    columns["flags"] = np.zeros(n, int)
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in LIGHT_CURVES})


def test_rows_are_sorted_by_source_then_frame_and_lose_nothing(tmp_path):
    table = rows()
    stored = pq.ParquetFile(write_part(table, tmp_path / "light_curves", KEY)).read()
    order = list(zip(stored["source"].to_pylist(), stored["frame"].to_pylist(), strict=True))
    assert order == [(source, frame) for source in (1, 2, 3) for frame in range(4)]
    expected = table.sort_by([("source", "ascending"), ("frame", "ascending")]).select(stored.column_names)
    assert stored.equals(expected)


def test_units_meanings_and_provenance_are_in_the_metadata(tmp_path):
    path = write_part(rows(), tmp_path / "light_curves", KEY, {"version": "1.2", "command": "x"})
    schema = pq.read_schema(path)
    assert schema.metadata[b"version"] == b"1.2"
    flux = schema.field("flux").metadata
    assert (flux[b"unit"], b"background-subtracted" in flux[b"meaning"]) == (b"adu", True)
    assert all(b"meaning" in field.metadata for field in schema)


def test_same_rows_in_any_order_give_the_same_bytes(tmp_path):
    table = rows()
    shuffled = table.take(np.random.default_rng(1).permutation(table.num_rows))
    paths = [
        write_part(table, tmp_path / "a", KEY, {"a": "1", "b": "2"}),
        write_part(shuffled, tmp_path / "b", KEY, {"b": "2", "a": "1"}),
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@given(
    night=st.dates().map(str),
    camera=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12),
    start=st.integers(0, 10**9),
    length=st.integers(1, 10**6),
)
def test_a_key_names_one_path_inside_the_dataset(night, camera, start, length):
    key = (night, camera, start, start + length)
    path = part_path("root", key)
    assert part_key(path) == key
    assert len(path.parts) == 4
    assert ":" not in str(path)


def test_existing_parts_ignores_what_is_not_a_part(tmp_path):
    root = tmp_path / "light_curves"
    keys = {KEY, ("2024-01-02", "2:r", 128, 256)}
    folders = [write_part(rows(key, (1,)), root, key).parent for key in keys]
    for name in (".part-00000000-00000128.parquet.1.tmp", "part-x.parquet", "notes.txt"):
        (folders[0] / name).write_bytes(b"torn")
    assert existing_parts(root) == keys
    assert existing_parts(tmp_path / "absent") == set()


def test_a_failed_write_leaves_the_old_part_and_no_other_file(tmp_path, monkeypatch):
    root = tmp_path / "light_curves"
    path = write_part(rows(), root, KEY)
    before = path.read_bytes()

    def torn(table, where):
        where.write_bytes(b"PAR1 torn")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts, "write_rows", torn)
    with pytest.raises(StorageError, match="No space left"):
        write_part(rows(sources=(7,)), root, KEY)
    assert path.read_bytes() == before
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (("2024-01-02", "1:g", 0, 4), "column night holds"),
        (("2024-01-01", "2:r", 0, 4), "column camera holds"),
        (("2024-01-01", "1:g", 0, 3), "frames 0 to 3 lie outside"),
        (("2024-01-01", "1:g", 4, 4), "0 <= start < stop"),
    ],
)
def test_rows_that_do_not_belong_to_the_key_are_refused(tmp_path, key, message):
    with pytest.raises(ValueError, match=message):
        write_part(rows(), tmp_path / "light_curves", key)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(ValueError, match="columns missing: flux"):
        write_part(rows().drop_columns(["flux"]), tmp_path / "light_curves", KEY)


def test_an_unwritable_place_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_part(rows(), tmp_path / "file" / "light_curves", KEY)


def test_one_source_lies_in_few_row_groups(tmp_path):
    key = ("2024-01-01", "1:g", 0, 2000)
    file = pq.ParquetFile(write_part(rows(key, tuple(range(1, 41))), tmp_path / "light_curves", key))
    column = file.schema_arrow.names.index("source")
    groups = [file.metadata.row_group(i).column(column).statistics for i in range(file.num_row_groups)]
    assert len(groups) >= 8
    assert sum(group.min <= 17 <= group.max for group in groups) <= 2
    assert file.metadata.row_group(0).sorting_columns[0].column_index == column

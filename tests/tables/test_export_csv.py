import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables.export_csv import export_camera
from opticam_dask.tables.parts import write_part

HEADER = ["BMJD", "flux", "flux_err", "bkg", "bkg_err"]


def part(night, camera, n_frames, sources, bmjd=True):
    n = n_frames * len(sources)
    rng = np.random.default_rng([int(night[-2:]), int(camera[0])])
    rows = pd.DataFrame(rng.normal(size=(n, 17)), columns=LIGHT_CURVES.names)
    rows["night"], rows["camera"], rows["filter"] = night, camera, camera[2:]
    rows["source"], rows["frame"] = np.tile(sources, n_frames), np.repeat(np.arange(n_frames), len(sources))
    rows["flags"] = 0
    rows["MJD"] = 60000 + int(night[-2:]) + rows["frame"] / 86400 / 7
    rows["BMJD"] = rows["MJD"] + 1 / 3 if bmjd else np.nan
    rows.loc[rows["frame"] == 1, ["flux", "flux_err"]] = np.nan
    return rows


@pytest.fixture
def write(tmp_path):
    def write(rows):
        key = (rows["night"].iloc[0], rows["camera"].iloc[0], 0, int(rows["frame"].max()) + 1)
        table = pa.Table.from_pandas(rows, schema=LIGHT_CURVES, preserve_index=False)
        write_part(table, tmp_path / "light_curves", key)
        return rows

    return write


def load(path):
    """Header and numbers of a CSV, without a table reader's rounding."""
    header, *lines = path.read_text().splitlines()
    return header.split(","), np.array([[float(word) for word in line.split(",")] for line in lines])


def test_columns_order_and_every_bit_of_the_numbers(tmp_path, write):
    rows = pd.concat([write(part(night, "1:g", 5, [1, 2])) for night in ("2024-01-02", "2024-01-01")])
    write(part("2024-01-01", "2:r", 5, [1, 2]))
    paths = export_camera(tmp_path / "light_curves", tmp_path, "1:g", [2, 1])
    assert [path.name for path in paths] == ["1:g_source_2.csv", "1:g_source_1.csv"]
    header, read = load(paths[0])
    assert header == HEADER
    expected = rows[(rows["source"] == 2) & rows["flux"].notna()].sort_values("MJD")
    assert len(expected) == 8
    np.testing.assert_array_equal(read, expected[HEADER].to_numpy())


def test_mjd_takes_the_place_of_a_bmjd_that_is_nan_throughout(tmp_path, write):
    rows = write(part("2024-01-01", "1:g", 4, [1], bmjd=False))
    [path] = export_camera(tmp_path / "light_curves", tmp_path, "1:g", [1])
    header, read = load(path)
    assert header == ["MJD", *HEADER[1:]]
    np.testing.assert_array_equal(read[:, 0], rows.dropna(subset=["flux"])["MJD"])


def test_a_source_without_a_flux_or_a_row_gets_the_header_alone(tmp_path, write):
    rows = part("2024-01-01", "1:g", 3, [1])
    rows["flux"] = np.nan
    write(rows)
    for path in export_camera(tmp_path / "light_curves", tmp_path, "1:g", [1, 5]):
        assert path.read_text() == ",".join(HEADER) + "\n"


def test_an_export_replaces_the_old_file_and_leaves_no_other(tmp_path, write):
    write(part("2024-01-01", "1:g", 3, [1]))
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "1:g_source_1.csv").write_text("old")
    paths = export_camera(tmp_path / "light_curves", tmp_path / "csv", "1:g", [1])
    assert list((tmp_path / "csv").iterdir()) == paths
    assert paths[0].read_text().startswith("BMJD,")


def test_the_export_travels_to_a_worker():
    assert pickle.loads(pickle.dumps(export_camera)) is export_camera

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from opticam_dask.catalog.alignment import typed
from opticam_dask.catalog.model import CameraCatalog
from opticam_dask.catalog.store import catalog_path, load_catalogs, save_catalogs, stack_path
from opticam_dask.errors import CatalogError
from opticam_dask.schema import ALIGNMENT
from opticam_dask.types import PsfModel


def catalog(camera="1:g", seed=0):
    rng = np.random.default_rng(seed)
    table = QTable({"source": [1, 2], "x": rng.normal(50, 30, 2), "y": rng.normal(50, 30, 2)})
    table["blended"] = [False, True]
    table["segment_flux"] = [1e5 / 3, np.nan]
    stack = rng.normal(0, 1, (13, 17)).astype(np.float32).astype(float)
    stack[2, 3] = np.nan
    rows = {field.name: np.full(3, "", object) for field in ALIGNMENT}
    rows |= {field.name: rng.normal(size=3) for field in ALIGNMENT if str(field.type) == "double"}
    rows |= {"frame": np.arange(3), "n_matched": np.arange(3), "camera": np.full(3, camera, object)}
    psf = PsfModel(1.7 + rng.uniform(), 1.1 + rng.uniform() / 2, rng.uniform(-90, 90))
    return CameraCatalog(camera, table, psf, stack, typed(rows), ("2024-01-01", camera, 4))


def test_what_was_saved_is_read_back_to_the_last_bit(tmp_path):
    saved = {camera: catalog(camera, seed) for seed, camera in enumerate(["1:g", "2:r"])}
    save_catalogs(tmp_path, saved)
    loaded = load_catalogs(tmp_path)
    assert list(loaded) == ["1:g", "2:r"]
    assert loaded == saved
    assert loaded["1:g"] != catalog("1:g", 5)
    assert (tmp_path / "cat" / "1:g_catalog.ecsv").exists()
    assert fits.getdata(tmp_path / "cat" / "stacked_images" / "1-g.fits.gz").shape == (13, 17)
    assert not list(tmp_path.rglob("*.tmp"))


def test_one_camera_replaces_its_own_rows_and_files_are_reproducible(tmp_path):
    save_catalogs(tmp_path, [catalog("1:g", 0), catalog("2:r", 1)])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    save_catalogs(tmp_path, [catalog("2:r", 1)])
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    save_catalogs(tmp_path, [catalog("2:r", 2)])
    assert load_catalogs(tmp_path) == {"1:g": catalog("1:g", 0), "2:r": catalog("2:r", 2)}


def test_nothing_there(tmp_path):
    assert load_catalogs(tmp_path) == {}
    save_catalogs(tmp_path, [])
    assert load_catalogs(tmp_path) == {}


def test_damage_is_named(tmp_path):
    save_catalogs(tmp_path, [catalog()])
    stack_path(tmp_path, "1:g").write_bytes(b"")
    with pytest.raises(CatalogError, match=r"1-g\.fits\.gz"):
        load_catalogs(tmp_path)
    catalog_path(tmp_path, "1:g").write_text("x\n1\n")
    with pytest.raises(CatalogError, match="1:g_catalog"):
        load_catalogs(tmp_path)
    (tmp_path / "alignment.parquet").unlink()
    with pytest.raises(CatalogError, match=r"alignment\.parquet"):
        load_catalogs(tmp_path)


def test_a_hostile_camera_name_stays_inside(tmp_path):
    assert catalog_path(tmp_path, "1:../../x").resolve().parent == (tmp_path / "cat").resolve()
    assert stack_path(tmp_path, "../../x").resolve().is_relative_to(tmp_path.resolve())


def test_hot_pixels_are_kept_and_files_without_them_are_read(tmp_path):
    hot = np.array([0, 5, 13 * 17 - 1])
    with_map, plain = replace(catalog(), hot=hot), catalog("2:r", 1)
    assert with_map != catalog()
    save_catalogs(tmp_path, [with_map, plain])
    loaded = load_catalogs(tmp_path)
    assert loaded == {"1:g": with_map, "2:r": plain}
    assert [loaded[camera].hot.dtype for camera in loaded] == [np.int64, np.int64]
    with fits.open(stack_path(tmp_path, "1:g")) as hdus:
        assert hdus["HOT"].data.dtype == np.uint8
        assert hdus["HOT"].data.sum() == 3
    with fits.open(stack_path(tmp_path, "2:r")) as hdus:
        assert len(hdus) == 1

"""The master table on disk: of one moment, whenever a writer stops."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from opticam_dask.errors import InputError
from opticam_dask.matching import Master, store
from opticam_dask.matching.store import FILES

NAMES = ("fields", "catalogs", "objects", "sightings")


class StoppedError(Exception):
    """Stands for a kill."""


def content(folder: Path) -> dict[str, bytes]:
    return {file: (folder / file).read_bytes() for file in FILES.values()}


def assert_same(one: Master, other: Master) -> None:
    for name in NAMES:
        assert getattr(one, name).equals(getattr(other, name)), name


@pytest.fixture(scope="session")
def early(plain_survey) -> Master:
    return Master.empty().register(plain_survey.night(0))


def test_a_table_is_read_back_as_it_was(tmp_path, plain_master):
    plain_master.save(tmp_path)
    assert_same(Master.load(tmp_path), plain_master)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES.values())


def test_no_table_is_an_empty_one(tmp_path):
    assert Master.load(tmp_path / "none").sightings.empty
    Master.empty().save(tmp_path)
    assert_same(Master.load(tmp_path), Master.empty())


def test_the_same_content_gives_the_same_bytes(tmp_path, plain_survey, plain_master):
    plain_master.save(tmp_path / "a")
    Master.empty().register(plain_survey.catalogs[::-1]).save(tmp_path / "b")
    Master.load(tmp_path / "a").save(tmp_path / "c")
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(tmp_path / "c")


def test_columns_tell_their_units_and_meanings(tmp_path, plain_master):
    plain_master.save(tmp_path)
    schema = pq.read_schema(tmp_path / "objects.parquet")
    assert schema.field("x").metadata[b"unit"] == b"pixel"
    assert schema.field("mag_g").metadata[b"unit"] == b"mag"
    for file in FILES.values():
        assert all(field.metadata[b"meaning"] for field in pq.read_schema(tmp_path / file))


@pytest.mark.parametrize("step", range(20))
def test_a_stop_at_any_moment_leaves_the_old_table_or_the_new(
    tmp_path, monkeypatch, early, plain_master, step
):
    early.save(tmp_path)
    calls = iter(range(1000))

    def stopping(function):
        def wrapper(*args, **kwargs):
            if next(calls) == step:
                raise StoppedError
            return function(*args, **kwargs)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr(store, "to_disk", stopping(store.to_disk))
        patch.setattr(store.pq, "write_table", stopping(store.pq.write_table))
        patch.setattr(store.shutil, "copyfile", stopping(shutil.copyfile))
        patch.setattr(Path, "rename", stopping(Path.rename))
        patch.setattr(Path, "replace", stopping(Path.replace))
        try:
            plain_master.save(tmp_path)
        except StoppedError:
            stopped = True
        else:
            stopped = False
    found = Master.load(tmp_path)
    is_new = len(found.sightings) == len(plain_master.sightings)
    assert_same(found, plain_master if is_new else early)
    assert is_new or stopped
    plain_master.save(tmp_path)
    assert_same(Master.load(tmp_path), plain_master)
    early.save(tmp_path / "reference")
    early.save(tmp_path)
    assert content(tmp_path) == content(tmp_path / "reference")


def test_files_of_different_moments_are_refused(tmp_path, early, plain_master):
    early.save(tmp_path)
    plain_master.save(tmp_path / "new")
    shutil.copy(tmp_path / "new" / "objects.parquet", tmp_path / "objects.parquet")
    with pytest.raises(InputError, match="not of one moment"):
        Master.load(tmp_path)


@pytest.mark.parametrize("file", FILES.values())
def test_a_torn_or_missing_file_is_named(tmp_path, early, file):
    early.save(tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:100])
    with pytest.raises(InputError, match=file):
        Master.load(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(InputError, match=file):
        Master.load(tmp_path)


def test_a_table_of_something_else_is_named(tmp_path, early):
    early.save(tmp_path)
    shutil.copy(tmp_path / "objects.parquet", tmp_path / "fields.parquet")
    with pytest.raises(InputError, match=r"fields.parquet: lacks binning"):
        Master.load(tmp_path)

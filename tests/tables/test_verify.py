"""Verifying: what is missing, doubled, torn, swapped or foreign is told, with the remedy; nothing else is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opticam_dask.errors import InputError
from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables.compact import compact_dataset
from opticam_dask.tables.parts import part_path, write_part
from opticam_dask.tables.records import PartRecord, checksum_of, fault_of, read_record
from opticam_dask.tables.verify import Expected, repair, verify_dataset
from opticam_dask.tables.verify_reduction import verify

NIGHTS, CAMERAS, SOURCES, FRAMES = ("2024-01-01", "2024-01-02"), ("1:g", "2:r"), 3, 12
EXPECTED = {(n, c): Expected(np.arange(FRAMES), SOURCES) for n in NIGHTS for c in CAMERAS}
KEY = (NIGHTS[0], "1:g", 4, 8)


def rows(key: tuple[str, str, int, int], sources: int = SOURCES) -> pa.Table:
    night, camera, start, stop = key
    frames = np.tile(np.arange(start, stop), sources)
    rng = np.random.default_rng([start, int(camera[0])])
    columns = {field.name: rng.normal(size=len(frames)) for field in LIGHT_CURVES}
    columns |= {"source": np.repeat(np.arange(sources) + 1, stop - start), "frame": frames}
    columns |= {"night": [night] * len(frames), "camera": [camera] * len(frames)}
    columns |= {"filter": [camera[2:]] * len(frames), "flags": np.zeros(len(frames), int)}
    columns["flux"] = np.where(frames % 5 == 0, np.nan, columns["flux"])
    return pa.table([pa.array(columns[f.name], f.type) for f in LIGHT_CURVES], LIGHT_CURVES)


def write(root: Path, key: tuple[str, str, int, int], made_of: str = "settings", failed: str = "") -> Path:
    return write_part(rows(key), root, key, made_of=made_of, failed=failed)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "light_curves"
    for night, camera in EXPECTED:
        for start in range(0, FRAMES, 4):
            write(folder, (night, camera, start, start + 4))
    return folder


def kinds(root: Path) -> list[str]:
    return [one.kind for one in verify_dataset(root, EXPECTED, made_of="settings")]


def test_a_whole_dataset_has_no_finding_and_neither_has_a_merged_one(root: Path) -> None:
    assert kinds(root) == []
    compact_dataset(root)
    assert len(list(root.rglob("*.parquet"))) == 4
    assert kinds(root) == []
    assert read_record(part_path(root, (*KEY[:2], 0, FRAMES))) == PartRecord.of(
        pq.read_table(part_path(root, (*KEY[:2], 0, FRAMES)), partitioning=None),
        (*KEY[:2], 0, FRAMES),
        "settings",
    )


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[pq.ParquetFile(path).metadata.row_group(0).column(7).data_page_offset + 60] ^= 16
    path.write_bytes(data)


def rewritten(path: Path) -> None:
    """One number changed by a program that keeps the metadata."""
    table = pq.read_table(path, partitioning=None)
    flux = table["flux"].to_numpy().copy()
    flux[3] = np.nextafter(flux[3], 1e9)
    at = table.schema.get_field_index("flux")
    pq.write_table(table.set_column(at, table.schema.field("flux"), pa.array(flux)), path)


@pytest.mark.parametrize("damage", [cut, emptied, flipped, rewritten])
def test_a_torn_part_is_found_and_removed_by_repair_and_its_frames_are_missing_then(
    root: Path, damage: Callable[[Path], None]
) -> None:
    path = part_path(root, KEY)
    damage(path)
    findings = verify_dataset(root, EXPECTED, made_of="settings")
    assert [one.kind for one in findings] == ["torn", "missing"]
    assert str(path) in str(findings[0])
    assert "verify --repair removes it; then run the same reduction again" in str(findings[0])
    assert repair(findings) == [path]
    (missing,) = verify_dataset(root, EXPECTED, made_of="settings")
    assert "2024-01-01 1:g: no rows of 4 of 12 frames (4-7)" in str(missing)
    write(root, KEY)
    assert kinds(root) == []


def test_parts_that_changed_places_are_foreign_by_name_and_by_record(root: Path) -> None:
    one, other = part_path(root, KEY), part_path(root, (*KEY[:2], 8, 12))
    aside = root / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    assert kinds(root) == ["foreign", "foreign", "missing"]
    assert fault_of(one, KEY, "settings") == "another part"


def test_a_part_made_with_other_settings_is_foreign(root: Path) -> None:
    path = write(root, KEY, made_of="others")
    assert kinds(root) == ["foreign", "missing"]
    assert fault_of(path, KEY, "settings") == "made with other settings"
    assert verify_dataset(root, EXPECTED) == []


def test_frames_held_twice_are_found_once(root: Path) -> None:
    longer = part_path(root, (*KEY[:2], 2, 8))
    write_part(rows((*KEY[:2], 2, 8)), root.parent / "elsewhere", (*KEY[:2], 2, 8), made_of="settings")
    shutil.copy(part_path(root.parent / "elsewhere", (*KEY[:2], 2, 8)), longer)
    (found,) = verify_dataset(root, EXPECTED, made_of="settings")
    assert (found.kind, found.part) == ("doubled", longer)


def test_rows_of_too_few_sources_a_strange_camera_and_a_failed_block_are_found(root: Path) -> None:
    few = (NIGHTS[1], "2:r", 0, 4)
    write_part(rows(few, sources=2), root, few, made_of="settings")
    write(root, (NIGHTS[1], "3:i", 0, 4))
    write(root, KEY, failed="ValueError: no")
    found = verify_dataset(root, EXPECTED, made_of="settings")
    assert [one.kind for one in found] == ["failed", "foreign", "foreign"]
    assert "frames 4 to 7 failed on all tries (ValueError: no); run the same reduction again" in str(found[0])
    assert "holds 8 rows, not 12 (3 sources)" in str(found[1])
    assert "3%3Ai" in str(found[2])
    assert found[0].part is None


def test_parts_may_be_read_elsewhere(root: Path) -> None:
    seen = []

    def run(function: Callable[..., object], parts: list[object]) -> list[object]:
        seen.extend(parts)
        return [function(part) for part in parts]

    emptied(part_path(root, KEY))
    found = verify_dataset(root, EXPECTED, made_of="settings", run=run)
    assert len(seen) == 12
    assert [one.kind for one in found] == ["torn", "missing"]


def test_every_bit_counts_for_the_checksum() -> None:
    table = rows(KEY)
    flux = table["flux"].to_numpy().copy()
    nan = np.isnan(flux)
    assert nan.any()
    bits = flux.view(np.uint64)
    bits[np.flatnonzero(nan)[0]] ^= 1
    at = table.schema.get_field_index("flux")
    other = table.set_column(at, table.schema.field("flux"), pa.array(flux))
    assert checksum_of(other) != checksum_of(table)
    assert checksum_of(table.slice(0, 5)) == checksum_of(table.take(list(range(5))))


def test_a_folder_that_is_no_reduction_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"frames\.parquet: no such file"):
        verify(tmp_path)

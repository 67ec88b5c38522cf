"""What is left of swaps that were stopped: cleared up once, by one process, and no part is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from opticam_dask.errors import InputError
from opticam_dask.tables import swap
from opticam_dask.tables.parts import camera_folder
from opticam_dask.tables.swap import Swap, recover

NIGHT, CAMERA = "2024-01-01", "1:g"
PART = "part-00000000-00000004.parquet"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "light_curves"
    camera_folder(folder, NIGHT, CAMERA).mkdir(parents=True)
    return folder


def stopped_half_way(root: Path) -> Swap:
    """A swap whose old folder has been moved aside, and whose new one is not in its place yet."""
    half = Swap(root, NIGHT, CAMERA)
    (half.target / PART).write_bytes(b"old")
    half.target.rename(half.staging / "old")
    return half


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_note_costs_nothing_where_nothing_has_moved(root: Path, content: str) -> None:
    begun = Swap(root, NIGHT, CAMERA)
    (begun.staging / "place.json").write_text(content)
    recover(root)
    assert not begun.staging.exists()
    assert begun.target.is_dir()


def test_a_damaged_note_beside_old_parts_is_one_clear_line_and_nothing_is_removed(root: Path) -> None:
    half = stopped_half_way(root)
    (half.staging / "place.json").write_text("")
    with pytest.raises(InputError, match=r"place\.json: is damaged; move the parts"):
        recover(root)
    assert (half.staging / "old" / PART).read_bytes() == b"old"


def test_what_another_process_has_claimed_is_left_to_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = stopped_half_way(root)
    inner = swap._place

    def slowly(staging: Path) -> dict[str, object] | None:
        found = inner(staging)
        if staging == half.staging:
            # meanwhile another process is quicker
            with monkeypatch.context() as patch:
                patch.setattr(swap, "_place", inner)
                recover(root)
        return found

    monkeypatch.setattr(swap, "_place", slowly)
    recover(root)
    assert (half.target / PART).read_bytes() == b"old"
    assert [path.name for path in root.parent.iterdir()] == [root.name]


def test_a_claim_whose_holder_died_is_claimed_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = stopped_half_way(root)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(swap, "_clear", dies)
        with pytest.raises(KeyboardInterrupt):
            recover(root)
    recover(root)
    assert (half.target / PART).read_bytes() == b"old"
    assert [path.name for path in root.parent.iterdir()] == [root.name]

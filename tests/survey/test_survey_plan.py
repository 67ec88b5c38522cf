"""What a survey sees of the file system, and what it concludes from it; no frame is reduced here."""

import os
import re

import pytest

from opticam_dask.errors import InputError, SettingsChangedError
from opticam_dask.survey.folders import folders_of, signature
from opticam_dask.survey.inventory import Inventory, KnownFolder, NightRecord
from opticam_dask.survey.plan import is_chosen, labels_kept, plan_nights, wanted
from opticam_dask.survey.settings import Settings, check_settings, record_settings

DIGESTS = {"scan": "s", "catalogs": "c", "photometry.a": "1", "photometry.b": "2"}


def night(status="reduced", files="f", n_files=3, reason="", **made):
    full = {"files": "f", **DIGESTS, "ids": "i"}
    return NightRecord(files, n_files, status, reason, {**full, **made} if made != {"none": 1} else {})


def plans(record, labels=("a", "b"), **options):
    return plan_nights(Inventory(nights={"2024-01-01": record}), DIGESTS, labels, **options)


@pytest.mark.parametrize(
    ("record", "labels", "why"),
    [
        (night(), None, None),
        (night(none=1), ("a", "b"), "new"),
        (night("pending"), ("a", "b"), "interrupted"),
        (night("failed", reason="no luck"), ("a", "b"), "it failed: no luck"),
        (night("excluded", reason="no star"), None, None),
        (night("excluded", files="g"), ("a", "b"), "its frames changed"),
        (night(files="g"), ("a", "b"), "its frames changed"),
        (night(scan="t"), ("a", "b"), "headers are read with other settings"),
        (night(catalogs="d"), ("a", "b"), "catalogues are made with other settings"),
        (night(**{"photometry.b": "3"}), ("b",), "light curves to measure: b"),
        (night(files="g", n_files=0), None, None),
    ],
    ids=[
        *("done", "new", "interrupted", "failed", "excluded", "excluded, changed"),
        *("changed", "scan", "catalogs", "label", "gone"),
    ],
)
def test_a_night_is_done_again_only_as_far_as_needed(record, labels, why):
    found = plans(record)
    assert [(plan.labels, plan.why) for plan in found] == ([] if labels is None else [(labels, why)])


def test_a_night_whose_ids_changed_is_published_only():
    record = night()
    record.made.pop("ids")
    (plan,) = plans(record)
    assert (plan.labels, str(plan)) == ((), "2024-01-01: publish (object IDs to publish)")


def test_an_excluded_night_is_tried_again_if_asked():
    (plan,) = plans(night("excluded", reason="no star"), retry=True)
    assert plan.why == "once more: no star"


def test_labels_not_asked_for_stay_with_their_catalogues_and_go_with_them():
    record = night(**{"photometry.old": "9"})
    assert labels_kept(record, wanted(record, DIGESTS))["photometry.old"] == "9"
    changed = {**DIGESTS, "catalogs": "other"}
    assert labels_kept(record, wanted(record, changed)) == {}


def test_nights_come_in_order_of_date_and_may_be_chosen():
    dates = ["2024-02-01", "2023-12-31", "2024-01-15"]
    inventory = Inventory(nights={date: night(none=1) for date in dates})
    assert [plan.night for plan in plan_nights(inventory, DIGESTS, ["a"])] == sorted(dates)
    chosen = plan_nights(inventory, DIGESTS, ["a"], ["2024-01-*", "2023-*"])
    assert [plan.night for plan in chosen] == ["2023-12-31", "2024-01-15"]
    assert is_chosen("2024-01-15", [])
    assert not is_chosen("2024-01-15", ["2024-02-??"])


def test_an_inventory_comes_back_as_it_was_saved(tmp_path):
    known = Inventory("s", {"a/b": KnownFolder("d", ("2024-01-01", ""))}, {"2024-01-01": night()})
    known.save(tmp_path)
    assert Inventory.load(tmp_path) == known
    assert Inventory.load(tmp_path / "nowhere") == Inventory()


def test_a_damaged_inventory_is_told(tmp_path):
    (tmp_path / "inventory.json").write_text("{")
    with pytest.raises(InputError, match=r"inventory\.json: cannot be read .* remove it"):
        Inventory.load(tmp_path)


def put(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_folders_are_those_with_frames_at_any_depth(tmp_path):
    put(tmp_path / "n1" / "a.fits")
    put(tmp_path / "n1" / "notes.txt")
    put(tmp_path / "deep" / "er" / "b.fit.gz")
    put(tmp_path / "deep" / ".hidden.fits")
    put(tmp_path / "out" / "nights" / "stack.fits")
    put(tmp_path / "top.fts")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = folders_of(tmp_path, [tmp_path / "out"])
    assert {name: folder.files for name, folder in found.items()} == {".": 1, "deep/er": 1, "n1": 1}


@pytest.mark.parametrize("change", ["added", "removed", "longer", "touched", "renamed"])
def test_whatever_happens_to_a_file_its_folder_has_another_digest(tmp_path, change):
    path = put(tmp_path / "a" / "1.fits")
    put(tmp_path / "a" / "2.fits")
    put(tmp_path / "b" / "3.fits")
    before, whole = folders_of(tmp_path), signature(tmp_path)
    assert folders_of(tmp_path) == before
    if change == "added":
        put(tmp_path / "a" / "4.fits")
    elif change == "removed":
        path.unlink()
    elif change == "longer":
        status = path.stat()
        path.write_text("xx")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "touched":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    else:
        path.rename(path.with_name("0.fits"))
    after = folders_of(tmp_path)
    assert after["a"].digest != before["a"].digest
    assert after["b"] == before["b"]
    assert signature(tmp_path) != whole


def test_a_root_that_is_no_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        folders_of(tmp_path / "none")


def settings(threshold=5.0, **photometry):
    return Settings("/root", {"target": None}, {"threshold": threshold}, photometry or {"a": {"r": 1}})


def test_a_label_that_is_new_or_not_asked_for_changes_nothing(tmp_path):
    record_settings(tmp_path, settings(a={"r": 1}))
    assert check_settings(tmp_path, settings(b={"r": 2}), overwrite=False) == []
    record_settings(tmp_path, settings(b={"r": 2}))
    with pytest.raises(SettingsChangedError, match=re.escape("(photometry.a.r: 1 -> 3)")):
        check_settings(tmp_path, settings(a={"r": 3}), overwrite=False)


def test_the_settings_that_changed_are_named_with_what_depends_on_them(tmp_path):
    record_settings(tmp_path, settings())
    with pytest.raises(SettingsChangedError, match=r"catalogs\.threshold: 5 -> 7.*--overwrite.*catalogues"):
        check_settings(tmp_path, settings(7.0), overwrite=False)
    assert check_settings(tmp_path, settings(7.0), overwrite=True) == ["catalogs.threshold: 5 -> 7"]


def test_the_same_settings_are_not_written_again(tmp_path):
    record_settings(tmp_path, settings())
    before = (tmp_path / "survey.json").stat().st_mtime_ns
    record_settings(tmp_path, settings())
    assert (tmp_path / "survey.json").stat().st_mtime_ns == before

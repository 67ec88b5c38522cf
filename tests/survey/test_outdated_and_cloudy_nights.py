"""Nights beside the others: rows that do not hold any more, and stars fainter than in clear nights."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opticam_dask.errors import InputError
from opticam_dask.survey.extinction import extinctions
from opticam_dask.survey.inventory import NightRecord
from opticam_dask.survey.ledger import LEDGER, read_ledger
from opticam_dask.survey.outdated import why_outdated
from opticam_dask.tables.outdated import OutdatedRowsWarning, mark_nights, outdated_nights, warn_of_outdated

NIGHTS = [f"2024-01-{day:02d}" for day in range(1, 7)]


def sky(dimmed=None, exptime=None, camera="1:g", n_stars=8, field="F001"):
    """Sightings of stars, one of them variable; faint ones are not seen through clouds."""
    rng, rows = np.random.default_rng(4), []
    for night in NIGHTS:
        mag = (dimmed or {}).get(night, 0.0)
        for star, flux in enumerate(np.geomspace(1e3, 1e5, n_stars)):
            counts = flux * 10 ** (-0.4 * mag) * (exptime or {}).get(night, 1.0) * rng.normal(1.0, 0.01)
            counts *= 3.0 if star == 5 and night == NIGHTS[2] else 1.0
            if counts > 500.0:
                rows.append((night, camera, f"{field}-{star:04d}", field, counts, False))
    return pd.DataFrame(rows, columns=["night", "camera", "object_id", "field_id", "flux", "blended"])


def times(exptime=None, cameras=("1:g",)):
    rows = [(night, camera, (exptime or {}).get(night, 1.0)) for night in NIGHTS for camera in cameras]
    return pd.DataFrame(rows, columns=["night", "camera", "exptime"])


def found(sightings, exptime):
    return extinctions(sightings, exptime).set_index(["night", "camera"])["extinction"]


def test_a_cloudy_night_shows_beside_clear_ones_whatever_the_exposure():
    exptime = {NIGHTS[0]: 10.0, NIGHTS[3]: 0.1}
    cloudy = {NIGHTS[1]: 1.5, NIGHTS[4]: 0.5}
    result = found(sky(cloudy, exptime), times(exptime))
    for night in NIGHTS:
        assert result[night, "1:g"] == pytest.approx(cloudy.get(night, 0.0), abs=0.03)


def test_clear_nights_are_the_brightest_even_where_most_are_cloudy():
    cloudy = dict.fromkeys(NIGHTS[:4], 0.8)
    assert found(sky(cloudy), times())[NIGHTS[0], "1:g"] == pytest.approx(0.8, abs=0.03)


def test_cameras_and_fields_are_compared_with_themselves_and_too_little_says_nothing():
    both = pd.concat([sky({NIGHTS[1]: 1.0}), sky({NIGHTS[2]: 0.4}, camera="2:r")])
    other = sky(field="F002")[lambda rows: rows["night"] == NIGHTS[5]]
    both = pd.concat([both[both["night"] != NIGHTS[5]], other])
    result = found(both, times(cameras=("1:g", "2:r")))
    assert result[NIGHTS[1], "1:g"] == pytest.approx(1.0, abs=0.03)
    assert result[NIGHTS[1], "2:r"] == pytest.approx(0.0, abs=0.03)
    assert result[NIGHTS[2], "2:r"] == pytest.approx(0.4, abs=0.03)
    assert NIGHTS[5] not in result.index.get_level_values("night")
    assert found(sky(n_stars=2), times()).empty
    assert found(sky().iloc[:0], times()).empty


def night(status, made=(), reason=""):
    return NightRecord("f", 3, status, reason, dict.fromkeys(made, "1"))


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (night("reduced", ["photometry.a"]), ""),
        (night("failed", ["photometry.a"], "some blocks"), ""),
        (night("pending", [], "interrupted"), ""),
        (night("reduced", ["photometry.b"]), "not asked for again"),
        (night("failed", ["files"], "no disk"), "failed since"),
        (night("excluded", ["photometry.a"], "no stars"), "no light curves now"),
    ],
    ids=["holds", "failed, measured", "interrupted", "another label", "failed", "excluded"],
)
def test_rows_hold_unless_their_night_says_otherwise(record, why):
    told = why_outdated(record, "a")
    assert why in told
    assert bool(why) == bool(told)


def test_marks_come_and_go_and_warn_whoever_reads(tmp_path):
    root = tmp_path / "lcs" / "a" / "light_curves"
    root.mkdir(parents=True)
    warn_of_outdated(root)
    mark_nights(root, {NIGHTS[0]: "one", NIGHTS[1]: "two", NIGHTS[2]: ""})
    assert outdated_nights(root) == {NIGHTS[0]: "one", NIGHTS[1]: "two"}
    with pytest.warns(OutdatedRowsWarning, match=r"2 nights.*2024-01-01: one; 2024-01-02: two"):
        warn_of_outdated(root)
    warn_of_outdated(root, NIGHTS[2])
    mark_nights(root, {NIGHTS[0]: "", NIGHTS[1]: ""})
    assert list(root.parent.iterdir()) == [root]
    (root.parent / "outdated.json").write_text("[")
    with pytest.raises(InputError, match=r"outdated\.json: cannot be read"):
        warn_of_outdated(root)


def test_a_ledger_of_an_earlier_version_is_read(tmp_path):
    row = {"night": "2024-01-01", "camera": "1:g", "found": 3}
    table = pa.Table.from_pylist([row], schema=pa.schema([LEDGER.field(name) for name in row]))
    pq.write_table(table, tmp_path / "ledger.parquet")
    ledger = read_ledger(tmp_path)
    assert ledger.columns.tolist() == LEDGER.names
    assert (ledger["outdated"].dtype, ledger["outdated_for"][0], ledger["found"][0]) == (np.int64, "", 3)
    assert np.isnan(ledger["extinction"][0])

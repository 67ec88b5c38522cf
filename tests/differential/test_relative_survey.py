"""Many nights: one scale through stars in common, whatever their numbers in each night."""

import numpy as np
import pytest

from opticam_dask.differential import DifferentialPhotometer
from opticam_dask.tables.relative import comparison_stars, relative_light_curve, relative_nights

N_NIGHTS, N = 6, 120
NAMES = [f"F001-{i:04d}" for i in range(1, 9)]
RATES = np.array([3e4, 2e4, 1.2e4, 8e3, 5e3, 3e3, 2.5e3, 2e3])
TARGET = NAMES[1]
LEVELS = 1.0 + 0.1 * np.sin(np.arange(N_NIGHTS) * 2.0)  # of the target, night by night


@pytest.fixture(scope="module")
def survey(tmp_path_factory, night_of_stars, write_night):
    """Six nights of other transparency, other stars in the field, and other numbers of the same stars."""
    out = tmp_path_factory.mktemp("survey")
    for k in range(N_NIGHTS):
        factors = {1: np.full(N, LEVELS[k])}
        if k == 3:
            factors[2] = 1.0 + 0.05 * np.sin(np.linspace(0, 12, N))  # varies in one night alone
        if k in (1, 2, 4):
            factors[5] = 1.0 + 0.08 * np.sin(np.linspace(0, 9, N))  # and this one in several
        flux, error, _ = night_of_stars(seed=k, n_frames=N, rates=RATES, factors=factors)
        seen = [1, 2, 3, 4, 5, 6, 7] if k % 2 else [0, 1, 2, 3, 4, 5]
        flux, error = flux[seen] * (0.5 + 0.1 * k), error[seen] * (0.5 + 0.1 * k)
        write_night(
            out,
            flux,
            error,
            night=f"2024-01-{k + 1:02d}",
            start_mjd=60310.2 + k,
            objects=[NAMES[i] for i in seen],
        )
    return out


@pytest.fixture(scope="module")
def made(survey):
    photometer = DifferentialPhotometer(survey, show_plots=False, verbose=False)
    return photometer.write_relative_light_curves("1:g", TARGET)


def test_nights_are_on_one_scale(survey, made):
    curve = relative_light_curve(survey, made, camera="1:g")
    level = curve.groupby("night")["norm_flux"].mean().to_numpy()
    np.testing.assert_allclose(level / level.mean(), LEVELS / LEVELS.mean(), atol=0.004)
    assert len(curve) == N_NIGHTS * N
    assert curve["MJD"].is_monotonic_increasing
    assert curve.groupby("night")["transparency"].median().to_numpy() == pytest.approx(1.0, abs=0.01)
    zero = relative_nights(survey, made)["zero_point"].to_numpy()
    expected = 0.5 + 0.1 * np.arange(N_NIGHTS)
    np.testing.assert_allclose(zero / zero[0], expected / expected[0], rtol=0.01)


def test_a_star_that_varies_once_is_left_out_once_one_that_varies_often_always(survey, made):
    stars = comparison_stars(survey, made).set_index(["star", "night"]).sort_index()
    once = stars.loc[NAMES[2], "used"]
    assert once[~once].index.tolist() == ["2024-01-04"]
    assert not stars.loc[NAMES[5], "used"].any()
    assert "of its 6 nights" in stars.loc[(NAMES[5], "2024-01-01"), "reason"]


def test_a_new_night_leaves_the_summaries_of_the_others(survey, made):
    kept = sorted((survey / "lcs/optimal/relative" / made / "nights").rglob("*.json"))
    before = {path: path.stat().st_mtime_ns for path in kept}
    again = DifferentialPhotometer(survey, show_plots=False, verbose=False)
    assert again.write_relative_light_curves("1:g", TARGET) == made
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert len(kept) == N_NIGHTS


def test_a_night_without_stars_in_common_says_so(survey, night_of_stars, write_night, tmp_path):
    for k, names in enumerate((NAMES[:5], [*NAMES[1:2], "F002-0001", "F002-0002", "F002-0003", "F002-0004"])):
        flux, error, _ = night_of_stars(seed=k, n_frames=N + 50 * (1 - k), rates=RATES[:5])
        write_night(tmp_path, flux, error, night=f"2024-02-0{k + 1}", start_mjd=60340.2 + k, objects=names)
    photometer = DifferentialPhotometer(tmp_path, show_plots=False, verbose=False)
    photometer.write_relative_light_curves("1:g", TARGET, prefix="t")
    curve = relative_light_curve(tmp_path, "t", camera="1:g")
    lost = curve[curve["rel_flux"].isna()]
    assert lost["night"].nunique() == 1
    assert set(lost["reason"]) == {"no comparison star in common with the other nights"}


def test_a_night_that_cannot_be_read_costs_itself_only(night_of_stars, write_night, tmp_path):
    for k in range(2):
        flux, error, _ = night_of_stars(seed=k, n_frames=N)
        write_night(tmp_path, flux, error, night=f"2024-03-0{k + 1}", start_mjd=60370.2 + k)
    part = next((tmp_path / "lcs/optimal/light_curves/night=2024-03-01").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:2000])
    photometer = DifferentialPhotometer(tmp_path, show_plots=False, verbose=False)
    photometer.write_relative_light_curves("1:g", 2, prefix="t")
    nights = relative_nights(tmp_path, "t").set_index("night")
    assert "cannot be read" in nights.loc["2024-03-01", "reason"]
    assert nights.loc["2024-03-02", "n_measured"] == N


@pytest.mark.cluster
def test_workers_change_no_bit(survey, made, cluster, tmp_path):
    import shutil

    here = relative_light_curve(survey, made, camera="1:g")
    shutil.copytree(survey / "lcs/optimal/light_curves", tmp_path / "lcs/optimal/light_curves")
    photometer = DifferentialPhotometer(tmp_path, show_plots=False, verbose=False, cluster=cluster)
    photometer.write_relative_light_curves("1:g", TARGET)
    there = relative_light_curve(tmp_path, made, camera="1:g")
    assert here.equals(there)

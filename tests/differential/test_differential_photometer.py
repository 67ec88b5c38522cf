"""DifferentialPhotometer on light curves with an injected truth."""

import numpy as np
import pandas as pd
import pytest

from opticam_dask.differential import DifferentialPhotometer, EnsembleConfig
from opticam_dask.differential.make import Request, make_relative
from opticam_dask.errors import InputError, SettingsChangedError
from opticam_dask.schema import Flag
from opticam_dask.tables.relative import (
    comparison_stars,
    open_relative_light_curves,
    relative_light_curve,
    relative_names,
    relative_nights,
)

N = 600
PHASE = np.linspace(0.0, 1.0, N)
DIP = 1.0 - 0.015 * ((PHASE > 0.4) & (PHASE < 0.6))
SWING = 1.0 + 0.03 * np.sin(11.0 * PHASE)


def photometer(out):
    return DifferentialPhotometer(out, show_plots=False, verbose=False)


def made(out, fltr="1:g", target=2, comparisons="auto", **options):
    """Relative light curve and comparison stars, without figures."""
    name = photometer(out).write_relative_light_curves(fltr, target, comparisons, **options)
    return relative_light_curve(out, name, camera="1:g"), comparison_stars(out, name)


@pytest.fixture(scope="module")
def night(tmp_path_factory, night_of_stars, write_night):
    out = tmp_path_factory.mktemp("night")
    flux, error, truth = night_of_stars(n_frames=N, factors={1: DIP, 2: SWING}, missing=0.02)
    return write_night(out, flux, error), flux, error, truth


def test_the_automatic_ensemble_gives_depth_and_errors(night):
    out, *_, truth = night
    curve, _ = made(out, "g")
    inside = DIP < 1.0
    flux, err = curve["norm_flux"].to_numpy(), curve["norm_flux_err"].to_numpy()
    good = np.isfinite(flux)
    weight = np.where(good, 1.0 / err**2, 0.0)
    low, high = (np.average(np.nan_to_num(flux)[m], weights=weight[m]) for m in (inside, ~inside))
    depth_err = np.sqrt(1.0 / weight[inside].sum() + 1.0 / weight[~inside].sum())
    assert abs(1.0 - low / high - 0.015) < 3.0 * depth_err
    pull = (flux / np.nanmedian(flux / DIP) - DIP)[good] / err[good]
    assert pull.std() == pytest.approx(1.0, abs=0.1)
    ratio = curve["transparency"] / (truth / np.median(truth))
    assert (ratio / ratio.median()).std() < 1.2 * curve["transparency_err"].median()


def test_weights_and_reasons_are_told(night):
    stars = made(night[0])[1].set_index("source")
    assert 2 not in stars.index
    assert not stars.loc[3, "used"]
    assert stars.loc[3, "reason"].startswith("variable")
    assert stars.loc[3, "weight"] == 0.0
    used = stars.drop(3)
    assert used["used"].all()
    assert used["weight"].sum() == pytest.approx(1.0)
    assert used["weight"].is_monotonic_decreasing
    np.testing.assert_allclose(used["rms"], used["expected"], rtol=0.15)


def test_statistics_over_seeds(night_of_stars, write_night, tmp_path):
    depths, sigmas, pulls = [], [], []
    for seed in range(8):
        flux, error, _ = night_of_stars(seed=seed, n_frames=N, factors={1: DIP, 2: SWING})
        out = write_night(tmp_path / str(seed), flux, error)
        request = Request(out, "optimal", "t", {"1:g": 2}, {"1:g": None})
        make_relative(request, lambda function, tasks, folder: [function(task, folder) for task in tasks])
        curve = relative_light_curve(out, "t", camera="1:g")
        inside = DIP < 1.0
        low, high = curve["norm_flux"][inside], curve["norm_flux"][~inside]
        err = curve["norm_flux_err"]
        depths.append(1.0 - low.mean() / high.mean())
        sigmas.append(
            np.hypot(err[inside].mean() / np.sqrt(len(low)), err[~inside].mean() / np.sqrt(len(high)))
        )
        pulls.append(((curve["norm_flux"] / high.mean() - DIP) / err).std())
    z = (np.array(depths) - 0.015) / np.array(sigmas)
    assert abs(z.mean()) < 3.0 / np.sqrt(8)
    assert np.abs(z).max() < 3.5
    assert np.mean(pulls) == pytest.approx(1.0, abs=0.05)


def test_comparisons_by_hand_are_summed_as_users_know(night):
    out, flux, error, _ = night
    curve, _ = made(out, comparisons=[1, 4])
    total, total_err = flux[0] + flux[3], np.hypot(error[0], error[3])
    ratio = flux[1] / total
    both = np.isfinite(ratio)
    np.testing.assert_allclose(curve["rel_flux"][both], ratio[both], rtol=1e-12)
    expected = ratio * np.hypot(error[1] / flux[1], total_err / total)
    np.testing.assert_allclose(curve["rel_flux_err"][both], expected[both], rtol=1e-3)
    # a frame in which one of the two is missing is compared with the other, on the same scale
    one = np.isfinite(flux[1]) & ~both & (np.isfinite(flux[0]) | np.isfinite(flux[3]))
    assert one.sum() > 5
    np.testing.assert_allclose(curve["rel_flux"][one], np.median(ratio[both]), rtol=0.1)
    assert (curve["n_comparisons"][one] == 1).all()


def test_no_row_vanishes_and_nan_has_a_reason(night):
    out, flux, *_ = night
    curve, _ = made(out, comparisons=1)
    assert curve["frame"].tolist() == list(range(N))
    lost = curve["rel_flux"].isna()
    np.testing.assert_array_equal(lost, np.isnan(flux[1]) | np.isnan(flux[0]))
    assert (curve["reason"][lost] != "").all()
    assert (curve["reason"][~lost] == "").all()
    assert curve["reason"][np.isnan(flux[1])].str.contains("not found").all()
    assert curve["reason"][np.isfinite(flux[1]) & lost].str.contains("no comparison star").all()


def test_files_and_readers(night):
    out = night[0]
    found = photometer(out).get_relative_light_curve("1:g", 2, prefix="V1 Nova/../x")
    assert found.name == "V1_Nova_.._x"
    folder = out / "relative_light_curves" / "optimal"
    table = pd.read_csv(folder / f"{found.name}_1:g_light_curve.csv")
    assert table.columns.tolist() == ["BMJD", "rel_flux", "rel_flux_err"]
    assert len(table) == found.tables["1:g"]["rel_flux"].notna().sum()
    assert (folder / f"{found.name}_1:g_light_curve.png").stat().st_size > 10_000
    assert (folder / "diag" / f"{found.name}_1:g_comparisons.png").is_file()
    assert found.name in relative_names(out)
    whole = open_relative_light_curves(out, found.name).compute()
    pd.testing.assert_series_equal(
        whole["rel_flux"].reset_index(drop=True), found.tables["1:g"]["rel_flux"], check_exact=True
    )
    assert relative_nights(out, found.name)["n_measured"].tolist() == [len(table)]
    assert len(comparison_stars(out, found.name)) == 6
    assert list(found.light_curves) == ["1:g"]
    assert {"airmass", "fwhm", "x", "y", "bkg"} <= set(found.light_curves["1:g"].columns)


def test_how_parts_are_cut_changes_no_bit(night, write_night, tmp_path):
    out, flux, error, _ = night
    cut = write_night(tmp_path, flux, error, cut=77)
    for one, other in zip(made(out), made(cut), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_what_is_there_is_not_made_again_and_other_settings_are_refused(night):
    out = night[0]
    make = photometer(out).write_relative_light_curves
    make("1:g", 2, prefix="again")
    part = next((out / "lcs/optimal/relative/again/light_curves").rglob("*.parquet"))
    before = part.stat().st_mtime_ns, part.read_bytes()
    make("1:g", 2, prefix="again")
    assert part.stat().st_mtime_ns == before[0]
    with pytest.raises(SettingsChangedError, match="comparisons"):
        make("1:g", 2, [1], prefix="again")
    make("1:g", 2, [1], prefix="again", overwrite=True)
    assert part.read_bytes() != before[1]
    make("1:g", 2, prefix="again", overwrite=True)
    assert part.read_bytes() == before[1]


def test_a_half_written_file_is_made_again(night):
    out = night[0]
    make = photometer(out).write_relative_light_curves
    make("1:g", 2, prefix="torn")
    part = next((out / "lcs/optimal/relative/torn/light_curves").rglob("*.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[:100])
    make("1:g", 2, prefix="torn")
    assert part.read_bytes() == whole


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": 99}, "no source 99 in camera 1:g; sources: 1-7"),
        ({"target": 2, "comparisons": [1, 77]}, "no comparison 77"),
        ({"target": 2, "comparisons": [1, 2]}, "compared with itself"),
        ({"target": 2, "comparisons": [1, 1]}, "named twice"),
        ({"target": 2, "comparisons": []}, "at least one"),
        ({"target": 2, "comparisons": ["F001-0001"]}, "alike"),
        ({"target": "F001-0001"}, "only a survey"),
        ({"target": 2, "fltr": "z"}, "no camera 'z'"),
        ({"target": 2, "phot_label": "other"}, "no label 'other'"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(night, options, words):
    with pytest.raises(InputError, match=words) as caught:
        photometer(night[0]).write_relative_light_curves(**{"fltr": "1:g", **options})
    assert "\n" not in str(caught.value)


def test_a_folder_without_light_curves_is_refused(tmp_path):
    with pytest.raises(InputError, match="no light curves"):
        photometer(tmp_path)
    with pytest.raises(InputError, match="no such directory"):
        photometer(tmp_path / "nowhere")


def test_flagged_comparisons_are_left_out_of_their_frames(night_of_stars, write_night, tmp_path):
    flux, error, _ = night_of_stars(n_frames=N)
    flags = np.zeros(flux.shape, np.int32)
    flux[0, 100:110] *= 3.0
    flags[0, 100:110] = int(Flag.COSMIC_RAY)
    write_night(tmp_path, flux, error, flags=flags)
    curve, _ = made(tmp_path)
    assert (curve["n_comparisons"][100:110] == 5).all()
    np.testing.assert_allclose(curve["norm_flux"][100:110], 1.0, atol=0.04)


def test_frames_of_other_length_compare(night_of_stars, write_night, tmp_path):
    flux, error, _ = night_of_stars(n_frames=N, exposure=2.0)
    write_night(tmp_path, flux, error, exposure=2.0)
    write_night(tmp_path / "long", 3 * flux, 3 * error, exposure=6.0)
    (one, stars), (other, stars_of_other) = made(tmp_path), made(tmp_path / "long")
    np.testing.assert_allclose(one["rel_flux"], other["rel_flux"], rtol=1e-9)
    # counts per second
    np.testing.assert_allclose(stars["flux"], stars_of_other["flux"], rtol=1e-9)


def test_limits_of_the_choice_are_settings(night):
    few = EnsembleConfig(max_comparisons=3)
    _, stars = made(night[0], ensemble=few, prefix="few")
    assert stars["used"].sum() <= 3
    with pytest.raises(SettingsChangedError, match="max_comparisons"):
        made(night[0], prefix="few")

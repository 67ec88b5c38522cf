"""Which stars are taken for comparison: statistics over seeds, with an injected truth."""

import numpy as np
import pytest

from opticam_dask.differential import EnsembleConfig
from opticam_dask.differential.choose import choose, given
from opticam_dask.errors import InputError
from opticam_dask.schema import Flag


def chosen(flux, error, flags=None, **limits):
    flags = np.zeros(flux.shape, np.int32) if flags is None else flags
    return choose(flux, error, flags, np.ones(flux.shape[1], bool), EnsembleConfig(**limits))


def test_constant_stars_are_kept(night_of_stars):
    rejected = sum(int((~chosen(*night_of_stars(seed=s, n_frames=600)[:2]).used).sum()) for s in range(30))
    assert rejected <= 1  # of 210


@pytest.mark.parametrize(("star", "period"), [(0, 1.3), (0, 0.02), (3, 0.7), (3, 0.013)])
def test_a_star_that_varies_by_more_than_its_noise_is_rejected_and_no_other(star, period, night_of_stars):
    noise = 0.007 if star == 0 else 0.012  # of one frame
    phase = np.linspace(0.0, 1.0, 800)
    wrong = 0
    for seed in range(6):
        factor = 1.0 + 2.0 * noise * np.sin(2 * np.pi * phase / period + seed)
        used = chosen(*night_of_stars(seed=seed, factors={star: factor})[:2]).used
        assert not used[star]
        wrong += int((~used).sum()) - 1
    assert wrong == 0


def test_slow_drifts_below_the_noise_of_a_frame_are_found(night_of_stars):
    drift = 1.0 + np.linspace(-0.008, 0.008, 800)  # 0.5 % rms, where a frame has 1.1 %
    found = [chosen(*night_of_stars(seed=s, factors={3: drift})[:2]) for s in range(6)]
    assert sum(not one.used[3] for one in found) == 6
    assert "drifts" in found[0].reason[3]


def test_what_cannot_be_seen_is_not_rejected(night_of_stars):
    tiny = 1.0 + 0.001 * np.sin(np.linspace(0.0, 9.0, 800))
    assert all(chosen(*night_of_stars(seed=s, factors={5: tiny})[:2]).used[5] for s in range(6))


def test_errors_that_are_all_too_small_reject_nobody(night_of_stars):
    flux, error, _ = night_of_stars()
    assert chosen(flux, 0.6 * error).used.all()


def test_a_scatter_that_all_bright_stars_share_rejects_nobody(night_of_stars):
    random = np.random.default_rng(5)
    factors = {star: 1.0 + 0.01 * random.normal(size=800) for star in range(7)}
    assert chosen(*night_of_stars(factors=factors)[:2]).used.all()


def test_two_variable_stars_of_six_are_both_found(night_of_stars):
    phase = np.linspace(0.0, 1.0, 800)
    factors = {0: 1.0 + 0.05 * np.sin(9.0 * phase), 2: 1.0 + 0.03 * np.sin(40.0 * phase)}
    rejected = ~chosen(*night_of_stars(factors=factors)[:2]).used
    assert np.flatnonzero(rejected).tolist() == [0, 2]


def test_rejection_stops_at_the_least_number(night_of_stars):
    phase = np.linspace(0.0, 1.0, 800)
    factors = {i: 1.0 + 0.05 * np.sin((3.0 + i) * phase) for i in range(7)}
    assert chosen(*night_of_stars(factors=factors)[:2], min_comparisons=5).used.sum() >= 5


def test_stars_unfit_for_comparison_say_why(night_of_stars):
    flux, error, _ = night_of_stars(n_frames=200)
    flags = np.zeros(flux.shape, np.int32)
    flags[0] = int(Flag.BLENDED)
    flags[1, ::10] = int(Flag.SATURATED)
    flags[2, :150] = int(Flag.EDGE)
    error[3] = flux[3]
    found = chosen(flux, error, flags, min_comparisons=1, max_comparisons=2)
    assert [bool(one) for one in found.reason] == [True, True, True, True, False, False, True]
    for reason, word in zip(
        found.reason, ["blended", "saturated", "25%", "faint", "", "", "brightest"], strict=True
    ):
        assert word in reason


def test_nothing_fit_is_no_choice(night_of_stars):
    flux, error, _ = night_of_stars(n_frames=50)
    assert chosen(flux * np.nan, error * np.nan) is None
    assert given(flux * np.nan, error * np.nan, np.zeros(flux.shape, np.int32), np.ones(50, bool)) is None


def test_cloudy_frames_do_not_decide(night_of_stars):
    clouds = np.where((np.arange(800) > 300) & (np.arange(800) < 400), 0.3, 1.0)
    flux, error, _ = night_of_stars(clouds=clouds)
    # patches: the cloud is not the same for every star
    flux[1, 301:400] *= 0.8
    flags = np.zeros(flux.shape, np.int32)
    flags[:, 301:400] = int(Flag.CLOUD)
    clear = (flags == 0).all(axis=0)
    assert choose(flux, error, flags, clear, EnsembleConfig()).used.all()
    assert not choose(flux, error, flags, np.ones(800, bool), EnsembleConfig()).used[1]


@pytest.mark.parametrize(
    "wrong", [{"min_comparisons": 0}, {"min_comparisons": 30}, {"min_fraction": 2.0}, {"n_sigma": 0.0}]
)
def test_limits_without_sense_are_refused(wrong):
    with pytest.raises(InputError):
        EnsembleConfig(**wrong)

"""Transits: injected depth, time and width, and the numbers of astropy."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_curves import EPOCH, curve
from astropy.timeseries import BoxLeastSquares

from opticam_dask.analysis import box_least_squares, fit_trapezoid
from opticam_dask.errors import InputError

DEPTH = 0.015


def transit(ingress: float = 1.0, seed: int = 0, *, period: float = 1e9, err: float = 0.002, n: int = 1200):
    """Star of 300 counts: 3000 s of transit about 6000 s."""
    seconds = np.arange(n) * 12.0
    since = (seconds - 6000 + 0.5 * period) % period - 0.5 * period
    edge = np.abs(since) - 1500
    flux = 1 - DEPTH * np.clip(0.5 - edge / ingress, 0, 1)
    flux = flux + err * np.random.default_rng(seed).standard_normal(n)
    return curve(seconds, 300 * flux, 300 * err)


def test_a_single_transit_is_found() -> None:
    found = box_least_squares(transit())
    assert found.depth == pytest.approx(DEPTH, abs=3 * found.depth_err)
    assert found.depth_err == pytest.approx(0.002 / np.sqrt(250) * np.sqrt(1.26), rel=0.15)
    assert (found.transit_time - EPOCH) * 86_400 == pytest.approx(6000, abs=30)
    assert found.duration == pytest.approx(3000, rel=0.04)
    assert found.n_transits == 1
    assert found.snr > 50


def test_a_trapezoid_has_the_whole_depth() -> None:
    pulls = []
    for seed in range(12):
        one = transit(600.0, seed)
        box = box_least_squares(one)
        fit = fit_trapezoid(one, box)
        seconds = (fit.transit_time - EPOCH) * 86_400
        pulls.append(
            [
                (fit.depth - DEPTH) / fit.depth_err,
                (seconds - 6000) / (fit.transit_time_err * 86_400),
                (fit.duration - 3000) / fit.duration_err,
                (fit.ingress - 600) / fit.ingress_err,
            ]
        )
        assert box.depth < DEPTH - 2 * box.depth_err
    assert np.abs(np.mean(pulls, axis=0)).max() < 1
    assert np.std(pulls, axis=0).max() < 1.7


def test_a_period_of_several_transits() -> None:
    one = transit(period=20_000, n=6000, err=0.004)
    found = box_least_squares(
        one, durations=[2000, 3000, 4000], minimum_period=10_000, maximum_period=30_000, minimum_n_transit=3
    )
    assert found.period == pytest.approx(20_000, rel=0.005)
    assert found.n_transits == 4
    assert (found.transit_time - EPOCH) * 86_400 == pytest.approx(6000, abs=100)


def test_the_periodogram_is_that_of_astropy() -> None:
    one = transit(period=20_000, n=3000)
    found = box_least_squares(one, durations=[3000], minimum_period=15_000, minimum_n_transit=2)
    level = np.median(one.flux)
    model = BoxLeastSquares(one.seconds, one.flux / level, one.flux_err / level)
    wanted = model.power(found.periods, [3000.0], objective="likelihood")
    assert found.power == pytest.approx(wanted.power)


def test_errors_grow_with_noise_that_was_not_expected() -> None:
    one = transit(seed=2)
    small = one.with_flux(one.flux, one.flux_err / 3)
    assert box_least_squares(small).depth_err == pytest.approx(box_least_squares(one).depth_err, rel=0.05)
    first, second = (fit_trapezoid(c, box_least_squares(c)).depth_err for c in (one, small))
    assert first == pytest.approx(second, rel=0.05)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda c: c.select(slice(0, 5)), {}, "10 samples or more"),
        (lambda c: c.with_flux(-c.flux, c.flux_err), {}, "median flux"),
        (lambda c: c, {"durations": [4000], "maximum_period": 3000}, "no periods from"),
        (lambda c: c, {"durations": [1], "maximum_period": 1e9}, "rebin it first"),
        (lambda c: c.with_flux(np.full(len(c), 5.0), c.flux_err), {}, "no dip found"),
    ],
)
def test_what_cannot_be_searched_is_said(change, options, said: str) -> None:
    with pytest.raises(InputError, match=said):
        box_least_squares(change(transit()), **options)

"""Lags between cameras: injected, by three methods, with errors that hold."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_curves import PERIOD, curve, sine, uneven

from opticam_dask.analysis import LightCurve, cross_correlation
from opticam_dask.analysis.correlation import centroid
from opticam_dask.analysis.iccf import interpolated_correlation
from opticam_dask.analysis.zdcf import discrete_correlation, z_errors
from opticam_dask.errors import InputError

RANGE = (-PERIOD / 4, 3 * PERIOD / 4)


def flare(seconds, lag: float = 0.0, seed: int = 0) -> LightCurve:
    """Two bumps, `lag` seconds late."""
    seconds = np.asarray(seconds, dtype=float)
    at = seconds - lag
    shape = np.exp(-0.5 * ((at - 120) / 8) ** 2) + 0.6 * np.exp(-0.5 * ((at - 190) / 12) ** 2)
    return curve(seconds, 1 + shape + 0.02 * np.random.default_rng(seed).standard_normal(len(at)), 0.02)


@pytest.mark.parametrize("method", ["iccf", "zdcf"])
def test_the_lag_is_positive_where_the_first_comes_later(method) -> None:
    late, early = flare(uneven(300, 1), 13.4, 1), flare(uneven(420, 2, step=0.7, gap=(90, 95)), seed=2)
    found = cross_correlation(late, early, method=method, lag_range=(-40, 40), n_bootstrap=20)
    assert found.lag == pytest.approx(13.4, abs=0.7)
    assert 0.01 < found.lag_err < 1
    other = cross_correlation(early, late, method=method, lag_range=(-40, 40))
    assert other.lag == pytest.approx(-found.lag, abs=0.2)


def test_stingray_has_the_same_sign_and_numbers() -> None:
    from stingray import CrossCorrelation

    from opticam_dask.analysis import to_stingray

    late, early = flare(np.arange(300), 10.0, 1), flare(np.arange(300), seed=2)
    found = cross_correlation(late, early, method="stingray", lag_range=(-40, 40), n_bootstrap=5)
    direct = CrossCorrelation(to_stingray(late), to_stingray(early), mode="same", norm="variance")
    near = np.abs(direct.time_lags) <= 40
    assert found.time_lags == pytest.approx(direct.time_lags[near])
    assert found.corr == pytest.approx(direct.corr[near])
    assert direct.time_shift == 10.0
    assert found.lag == pytest.approx(10.0, abs=0.3)
    assert 0 < found.lag_err < 0.5


@pytest.mark.parametrize("method", ["iccf", "zdcf", "stingray"])
@pytest.mark.parametrize("phase", [np.pi / 2, np.pi])
def test_phase_lags_between_cameras(method, phase: float) -> None:
    times = np.arange(400.0) if method == "stingray" else uneven(400, 1)
    other = times if method == "stingray" else uneven(400, 2) + 0.3
    first, second = sine(times, seed=1, err=0.014), sine(other, phase, seed=2, err=0.014)
    found = cross_correlation(first, second, method=method, lag_range=RANGE, n_bootstrap=25)
    lag, error = found.phase(1 / PERIOD)
    assert error < 0.2
    assert lag == pytest.approx(phase, abs=3 * error)


def test_errors_of_the_lag_are_not_too_small() -> None:
    off, errors = [], []
    for seed in range(12):
        first, second = (
            sine(uneven(200, seed), seed=seed),
            sine(uneven(200, seed + 50), np.pi / 2, seed=-seed % 97),
        )
        found = cross_correlation(first, second, method="zdcf", lag_range=RANGE, n_bootstrap=15, seed=seed)
        off.append(found.lag - PERIOD / 4)
        errors.append(found.lag_err)
    assert np.std(off) < 1.3 * np.mean(errors)
    assert abs(np.mean(off)) < np.mean(errors)


def test_the_bootstrap_gives_the_same_answer_again() -> None:
    pair = sine(uneven(100, 1)), sine(uneven(100, 2))
    runs = [cross_correlation(*pair, lag_range=RANGE, n_bootstrap=8, seed=s).lag_err for s in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_discrete_correlation_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = (curve(np.sort(rng.uniform(0, 60, n)), rng.normal(5, 1, n)) for n in (70, 90))
    lags = np.arange(-10, 10.5, 2.5)
    mean, corr, _, n = discrete_correlation(a, b, lags)
    apart = a.seconds[:, None] - b.seconds[None, :]
    for k, lag in enumerate(lags):
        i, j = np.nonzero((apart >= lag - 1.25) & (apart < lag + 1.25))
        assert corr[k] == pytest.approx(np.corrcoef(a.flux[i], b.flux[j])[0, 1])
        assert mean[k] == pytest.approx(apart[i, j].mean())
        assert n[k] == min(len(set(i)), len(set(j)))
    sparse = discrete_correlation(a.select(slice(0, 8)), b, lags)
    assert np.isnan(sparse[1]).all()
    assert np.isnan(sparse[2]).all()


def test_batches_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = sine(uneven(200, 1)), sine(uneven(150, 2))
    lags = np.arange(-5, 6.0)
    whole = discrete_correlation(a, b, lags)
    monkeypatch.setattr("opticam_dask.analysis.zdcf._BATCH", 7)
    for one, other in zip(whole, discrete_correlation(a, b, lags), strict=True):
        assert one == pytest.approx(other, rel=1e-9)


def test_z_errors_are_the_scatter_of_correlations() -> None:
    rng = np.random.default_rng(1)
    for rho in (0.0, 0.6):
        x = rng.standard_normal((2, 4000, 25))
        a, b = x[0], rho * x[0] + np.sqrt(1 - rho**2) * x[1]
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        corr = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        down, up = z_errors(np.array([rho]), np.array([25]))
        low, high = np.percentile(corr, [15.87, 84.13])
        assert (down[0], up[0]) == pytest.approx((rho - low, high - rho), abs=0.05)


def test_nothing_is_interpolated_across_a_gap() -> None:
    seconds = np.concatenate([np.arange(20.0), 100 + np.arange(20.0)])
    a, b = curve(seconds, np.sin(seconds)), curve(seconds + 50, np.cos(seconds))
    assert np.isnan(interpolated_correlation(a, b, np.array([0.0]))).all()
    assert np.isfinite(interpolated_correlation(a, b, np.array([-50.0, 50.0]))).all()


def test_centroids() -> None:
    lags = np.arange(-10, 11.0)
    peak = np.exp(-0.5 * ((lags - 2.3) / 3) ** 2)
    assert centroid(lags, peak) == pytest.approx(2.3, abs=0.01)
    peak[lags < 2] = np.nan
    assert centroid(lags, peak) > 2.3
    assert np.isnan(centroid(lags, np.full(21, np.nan)))
    assert centroid(lags, -1 - lags**2) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "dcf"}, "method must be"),
        ({"lag_range": (3, -3)}, "make no sense"),
        ({"dlag": 0}, "make no sense"),
        ({"dlag": 1e-9}, "too many"),
        ({"lag_range": (5e4, 6e4)}, "too few samples meet"),
        ({"method": "stingray"}, "not at the same times|sampled unevenly"),
    ],
)
def test_what_cannot_be_done_is_said(options, said: str) -> None:
    with pytest.raises(InputError, match=said):
        cross_correlation(sine(uneven(100, 1, gap=None)), sine(uneven(100, 2, gap=None)), **options)

"""Moments of clipped normal distributions against clipped samples."""

import numpy as np
import pytest

from opticam_dask.kernels.clipped_normal import clipped_normal
from opticam_dask.kernels.clipping import NO_CLIP, ClipRule, clip_sorted, statistics_of_sorted

N, TRIALS = 1000, 4000


def clipped_samples(rule, seed=0):
    values = np.sort(np.random.default_rng(seed).normal(0.0, 1.0, (TRIALS, N)), axis=1)
    return np.array([statistics_of_sorted(row, *clip_sorted(row, N, rule)) for row in values])


@pytest.mark.parametrize(
    "rule",
    [
        ClipRule(),
        NO_CLIP,
        ClipRule(2.5, 2.5),
        ClipRule(2.5, 2.5, 10, median_centre=False),
        ClipRule(2.0, 2.0, 1),
        ClipRule(3.0, 3.0, -1, mad_width=True),
        ClipRule(2.0, 2.0, 10, mad_width=True),
    ],
)
def test_clipped_samples_scatter_as_said(rule):
    mean, median, std, _, left = clipped_samples(rule).T
    expected = clipped_normal(rule)
    unbiased = np.sqrt(np.mean(std**2 * left / (left - 1)))
    assert unbiased == pytest.approx(expected.std, abs=0.003)
    found = np.cov(mean, median) * left.mean()
    assert found[0, 0] == pytest.approx(expected.mean_variance, rel=0.08)
    assert found[1, 1] == pytest.approx(expected.median_variance, rel=0.08)
    for weight in (0.0, 1.0, 2.5):
        mixed = weight * median + (1 - weight) * mean
        assert np.var(mixed) * left.mean() == pytest.approx(
            expected.level_variance(np.array(weight)), rel=0.08
        )


def test_known_values():
    assert clipped_normal(ClipRule()).std == pytest.approx(
        0.98485, abs=1e-5
    )  # s^2 = 1 - 2 k phi(k) / p, k = 3 s
    whole = clipped_normal(NO_CLIP)
    assert whole == pytest.approx((1.0, 1.0, np.pi / 2, 1.0))
    assert whole.level_variance(np.array(2.5)) == pytest.approx(6.25 * np.pi / 2 + 2.25 - 7.5)


def test_one_sided_clipping_leaves_a_truncated_normal():
    from scipy.stats import truncnorm

    once = clipped_normal(ClipRule(np.inf, 1.0, 1))
    assert once.std == pytest.approx(truncnorm(-30, 1).std(), rel=1e-9)
    deviation = clipped_normal(ClipRule(1.5, 1.5, 1, mad_width=True))
    assert deviation.std == pytest.approx(truncnorm(-1.5, 1.5).std(), rel=1e-6)

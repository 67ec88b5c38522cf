"""Scatter of frames about their mean, pixel by pixel: limits for outliers, and variances to trust."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.calibrate import Digits, Sums

Floats = NDArray[Any]

_TRIM_TWO = 7  # frames from which the two extremes on each side are left out of the first guess
_LEAST = 0.1  # variance where there is no light, at least, in units of that at the usual level
_MARGIN = 3.0  # errors of a level that it may differ by and still be the usual one
_SPOILT = 1e-4  # chance that a good pixel is left out of what is common to all
_TAIL = 1e-6  # chance that the scatter of a good pixel is called an outlier
_NOISY = 25.0  # variance of a bad pixel, at least, in units of what its level explains
_FREEDOMS = 1e6  # degrees of freedom that are as good as any number
_PIXELS = 2**20  # pixels looked at for what is common to all


@dataclass(frozen=True)
class NoiseModel:
    """Variance of one value as a straight line of its level; units of the values.

    Parameters
    ----------
    variance, level : float
        Variance at the usual level, and that level.
    slope : float
        Variance per level: shot noise.
    margin : float
        Differences in level below this are noise themselves.
    """

    variance: float
    level: float
    slope: float
    margin: float = 0.0

    def at(self, level: Floats) -> Floats:
        """Variance at levels; never less than a tenth of the usual."""
        above = level - self.level
        real = np.sign(above) * np.maximum(np.abs(above) - self.margin, 0.0)
        line = self.variance + self.slope * real
        return np.asarray(np.maximum(line, _LEAST * self.variance))


def first_guess(sums: Sums, digits: Digits) -> tuple[Floats, Floats, Floats]:
    """Centre and variance of each pixel from its values without the extremes.

    Returns
    -------
    centre : ndarray, float32
        Mean without the two extremes on each side (one, of fewer than seven frames; the lower of two frames);
        NaN without a value.
    own : ndarray, float32
        Variance of a value, from what is left, made up for what was left out; 0 of fewer than seven frames.
    plain : ndarray, float32
        Variance of a value that stands for the pixel when pixels are pooled.
    """
    count = sums.small[0].astype(np.int64)
    trim = np.where(count >= _TRIM_TWO, 2, np.where(count >= 3, 1, 0))
    extremes = sums.small[1:].astype(np.int64)
    cut = (trim >= 1) * (extremes[0] + extremes[2]) + (trim == 2) * (extremes[1] + extremes[3])
    squares = (trim >= 1) * (extremes[0] ** 2 + extremes[2] ** 2)
    squares += (trim == 2) * (extremes[1] ** 2 + extremes[3] ** 2)
    left = np.maximum(count - 2 * trim, 1)
    centre = (sums.sums[0] - cut) / left
    centre[count == 2] = extremes[0][count == 2]
    trimmed = np.maximum((sums.sums[1] - squares) / left - ((sums.sums[0] - cut) / left) ** 2, 0.0)
    own = np.where(trim == 2, trimmed / _trimmed_share(count), 0.0)
    plain = np.where(trim == 2, own, sample_variance(sums))
    centre[count == 0] = np.nan
    unit = digits.scale
    return (
        (centre / unit).astype(np.float32),
        (own / unit**2).astype(np.float32),
        (plain / unit**2).astype(np.float32),
    )


def sample_variance(sums: Sums) -> Floats:
    """Unbiased variance of the values of each pixel, in squared steps; NaN of fewer than two."""
    count = sums.small[0].astype(np.float64)
    mean = sums.sums[0] / np.maximum(count, 1)
    spread = np.maximum(sums.sums[1] - mean * sums.sums[0], 0.0)
    return np.asarray(np.where(count > 1, spread / np.maximum(count - 1, 1), np.nan))


def _trimmed_share(count: NDArray[np.int64]) -> Floats:
    """Variance of normal values without the two extremes on each side, in units of the whole variance."""
    from scipy.stats import norm

    longest = int(count.max(initial=_TRIM_TWO))
    n = np.arange(_TRIM_TWO, longest + 1)
    cut = norm.isf(2.0 / n)
    share = 1.0 - 2.0 * cut * norm.pdf(cut) / (1.0 - 4.0 / n)
    return np.asarray(np.concatenate([np.ones(_TRIM_TWO), share])[count])


def clip_limits(
    centre: Floats, own: Floats, count: Floats, noise: NoiseModel, sigma: float
) -> tuple[Floats, Floats]:
    """Lowest and highest value of each pixel to accept; of pixels without a centre none.

    A pixel's own scatter counts where it is larger than the usual: noisy pixels keep their values.
    """
    variance = np.maximum(own, noise.at(centre))
    variance = variance * np.where(count == 2, 2.0, 1.0 + 1.0 / np.maximum(count - 4, 1))
    reach = sigma * np.sqrt(variance)
    return np.asarray(centre - reach), np.asarray(centre + reach)


def fit_noise(level: Floats, variance: Floats, slope: float, freedom: float, floor: float) -> NoiseModel:
    """Noise model through the usual pixels.

    Parameters
    ----------
    level, variance : ndarray
        Level of each pixel, and variance of one value of it; NaN where unknown.
    slope : float
        Variance per level.
    freedom : float
        Degrees of freedom of the variances, whose median is less than their mean.
    floor : float
        Least variance.
    """
    level, variance = _some(level), _some(variance)
    usual = float(np.nanmedian(level)) if np.isfinite(level).any() else 0.0
    low, high = np.nanquantile(level, (0.25, 0.75)) if np.isfinite(level).any() else (0.0, 0.0)
    near = variance[(level >= low) & (level <= high) & np.isfinite(variance)]
    pooled = max(_pooled(near, freedom), floor) if near.size else floor
    return NoiseModel(pooled, usual, slope, _MARGIN * math.sqrt(pooled / (freedom + 1.0)))


def _pooled(variance: Floats, freedom: float) -> float:
    """Mean of variances without the improbably large ones, made up for their share.

    Not the median: frames of different levels scatter differently, which moves the median and not the mean.
    """
    from scipy.stats import chi2

    limit = float(chi2.isf(_SPOILT, freedom))
    kept = variance[variance <= float(np.median(variance)) * limit / float(chi2.median(freedom))]
    share = float(chi2.cdf(limit, freedom + 2.0) / chi2.cdf(limit, freedom))
    return float(kept.mean(dtype=np.float64)) / share


@dataclass(frozen=True)
class Moderation:
    """Variances of one value of each pixel, from its own scatter and from that of all.

    A variance from a few frames is itself uncertain by sqrt(2 / (n - 1)), and errors made of it would be
    wrong in both directions. If pixels differ no more than that, all get the variance of the noise model at
    their level; the more they differ, the more each keeps its own (empirical Bayes, Smyth 2004, with the
    scatter of the variances' logarithms measured by its quartiles). A pixel beyond all others keeps its own.

    Parameters
    ----------
    noise : NoiseModel
        Variance that the level explains.
    prior : float
        Degrees of freedom that it is worth against a pixel's own.
    beyond : float
        Ratio to it from which a pixel keeps its own.
    """

    noise: NoiseModel
    prior: float
    beyond: float

    @classmethod
    def fit(cls, variance: Floats, level: Floats, count: Floats, noise: NoiseModel) -> Moderation:
        """Measure how much pixels differ, on pixels all over the frame."""
        from scipy.stats import f

        variance, level, freedom = _some(variance), _some(level), _some(count) - 1.0
        known = np.isfinite(variance) & (freedom > 0)
        if not known.any():
            return cls(noise, _FREEDOMS, math.inf)
        usual = float(np.median(freedom[known]))
        alike = known & (freedom == usual)
        prior = _prior_freedom(variance[alike] / noise.at(level[alike]), usual)
        return cls(noise, prior, float(f.isf(_TAIL, usual, prior)))

    def of(self, variance: Floats, level: Floats, count: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Variance of one value, and pixels for which it is improbable and far above what is explained."""
        model = self.noise.at(level)
        freedom = np.maximum(count - 1.0, 0.0)
        ratio = np.where(np.isfinite(variance) & (freedom > 0), variance / model, 1.0)
        beyond = ratio > self.beyond
        mixed = (freedom * ratio + self.prior) / (freedom + self.prior)
        return model * np.where(beyond, ratio, mixed), beyond & (ratio > _NOISY)


def _prior_freedom(ratio: Floats, freedom: float) -> float:
    """Degrees of freedom that the variances of all pixels are worth against one pixel's own."""
    from scipy.stats import f

    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    if not ratio.size:
        return _FREEDOMS
    observed = float(np.subtract(*np.log(np.quantile(ratio, (0.75, 0.25)))))
    low, high = 0.0, math.log(_FREEDOMS)
    for _ in range(30):  # bisection: the fewer degrees of freedom, the wider the ratios spread
        middle = 0.5 * (low + high)
        quartiles = f.ppf((0.75, 0.25), freedom, math.exp(middle))
        low, high = (middle, high) if float(np.subtract(*np.log(quartiles))) > observed else (low, middle)
    return math.exp(0.5 * (low + high))


def clipped_share(sigma: float) -> float:
    """Variance that normal values keep when those beyond ``sigma`` go."""
    inside = math.erf(sigma / math.sqrt(2.0))
    return 1.0 - 2.0 * sigma * math.exp(-0.5 * sigma**2) / math.sqrt(2.0 * math.pi) / inside


def _some(values: Floats) -> Floats:
    flat = values.ravel()
    return flat[:: max(1, flat.size // _PIXELS)]

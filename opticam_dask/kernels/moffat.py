"""Moffat profile common to the stars of a frame, by least squares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.kernels.profile import fill_profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.stamps import Ellipse, Stamps

    Array = NDArray[np.float64]

MAX_BETA = 300.0
"""A fit that ends here means a Gaussian, within 0.1 % of the flux; at an exponent of 30 it would be 0.9 %."""

_MIN_BETA, _START_BETA = 1.05, 3.0
_ROUNDS = 3  # of centres and weights
_BAD_STAR = 3.0  # a star fits worse than the median one by this factor in chi^2: a blend, a galaxy, a hit
_BOUNDS = np.array([math.log(4.0), 1.5, 1.5, 0.0])  # how wrong the start may be; the exponent has its own
_DERIVATIVE, _TOLERANCE, _MAX_STEPS = 1e-4, 1e-5, 40
_MIN_PIXELS = 30
_BRIGHT = 20.0  # least signal-to-noise ratio of a star, with the shape of the start


class MoffatShape(NamedTuple):
    """Widths (FWHM / 2.3548) along the axes [pixel], position angle of the first [degrees], and exponent.

    Its fields in this order make a `types.PsfModel`.
    """

    semimajor_sigma: float
    semiminor_sigma: float
    orientation: float
    beta: float


def fit_moffat(stamps: Stamps, start: Ellipse, *, scatter: float, gain: float = 1.0) -> MoffatShape:
    """Fit one Moffat shape to bright, isolated stars of one frame.

    Widths, angle and exponent are common; each star has its own height, centre and sky level, which are
    solved for linearly. Stars that the shape of the others does not fit are left out.

    Parameters
    ----------
    stamps : Stamps
        Cut-outs of the stars with enough sky around them (some 6 standard deviations or more) to tell wings
        from sky; NaN pixels are left out.
    start : Ellipse
        Standard deviations and angle to start from, right within a factor of 4.
    scatter : float
        Scatter of the sky pixels [adu].
    gain : float
        Gain [electron / adu].

    Returns
    -------
    MoffatShape
        The shape, all NaN if no star is bright enough; an exponent near `MAX_BETA` means a Gaussian.
    """
    stars = [_Star(pixels, xy, scatter, gain) for pixels, xy in zip(stamps.pixels, stamps.xy, strict=True)]
    first = _to_vector(start)
    fits = [(star, _fit([star], first)) for star in stars if star.signal_to_noise(first) >= _BRIGHT]
    alone = [(star, fit) for star, fit in fits if fit is not None]
    if not alone:
        return MoffatShape(math.nan, math.nan, math.nan, math.nan)
    shape = np.median([fit for _, fit in alone], axis=0)
    stars = [star for star, _ in alone]
    for _ in range(_ROUNDS):
        for star in stars:
            star.update(shape)
        shape = _joint(_fitting(stars, shape), shape)
    return _from_vector(shape)


class _Star:
    """One cut-out: its pixels, and what of the last round makes centre and weights."""

    def __init__(self, pixels: Array, xy: Array, scatter: float, gain: float) -> None:
        self.good = np.isfinite(pixels)
        self.data = pixels[self.good]
        self.size, self.xy, self.sky_variance, self.gain = pixels.shape, xy.copy(), scatter**2, gain
        light = np.zeros(0)
        if self.data.size:  # before there is a model, all above the median counts as light
            light = np.maximum(self.data - np.median(self.data), 0.0)
        self.weight = 1.0 / np.sqrt(self.sky_variance + light / gain)

    def solve(self, shape: Array) -> tuple[Array, Array, Array]:
        """Height, shift times height along x and y, and sky; the model of the star; weighted residuals."""
        templates = np.empty((4, *self.size))
        _fill_templates(templates, self.xy[0], self.xy[1], _terms(shape))
        design = templates[:, self.good] * self.weight
        found = _least_squares(design, self.data * self.weight)
        light = found[0] * design[0] + found[1] * design[1] + found[2] * design[2]
        return found, light / self.weight, self.data * self.weight - light - found[3] * design[3]

    def signal_to_noise(self, shape: Array) -> float:
        """Light of the star over its error, if it has this shape; 0 without enough pixels."""
        if self.data.size < _MIN_PIXELS:
            return 0.0
        _, model, _ = self.solve(shape)
        return math.copysign(float(np.linalg.norm(model * self.weight)), model.sum())

    def update(self, shape: Array) -> None:
        """Move the centre to where the shape fits best, by a pixel at most, and take its shot noise."""
        found, model, _ = self.solve(shape)
        if found[0] > 0.0:
            self.xy += np.clip(found[1:3] / found[0], -1.0, 1.0)
        self.weight = 1.0 / np.sqrt(self.sky_variance + np.maximum(model, 0.0) / self.gain)

    def misfit(self, shape: Array) -> float:
        """Mean square of the weighted residuals; infinite for what is no star."""
        found, _, residuals = self.solve(shape)
        return float(np.mean(residuals**2)) if found[0] > 0.0 else math.inf


def _fitting(stars: list[_Star], shape: Array) -> list[_Star]:
    """Stars that the shape fits about as well as it fits the median one."""
    misfits = np.array([star.misfit(shape) for star in stars])
    limit = _BAD_STAR * np.median(misfits)
    return [star for star, misfit in zip(stars, misfits, strict=True) if misfit <= limit]


def _joint(stars: list[_Star], shape: Array) -> Array:
    found = _fit(stars, shape)
    return shape if found is None else found


def _fit(stars: list[_Star], first: Array) -> Array | None:
    """Shape of least squares, by Levenberg and Marquardt; None if a star ends without light."""
    low, high = first - _BOUNDS, first + _BOUNDS
    low[3], high[3] = math.log(_MIN_BETA - 1.0), math.log(MAX_BETA - 1.0)
    shape, damping = first, 1e-3
    residuals = _residuals(stars, shape)
    for _ in range(_MAX_STEPS):
        slopes = np.array([_residuals(stars, shape + step) - residuals for step in _DERIVATIVE * np.eye(4)])
        trial = np.clip(shape - _least_squares(slopes, residuals, damping) * _DERIVATIVE, low, high)
        change, after = np.abs(trial - shape).max(), _residuals(stars, trial)
        if _square(after) <= _square(residuals):
            shape, residuals, damping = trial, after, 0.1 * damping
        else:
            damping *= 10.0
        if change < _TOLERANCE:
            break
    shining = all(star.solve(shape)[0][0] > 0.0 for star in stars)
    return shape if stars and shining else None


def _residuals(stars: list[_Star], shape: Array) -> Array:
    return np.concatenate([star.solve(shape)[2] for star in stars])


def _least_squares(design: Array, data: Array, damping: float = 0.0) -> Array:
    """Coefficients of the rows of ``design`` that add up to ``data``, with Marquardt's damping.

    The sums are taken in one order whatever the machine; rows of no effect get 0.
    """
    normal, right = _normal_equations(design, data)
    scale = np.sqrt(np.diag(normal))
    scale[scale == 0.0] = 1.0
    matrix = normal / np.outer(scale, scale) + (damping + 1e-14) * np.eye(len(scale))
    return np.asarray(np.linalg.solve(matrix, right / scale) / scale)


def _to_vector(ellipse: Ellipse) -> Array:
    """Log of the mean width, two components of half the log of the axis ratio, and log(beta - 1).

    Unlike axes and angle, these have no singular point at a round star.
    """
    stretch = 0.5 * math.log(ellipse.semimajor / ellipse.semiminor)
    return np.array(
        [
            0.5 * math.log(ellipse.semimajor * ellipse.semiminor),
            stretch * math.cos(2.0 * ellipse.orientation_rad),
            stretch * math.sin(2.0 * ellipse.orientation_rad),
            math.log(_START_BETA - 1.0),
        ]
    )


def _terms(shape: Array) -> tuple[float, float, float, float, float]:
    """Shape as `fill_profile` takes it, without a limit to its radius."""
    stretch = math.hypot(shape[1], shape[2])
    angle = 0.5 * math.atan2(shape[2], shape[1])
    wide, narrow = math.exp(shape[0] + stretch), math.exp(shape[0] - stretch)
    return wide, narrow, angle, 1.0 + math.exp(shape[3]), math.inf


def _from_vector(shape: Array) -> MoffatShape:
    wide, narrow, angle, beta, _ = _terms(shape)
    return MoffatShape(wide, narrow, math.degrees(angle), beta)


@njit(cache=True, nogil=True)
def _fill_templates(templates, x, y, shape):
    """Fill with the profile, its derivatives by the star's x and y, and a level of 1.

    Differences between pixels do for the derivatives: their factors vanish as the centre converges.
    """
    templates[:] = 0.0
    fill_profile(templates[0], x, y, shape)
    templates[1, :, 1:-1] = 0.5 * (templates[0, :, :-2] - templates[0, :, 2:])
    templates[2, 1:-1] = 0.5 * (templates[0, :-2] - templates[0, 2:])
    templates[3] = 1.0


@njit(cache=True, nogil=True)
def _normal_equations(design, data):
    """Products of the rows with each other and with the data, summed in order."""
    n, size = design.shape
    normal, right = np.zeros((n, n)), np.zeros(n)
    for j in range(n):
        for i in range(size):
            right[j] += design[j, i] * data[i]
        for k in range(j, n):
            for i in range(size):
                normal[j, k] += design[j, i] * design[k, i]
            normal[k, j] = normal[j, k]
    return normal, right


@njit(cache=True, nogil=True)
def _square(values):
    total = 0.0
    for value in values:
        total += value * value
    return total

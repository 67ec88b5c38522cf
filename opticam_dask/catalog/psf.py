"""PSF of a camera from its stars on single frames: stacking would widen it, isophotes would narrow it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.scouts import Reference, Scout
from opticam_dask.errors import CatalogError
from opticam_dask.kernels.align import Match
from opticam_dask.kernels.moments import axes_of, positions, rotate_covariance
from opticam_dask.kernels.transform import invert
from opticam_dask.types import PsfModel

_GOOD_SNR = 20.0
_CLEAR_OF_OTHERS = 8.0  # distance to a star of 2 % of the flux [sigma]
_SATURATED = 0.9  # of the saturation level


def psf_model(reference: Reference, selector: Callable[..., Any]) -> PsfModel:
    """PSF in the orientation of the reference frame.

    Each star's covariance is rotated from every frame it is seen in into the reference, and the median over
    the frames taken; `selector` chooses among the stars' sigmas. The orientation is an axial mean: angles
    180 degrees apart are the same, so twice the angle is averaged, each star weighing by its elongation.

    Parameters
    ----------
    reference : Reference
        Stars and matches.
    selector : callable
        List of sigmas in, one sigma out, such as `numpy.median`.

    Returns
    -------
    PsfModel

    Raises
    ------
    CatalogError
        If `selector` does not return a positive number.
    """
    good = _suitable(reference)
    covariance = np.array(
        [np.median(c, axis=0) for c, use in zip(_covariances(reference), good, strict=True) if use]
    )
    major, minor, angle = axes_of(covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1])
    sigmas = sorted((float(selector(minor)), float(selector(major))))
    elongation = major**2 - minor**2
    doubled = complex((elongation * np.exp(2j * angle)).sum())
    if not (all(math.isfinite(s) for s in sigmas) and sigmas[0] > 0):
        raise CatalogError(f"aperture_selector gave the sigmas {sigmas}; it must return a positive number")
    return PsfModel(sigmas[1], sigmas[0], math.degrees(0.5 * math.atan2(doubled.imag, doubled.real)))


def saturated(star: Any, saturation: float) -> bool:
    """Whether a star's highest pixel is near the saturation level; unknown levels saturate nothing."""
    return bool(star["peak"] >= _SATURATED * saturation) if math.isfinite(saturation) else False


def _covariances(reference: Reference) -> list[NDArray[np.float64]]:
    """Covariances of each reference star on the frames it is seen in, each of shape (n_frames, 2, 2)."""
    found: list[list[NDArray[np.float64]]] = [[] for _ in reference.stars]
    for scout, match in reference.matches:
        rotated = _rotated(scout, match)
        for star, covariance in zip(match.reference, rotated, strict=True):
            found[star].append(covariance)
    return [np.array(c).reshape(-1, 2, 2) for c in found]


def _rotated(scout: Scout, match: Match) -> NDArray[np.float64]:
    return rotate_covariance(scout.stars[match.frame], invert(match.affine)[:, :2])


def _suitable(reference: Reference) -> NDArray[np.bool_]:
    """Bright, unsaturated, isolated stars seen in some frame; a demand none meets is dropped."""
    stars = reference.stars
    seen = np.array([len(c) > 0 for c in _covariances(reference)])
    limit = reference.scout.saturation
    linear = np.array([not saturated(star, limit) for star in stars])
    xy = positions(stars)
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1)) < _CLEAR_OF_OTHERS * reference.sigma
    disturbing = apart & (stars["flux"][None] > 0.02 * stars["flux"][:, None])
    np.fill_diagonal(disturbing, False)
    demands = [seen, linear, stars["snr"] >= _GOOD_SNR, ~disturbing.any(axis=1)]
    good = np.ones(len(stars), bool)
    for demand in demands:
        good = good & demand if (good & demand).any() else good
    return good

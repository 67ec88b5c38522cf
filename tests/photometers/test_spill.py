"""A neighbour that changes a flux by more than its error is flagged; one that does not, hardly ever."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from opticam_dask.kernels.spill import beyond
from opticam_dask.photometers import AperturePhotometer, OptimalPhotometer
from opticam_dask.schema import Flag
from opticam_dask.types import PsfModel

PSF = PsfModel(2.6, 1.8, 37.0)
SHAPE = (141, 163)
CENTRE = np.array([80.3, 70.6])


def frame(places: np.ndarray, fluxes: np.ndarray) -> np.ndarray:
    row, column = np.indices(SHAPE)
    image = np.full(SHAPE, 100.0)
    c, s = np.cos(PSF.orientation_rad), np.sin(PSF.orientation_rad)
    a, b = PSF.semimajor_sigma, PSF.semiminor_sigma
    for (x, y), flux in zip(places, fluxes, strict=True):
        u, v = (column - x) * c + (row - y) * s, (row - y) * c - (column - x) * s
        image += flux / (2 * np.pi * a * b) * np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2))
    return image


def estimator(data: np.ndarray, **_: object) -> tuple[float, float]:
    return 100.0, 10.0


@pytest.mark.parametrize("photometer", [OptimalPhotometer, AperturePhotometer])
@pytest.mark.parametrize("bright", [2e3, 3e4, 1e6])
def test_every_neighbour_that_matters_is_flagged(photometer: type, bright: float) -> None:
    measure = photometer(forced=True, local_background_estimator=estimator).measure
    along = np.array([math.cos(PSF.orientation_rad), math.sin(PSF.orientation_rad)])
    across = np.array([-along[1], along[0]])
    missed, needless = 0, 0
    for axis, sigma in ((along, PSF.semimajor_sigma), (across, PSF.semiminor_sigma)):
        for distance in np.arange(2.5, 12.0, 0.5):
            for ratio in (0.1, 1.0, 10.0):
                places = np.array([CENTRE, CENTRE + distance * sigma * axis])
                found = measure(frame(places, np.array([bright, ratio * bright])), places, PSF)[0]
                bias = abs(found["flux"] - bright) / found["flux_err"]
                flagged = bool(found["flags"] & int(Flag.BLENDED))
                missed += bias > 2.0 and not flagged
                needless += bias < 0.02 and flagged
    assert missed == 0
    assert needless <= 12  # of 114


def test_the_tails_are_those_of_the_profiles() -> None:
    assert beyond(2.0, math.inf) == pytest.approx(2 * (1 - 0.9772498680518208))
    k = (2 ** (1 / 3.0) - 1) / (2 * math.log(2))
    outside = quad(lambda r: r * (1 + k * r * r) ** -3.0, 2.0, np.inf)[0]
    whole = quad(lambda r: r * (1 + k * r * r) ** -3.0, 0.0, np.inf)[0]
    assert beyond(2.0, 3.0) == pytest.approx(0.5 * outside / whole)


def test_what_has_no_flux_spills_nothing() -> None:
    places = np.array([CENTRE, CENTRE + 9.0])
    image = frame(places, np.array([3e4, 3e4]))
    image[int(places[1, 1]) - 3 : int(places[1, 1]) + 4, int(places[1, 0]) - 3 : int(places[1, 0]) + 4] = (
        np.nan
    )
    found = OptimalPhotometer(forced=True, local_background_estimator=estimator).measure(image, places, PSF)
    assert np.isnan(found["flux"][1])
    assert not found["flags"][1] & int(Flag.BLENDED)

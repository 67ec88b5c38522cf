"""Photometers and local backgrounds that users construct and pass in."""

from opticam_dask.photometers.aperture import AperturePhotometer
from opticam_dask.photometers.base import BasePhotometer
from opticam_dask.photometers.estimator import check_estimator
from opticam_dask.photometers.local_background import (
    BaseLocalBackground,
    DefaultLocalBackground,
    MedianLocalBackground,
    ModeLocalBackground,
)
from opticam_dask.photometers.noise_budget import NoiseBudget
from opticam_dask.photometers.optimal import OptimalPhotometer
from opticam_dask.photometers.plane_background import PlaneLocalBackground

__all__ = [
    "AperturePhotometer",
    "BaseLocalBackground",
    "BasePhotometer",
    "DefaultLocalBackground",
    "MedianLocalBackground",
    "ModeLocalBackground",
    "NoiseBudget",
    "OptimalPhotometer",
    "PlaneLocalBackground",
    "check_estimator",
]

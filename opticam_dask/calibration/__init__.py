"""Master frames of bias, dark and flat, and frames calibrated with them as they are read."""

from opticam_dask.calibration.blocks import CalibratedBlock, calibrated, near_sources
from opticam_dask.calibration.correctors import BiasCorrector, DarkNoiseCorrector, FlatFieldCorrector
from opticam_dask.calibration.frame import FrameCalibration
from opticam_dask.calibration.plan import CalibrationOptions, calibrations_for

__all__ = [
    "BiasCorrector",
    "CalibratedBlock",
    "CalibrationOptions",
    "DarkNoiseCorrector",
    "FlatFieldCorrector",
    "FrameCalibration",
    "calibrated",
    "calibrations_for",
    "near_sources",
]

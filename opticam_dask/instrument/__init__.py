"""Instruments: sites, cameras, and how headers are to be read."""

from opticam_dask.instrument.built_in import BUILT_IN, GENERIC, OPTICAM_MX, get_instrument
from opticam_dask.instrument.camera_spec import CameraSpec
from opticam_dask.instrument.model import Instrument, Value
from opticam_dask.instrument.names import safe_name
from opticam_dask.instrument.rolling_shutter import RollingShutter
from opticam_dask.instrument.rules import ROLES

__all__ = [
    "BUILT_IN",
    "GENERIC",
    "OPTICAM_MX",
    "ROLES",
    "CameraSpec",
    "Instrument",
    "RollingShutter",
    "Value",
    "get_instrument",
    "safe_name",
]

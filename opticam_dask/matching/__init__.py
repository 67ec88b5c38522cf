"""The master source table: the same star has one ID in every night and camera."""

from opticam_dask.matching.master import Master
from opticam_dask.matching.model import NightCatalog

__all__ = ["Master", "NightCatalog"]

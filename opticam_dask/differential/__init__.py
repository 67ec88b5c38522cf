"""Differential photometry: a star relative to others, chosen by hand or automatically."""

from opticam_dask.differential.config import EnsembleConfig
from opticam_dask.differential.photometer import DifferentialPhotometer
from opticam_dask.differential.results import RelativeLightCurves

__all__ = ["DifferentialPhotometer", "EnsembleConfig", "RelativeLightCurves"]

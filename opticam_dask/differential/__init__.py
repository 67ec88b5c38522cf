"""Differential photometry: a star relative to others, chosen by hand or automatically."""

from opticam_dask.differential.config import EnsembleConfig

__all__ = ["EnsembleConfig"]

"""The two stages of a reduction: frames to catalogues, catalogues to light curves."""

from opticam_dask.stages.catalog import CatalogStage as CatalogStage
from opticam_dask.stages.photometry import PhotometryStage as PhotometryStage

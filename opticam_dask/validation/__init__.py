"""Simulated nights against their truth: whether fluxes are right, and error bars tell how right."""

from opticam_dask.validation.runs import PullTest, pull_test
from opticam_dask.validation.scenes import pull_scene

__all__ = ["PullTest", "pull_scene", "pull_test"]

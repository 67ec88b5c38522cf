"""Calibrated light curves from nights of high-speed multi-camera CCD frames, on a laptop or a cluster.

Names are imported when first used, so that ``import opticam_dask`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opticam_dask import errors as errors
    from opticam_dask.analysis import Analyzer as Analyzer
    from opticam_dask.analysis import LightCurve as LightCurve
    from opticam_dask.analysis import variability as variability
    from opticam_dask.calibration import BiasCorrector as BiasCorrector
    from opticam_dask.calibration import DarkNoiseCorrector as DarkNoiseCorrector
    from opticam_dask.calibration import FlatFieldCorrector as FlatFieldCorrector
    from opticam_dask.catalog.background import BaseBackground as BaseBackground
    from opticam_dask.catalog.background import DefaultBackground as DefaultBackground
    from opticam_dask.catalog.finder import DefaultFinder as DefaultFinder
    from opticam_dask.cluster_spec import ClusterSpec as ClusterSpec
    from opticam_dask.differential import DifferentialPhotometer as DifferentialPhotometer
    from opticam_dask.differential import EnsembleConfig as EnsembleConfig
    from opticam_dask.differential import RelativeLightCurves as RelativeLightCurves
    from opticam_dask.explore import CubeExplorer as CubeExplorer
    from opticam_dask.ingestion import ingest as ingest
    from opticam_dask.ingestion import verify_store as verify_store
    from opticam_dask.instrument import GENERIC as GENERIC
    from opticam_dask.instrument import OPTICAM_MX as OPTICAM_MX
    from opticam_dask.instrument import CameraSpec as CameraSpec
    from opticam_dask.instrument import Instrument as Instrument
    from opticam_dask.io.cube import open_observation as open_observation
    from opticam_dask.io.cube import stack_cameras as stack_cameras
    from opticam_dask.io.wcs import sky_coordinates as sky_coordinates
    from opticam_dask.matching import Master as Master
    from opticam_dask.observation import check_data as check_data
    from opticam_dask.photometers import AperturePhotometer as AperturePhotometer
    from opticam_dask.photometers import BaseLocalBackground as BaseLocalBackground
    from opticam_dask.photometers import BasePhotometer as BasePhotometer
    from opticam_dask.photometers import DefaultLocalBackground as DefaultLocalBackground
    from opticam_dask.photometers import MedianLocalBackground as MedianLocalBackground
    from opticam_dask.photometers import ModeLocalBackground as ModeLocalBackground
    from opticam_dask.photometers import OptimalPhotometer as OptimalPhotometer
    from opticam_dask.photometers import PlaneLocalBackground as PlaneLocalBackground
    from opticam_dask.photometers.noise_budget import NoiseBudget as NoiseBudget
    from opticam_dask.reducer import Reducer as Reducer
    from opticam_dask.report import write_report as write_report
    from opticam_dask.schema import Flag as Flag
    from opticam_dask.simulate import Scene as Scene
    from opticam_dask.simulate import generate_flats as generate_flats
    from opticam_dask.simulate import generate_gappy_observations as generate_gappy_observations
    from opticam_dask.simulate import generate_observations as generate_observations
    from opticam_dask.simulate import simulate_calibration as simulate_calibration
    from opticam_dask.simulate import simulate_night as simulate_night
    from opticam_dask.simulate import simulate_survey as simulate_survey
    from opticam_dask.survey import Survey as Survey
    from opticam_dask.survey import SurveyOptions as SurveyOptions
    from opticam_dask.survey import SurveyReport as SurveyReport
    from opticam_dask.survey import read_ledger as read_ledger
    from opticam_dask.survey.vacuum import vacuum as vacuum
    from opticam_dask.tables.compact import compact as compact
    from opticam_dask.tables.failures import failed_blocks as failed_blocks
    from opticam_dask.tables.outdated import OutdatedRowsWarning as OutdatedRowsWarning
    from opticam_dask.tables.quality import frame_quality as frame_quality
    from opticam_dask.tables.relative import comparison_stars as comparison_stars
    from opticam_dask.tables.relative import open_relative_light_curves as open_relative_light_curves
    from opticam_dask.tables.relative import relative_light_curve as relative_light_curve
    from opticam_dask.tables.relative import relative_names as relative_names
    from opticam_dask.tables.relative import relative_nights as relative_nights
    from opticam_dask.tables.store import light_curve as light_curve
    from opticam_dask.tables.store import open_light_curves as open_light_curves
    from opticam_dask.tables.verify_reduction import verify as verify
    from opticam_dask.types import Exposure as Exposure
    from opticam_dask.types import PsfModel as PsfModel

_HOME = {
    "Analyzer": "analysis",
    "AperturePhotometer": "photometers",
    "BaseBackground": "catalog.background",
    "BaseLocalBackground": "photometers",
    "BasePhotometer": "photometers",
    "BiasCorrector": "calibration",
    "CameraSpec": "instrument",
    "ClusterSpec": "cluster_spec",
    "CubeExplorer": "explore",
    "DarkNoiseCorrector": "calibration",
    "DefaultBackground": "catalog.background",
    "DefaultFinder": "catalog.finder",
    "DefaultLocalBackground": "photometers",
    "DifferentialPhotometer": "differential",
    "EnsembleConfig": "differential",
    "Exposure": "types",
    "Flag": "schema",
    "FlatFieldCorrector": "calibration",
    "GENERIC": "instrument",
    "Instrument": "instrument",
    "LightCurve": "analysis",
    "Master": "matching",
    "MedianLocalBackground": "photometers",
    "ModeLocalBackground": "photometers",
    "NoiseBudget": "photometers.noise_budget",
    "OPTICAM_MX": "instrument",
    "OptimalPhotometer": "photometers",
    "OutdatedRowsWarning": "tables.outdated",
    "PlaneLocalBackground": "photometers",
    "PsfModel": "types",
    "Reducer": "reducer",
    "RelativeLightCurves": "differential",
    "Scene": "simulate",
    "Survey": "survey",
    "SurveyOptions": "survey",
    "SurveyReport": "survey",
    "check_data": "observation",
    "compact": "tables.compact",
    "comparison_stars": "tables.relative",
    "failed_blocks": "tables.failures",
    "frame_quality": "tables.quality",
    "generate_flats": "simulate",
    "generate_gappy_observations": "simulate",
    "generate_observations": "simulate",
    "ingest": "ingestion",
    "light_curve": "tables.store",
    "open_light_curves": "tables.store",
    "open_observation": "io.cube",
    "open_relative_light_curves": "tables.relative",
    "read_ledger": "survey",
    "relative_light_curve": "tables.relative",
    "relative_names": "tables.relative",
    "relative_nights": "tables.relative",
    "simulate_calibration": "simulate",
    "simulate_night": "simulate",
    "simulate_survey": "simulate",
    "sky_coordinates": "io.wcs",
    "stack_cameras": "io.cube",
    "vacuum": "survey.vacuum",
    "variability": "analysis",
    "verify": "tables.verify_reduction",
    "verify_store": "ingestion",
    "write_report": "report",
}

__all__ = [*_HOME, "errors"]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("opticam_dask.errors")
    if name not in _HOME:
        raise AttributeError(f"module 'opticam_dask' has no attribute {name!r}")
    value = getattr(import_module(f"opticam_dask.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

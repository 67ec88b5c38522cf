"""Simulated nights: the tutorial's scene, and serious ones with a truth table."""

from opticam_dask.simulate.calibration import SimulatedCalibration, simulate_calibration
from opticam_dask.simulate.observations import SimulatedNight, simulate_flats, simulate_night
from opticam_dask.simulate.parts import CameraSetup, Cloud, Transit, Variable
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.survey import SimulatedSurvey, simulate_survey
from opticam_dask.simulate.tutorial import (
    generate_flats,
    generate_gappy_observations,
    generate_observations,
    tutorial_scene,
)

__all__ = [
    "CameraSetup",
    "Cloud",
    "Scene",
    "SimulatedCalibration",
    "SimulatedNight",
    "SimulatedSurvey",
    "Transit",
    "Variable",
    "generate_flats",
    "generate_gappy_observations",
    "generate_observations",
    "simulate_calibration",
    "simulate_flats",
    "simulate_night",
    "simulate_survey",
    "tutorial_scene",
]

"""From frames to a transit: drift, changing seeing, and a comparison star that varies."""

import numpy as np
import pytest

import opticam_dask as opticam
from opticam_dask.analysis import box_least_squares
from opticam_dask.differential import DifferentialPhotometer
from opticam_dask.simulate import CameraSetup, Scene, Transit, Variable, simulate_night

DEPTH, DURATION, MIDDLE = 0.015, 1500.0, 2600.0
CADENCE, N_FRAMES = 20.0, 280
TARGET, VARIABLE = 3, 2
STARS = (
    (60.0, 40.0, 1.5e5),
    (150.0, 120.0, 1.2e5),
    (105.0, 75.0, 9e4),
    (180.0, 35.0, 7e4),
    (40.0, 110.0, 5e4),
    (130.0, 28.0, 4e4),
    (75.0, 128.0, 3e4),
    (190.0, 85.0, 2e4),
)


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transit")
    hours = CADENCE * N_FRAMES / 3600.0
    scene = Scene(
        seed=7,
        n_frames=N_FRAMES,
        cameras=(CameraSetup(filter="g", cadence_s=CADENCE),),
        exposure_s=5.0,
        shape=(160, 470),
        stars=STARS,
        semimajor_sigma=1.7,
        semiminor_sigma=1.4,
        orientation=30.0,
        sky=50.0,
        drift_px_per_hour=(250.0 / hours, 4.0),
        jitter_px=0.4,
        seeing_change=0.5,
        variables=(Variable(star=VARIABLE, amplitude=0.02, frequency_hz=1.0 / 3500.0),),
        transits=(Transit(star=TARGET, depth=DEPTH, middle_s=MIDDLE, duration_s=DURATION, ingress_s=40.0),),
        dtype="float32",
        compression="none",
    )
    simulate_night(scene, folder / "data", workers=1)
    reducer = opticam.Reducer(
        data_directory=folder / "data",
        out_directory=folder / "out",
        verbose=False,
        show_plots=False,
        cluster="threads",
    )
    reducer.create_catalogs()
    reducer.photometry(opticam.OptimalPhotometer(psf="frame", forced=True))
    return folder / "out"


@pytest.mark.slow
def test_a_transit_is_found_and_the_variable_comparison_is_not_used(reduced):
    photometer = DifferentialPhotometer(reduced, show_plots=False, verbose=False)
    found = photometer.get_relative_light_curve("1:g", TARGET)
    stars = found.comparisons.set_index("source")
    assert not stars.loc[VARIABLE, "used"]
    assert stars.loc[VARIABLE, "reason"].startswith("variable")
    assert stars.drop(VARIABLE)["used"].all()
    curve = found.tables["1:g"]
    assert np.ptp(curve["x"]) > 240.0
    assert np.ptp(curve["fwhm"]) > 0.3 * curve["fwhm"].median()
    transit = box_least_squares(found.light_curves["1:g"])
    assert abs(transit.depth - DEPTH) < 2.0 * transit.depth_err
    assert transit.depth > 10.0 * transit.depth_err
    assert transit.duration == pytest.approx(DURATION, rel=0.15)
    middle = (transit.transit_time - curve["MJD"].iloc[0]) * 86400.0
    assert middle == pytest.approx(MIDDLE, abs=2 * CADENCE)
    # outside the transit it varies like the variable star where it is compared with that one alone
    worse = photometer.get_relative_light_curve("1:g", TARGET, VARIABLE).tables["1:g"]
    seconds = (curve["MJD"] - curve["MJD"].iloc[0]) * 86400.0
    outside = abs(seconds - MIDDLE) > DURATION / 2
    assert worse["norm_flux"][outside].std() > 2.0 * curve["norm_flux"][outside].std()

"""``opticam-dask differential``."""

import pytest
from click.testing import CliRunner

from opticam_dask.cli.differential import command
from opticam_dask.errors import InputError
from opticam_dask.simulate import CameraSetup, Scene, simulate_night
from opticam_dask.tables.relative import relative_light_curve, relative_names


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    import opticam_dask as opticam

    folder = tmp_path_factory.mktemp("command")
    cameras = (CameraSetup(filter="g"), CameraSetup(filter="r"))
    stars = ((30.0, 30.0, 9e4), (90.0, 40.0, 7e4), (60.0, 100.0, 5e4), (105.0, 95.0, 3e4), (35.0, 75.0, 2e4))
    simulate_night(
        Scene(n_frames=4, cameras=cameras, shape=(128, 140), stars=stars), folder / "data", workers=1
    )
    reducer = opticam.Reducer(
        data_directory=folder / "data",
        out_directory=folder / "out",
        verbose=False,
        show_plots=False,
        cluster="threads",
    )
    reducer.create_catalogs()
    reducer.photometry(opticam.AperturePhotometer(forced=True))
    return folder / "out"


def run(*arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments])


def test_target_and_comparisons_in_all_cameras(reduced):
    result = run(reduced, "--camera", "g", "--target", 2, "--comparison", 1, "--match", "--name", "V1")
    assert result.exit_code == 0, result.output
    assert "1:g target 2 is 2:r source 2" in result.output
    for camera in ("1:g", "2:r"):
        assert relative_light_curve(reduced, "V1", camera=camera)["rel_flux"].mean() == pytest.approx(
            7 / 9, rel=0.05
        )
        assert (reduced / f"relative_light_curves/forced_aperture/V1_{camera}_light_curve.csv").is_file()


def test_chosen_automatically_without_files(reduced):
    result = run(reduced, "--camera", "1:g", "--target", 3, "--no-export")
    assert result.exit_code == 0, result.output
    assert "1:g_source_3_auto" in relative_names(reduced)
    assert not list(reduced.glob("relative_light_curves/*/1:g_source_3_auto*"))


def test_an_unknown_target_is_an_error_of_one_line(reduced):
    result = run(reduced, "--camera", "1:g", "--target", 77)
    assert isinstance(result.exception, InputError)
    assert "no source 77" in str(result.exception)

"""``opticam-dask differential``."""

import pytest
from click.testing import CliRunner

from opticam_dask.cli.differential import command
from opticam_dask.errors import InputError
from opticam_dask.tables.relative import relative_light_curve, relative_names


@pytest.fixture(scope="module")
def reduced(tmp_path_factory, night_of_stars, write_night):
    flux, error, _ = night_of_stars(n_frames=60)
    return write_night(tmp_path_factory.mktemp("command"), flux, error)


def run(*arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments])


def test_target_and_comparisons(reduced):
    result = run(
        reduced, "--camera", "g", "--target", 2, "--comparison", 1, "--comparison", 3, "--name", "V1"
    )
    assert result.exit_code == 0, result.output
    curve = relative_light_curve(reduced, "V1", camera="1:g")
    assert curve["rel_flux"].mean() == pytest.approx(2e4 / 4.2e4, rel=0.01)
    assert (reduced / "relative_light_curves/optimal/V1_1:g_light_curve.csv").is_file()


def test_chosen_automatically_without_files(reduced):
    result = run(reduced, "--camera", "1:g", "--target", 3, "--no-export")
    assert result.exit_code == 0, result.output
    assert "1:g_source_3_auto" in relative_names(reduced)
    assert not list(reduced.glob("relative_light_curves/*/1:g_source_3_auto*"))


def test_an_unknown_target_is_an_error_of_one_line(reduced):
    result = run(reduced, "--camera", "1:g", "--target", 77)
    assert isinstance(result.exception, InputError)
    assert "no source 77" in str(result.exception)

"""The pull test itself: it sees what is wrong, in the long run of the suite and as a command."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from opticam_dask.cli import main
from opticam_dask.errors import InputError
from opticam_dask.photometers import DefaultLocalBackground, OptimalPhotometer
from opticam_dask.validation import PullTest, pull_scene, pull_test
from opticam_dask.validation.pulls import Goals, decades, measured_pulls
from opticam_dask.validation.report import report
from opticam_dask.validation.runs import reduce_scene
from opticam_dask.validation.scenes import DETECTOR, even_fluxes, mean_throughput

SMALL = {"shape": (253, 301), "margin_px": 30.0, "min_separation_px": 36.0, "rotation_deg_per_hour": 60.0}


def invented(n_stars=12, n_frames=400, *, factor=1.0, errors=1.0, star_bias=0.0):
    """Pulls of measurements that are right but for what is asked for."""
    rng = np.random.default_rng(11)
    true = np.repeat(even_fluxes(n_stars), n_frames)
    err = np.sqrt(true + 113.0**2)
    flux = factor * true + err * rng.standard_normal(true.size)
    flux += np.repeat(star_bias * rng.standard_normal(n_stars), n_frames) * err
    star = np.repeat(np.arange(1, n_stars + 1), n_frames)
    return pd.DataFrame(
        {
            "star": star,
            "true": true,
            "flux": flux,
            "flux_err": errors * err,
            "pull": (flux - true) / errors / err,
        }
    )


def test_right_fluxes_pass():
    table = decades(invented())
    assert table["passed"].all()
    assert table["n"].sum() == 12 * 400
    assert table["star_scatter"].between(0.3, 1.8).all()


@pytest.mark.parametrize("wrong", [{"factor": 1.002}, {"errors": 0.9}, {"errors": 1.1}])
def test_wrong_fluxes_and_wrong_errors_fail(wrong):
    table = decades(invented(**wrong))
    assert not table["passed"].iloc[-1]


def test_a_bias_of_each_star_shows_in_their_scatter():
    assert (decades(invented(star_bias=0.3))["star_scatter"] > 2.0).all()


def test_where_pulls_do_not_count_the_bias_of_bright_stars_does():
    faint_wrong = invented(errors=0.9)
    assert decades(faint_wrong, judge_pulls=False)["passed"].all()
    assert not decades(invented(factor=1.002), judge_pulls=False)["passed"].iloc[-1]


def test_lost_measurements_are_counted_not_judged():
    pulls = invented()
    pulls.loc[pulls.index[::7], ["flux", "pull"]] = np.nan
    table = decades(pulls)
    assert table["lost"].sum() == len(pulls.index[::7])
    assert table["passed"].all()


def test_few_measurements_are_allowed_their_statistical_error_and_no_more():
    few = invented(n_frames=30)
    table = decades(few).assign(mean=0.12, std=0.88, n=100, bias=0.0)
    assert not Goals().met(table).any()
    assert Goals(allowance=2.0).met(table.assign(std=1.0)).all()
    assert Goals(allowance=2.0).met(table.assign(mean=0.0)).all()
    assert not Goals(allowance=2.0).met(table.assign(mean=0.26)).any()
    assert not Goals(allowance=2.0).met(table.assign(std=1.2)).any()
    off = table.assign(mean=0.0, std=1.0, bias=0.25, bias_err=0.1)
    bright = off["low"] >= 1e4
    assert Goals(allowance=2.0).met(off)[bright].all()
    assert not Goals(allowance=1.0).met(off)[bright].any()


def test_a_report_tells_of_the_allowance():
    table = decades(invented()).assign(gain=1.0, photometer="optimal", sky="mesh", forced=True)
    assert "statistical" not in report(PullTest(table, Goals())).splitlines()[-1]
    assert "2 of its statistical errors" in report(PullTest(table, Goals(allowance=2.0))).splitlines()[-1]


def test_a_report_tells_the_verdict_and_every_row():
    table = decades(invented()).assign(gain=1.0, photometer="optimal", sky="mesh", forced=True)
    text = report(PullTest(table, Goals()))
    assert text.count("PASS") == len(table) + 1
    table.loc[0, "passed"] = False
    assert report(PullTest(table, Goals())).count("FAIL") == 2


def test_an_empty_test_does_not_pass():
    assert not PullTest(pd.DataFrame({"passed": []}), Goals()).passed


def test_the_scene_is_the_one_asked_for():
    scene = pull_scene(frames=3, stars=9, gain=0.45, seed=2)
    x, y, flux = np.array(scene.stars).T
    np.testing.assert_allclose(np.diff(np.log(flux)), np.log(1e-3) / 9)
    gaps = np.hypot(x[:, None] - x, y[:, None] - y)[np.triu_indices(9, 1)]
    assert gaps.min() > 40.0
    assert scene.shape[0] != scene.shape[1]
    assert {side % 2 for side in scene.shape} == {0, 1}


def test_a_detector_that_needs_calibration_has_a_known_scale():
    scene = pull_scene(2, 8, **DETECTOR)
    assert mean_throughput(scene) == pytest.approx(0.93, abs=0.02)
    assert mean_throughput(pull_scene(2, 8)) == 1.0


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pulls")
    photometer = OptimalPhotometer(forced=True, local_background_estimator=DefaultLocalBackground())
    scene = pull_scene(12, 10, **SMALL)
    (pulls,) = reduce_scene(scene, folder, [photometer], cluster="threads", number_of_processors=1)
    return folder, photometer.label, pulls


def test_a_reduction_is_compared_star_by_star(reduced):
    _, _, pulls = reduced
    assert pulls["star"].nunique() >= 9
    assert len(pulls) == 12 * pulls["star"].nunique()
    assert np.hypot(pulls["x"] - pulls["true_x"], pulls["y"] - pulls["true_y"]).median() < 0.1
    assert abs(pulls["pull"].mean()) < 0.5
    assert pulls["pull"].std() == pytest.approx(1.0, abs=0.25)


def test_the_scale_of_a_flat_counts(reduced):
    folder, label, pulls = reduced
    scaled = measured_pulls(folder / "reduced", label, folder / "data" / "truth.parquet", scale=0.5)
    np.testing.assert_allclose(scaled["true"], 0.5 * pulls["true"])


def test_another_truth_is_refused(reduced, tmp_path):
    folder, label, _ = reduced
    truth = pd.read_parquet(folder / "data" / "truth.parquet")
    truth.assign(MJD=truth["MJD"] + 1.0).to_parquet(tmp_path / "truth.parquet")
    with pytest.raises(InputError, match="frames"):
        measured_pulls(folder / "reduced", label, tmp_path / "truth.parquet")


def test_unknown_photometers_are_refused(tmp_path):
    with pytest.raises(InputError, match="psf-fit"):
        pull_test(tmp_path, photometers=("psf-fit",))


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "PASS"), (1.01, "FAIL")])
def test_the_command_exits_with_the_verdict(factor, verdict, monkeypatch, tmp_path, capsys):
    asked = {}

    def invented_test(folder, **options):
        asked.update(options, folder=folder)
        table = decades(invented(factor=factor)).assign(
            gain=1.0, photometer="optimal", sky="mesh", forced=True
        )
        return PullTest(table, Goals())

    monkeypatch.setattr("opticam_dask.validation.runs.pull_test", invented_test)
    arguments = ["pull-test", "--gain", "2", "--sky", "mesh", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["opticam-dask", *arguments])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    assert code == (0 if verdict == "PASS" else 1)
    assert f"{verdict}: goals" in capsys.readouterr().out
    assert asked["gains"] == (2.0,)
    assert asked["skies"] == ("mesh",)
    assert asked["forced"] == (True, False)
    assert asked["folder"] == tmp_path


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("gain", [1.0, 0.45])
def test_fluxes_and_errors_of_long_nights_are_right(gain, tmp_path):
    result = pull_test(tmp_path, gains=(gain,), cluster="threads", workers=2)
    assert result.passed, report(result)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_calibrated_night_is_right_too(tmp_path):
    result = pull_test(tmp_path, gains=(1.0,), forced=(True,), calibrated=True, cluster="threads", workers=2)
    assert result.passed, report(result)

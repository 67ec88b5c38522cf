"""Simulated surveys: the same stars in every night, seen through arms of their own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from opticam_dask.errors import InputError
from opticam_dask.simulate import CameraSetup, Scene
from opticam_dask.simulate.sky import camera_run, make_stars, positions
from opticam_dask.simulate.star_lists import SkyModel, star_lists
from opticam_dask.simulate.survey import simulate_survey


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return simulate_survey(tmp_path_factory.mktemp("survey"), 5, n_frames=2, shape=(50, 62), n_stars=6)


def places(survey, night: str, camera: str, frame: int = 0) -> np.ndarray:
    truth = pd.read_parquet(survey.truth(night))
    own = truth[(truth["camera"] == camera) & (truth["frame"] == frame)].sort_values("star")
    return own[["x", "y"]].to_numpy()


def linear_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Linear part of the transform that takes one list into the other; all places must agree with it."""
    design = np.column_stack([one, np.ones(len(one))])
    answer, *_ = np.linalg.lstsq(design, other, rcond=None)
    assert np.abs(design @ answer - other).max() < 1e-6
    return answer[:2].T


def test_what_happens_to_surveys_happens(survey):
    assert survey.fields == (1, 1, 2, 1, 1)
    assert len({survey.cloudy, survey.flipped, survey.missing}) == 3
    counts = {night: len(list((survey.directory / night).glob("*.fit"))) for night in survey.nights}
    assert counts == {night: 4 if night == survey.missing else 6 for night in survey.nights}


def test_arms_mirror_turn_and_scale(survey):
    first = survey.nights[0]
    mirrored = linear_between(places(survey, first, "1:g"), places(survey, first, "2:r"))
    scaled = linear_between(places(survey, first, "1:g"), places(survey, first, "3:i"))
    assert np.linalg.det(mirrored) == pytest.approx(-1.0)
    assert np.linalg.det(scaled) == pytest.approx(0.84**2)


def test_nights_after_the_flip_are_turned(survey):
    before, after = (places(survey, survey.nights[n], "1:g") for n in (0, 4))
    assert linear_between(before, after)[0, 0] == pytest.approx(-1.0, abs=1e-3)
    within = linear_between(*(places(survey, survey.flipped, "1:g", frame) for frame in (0, 1)))
    assert within[0, 0] == pytest.approx(-1.0, abs=1e-3)


def test_clouds_dim_one_night(survey):
    flux = {
        n: pd.read_parquet(survey.truth(n)).query("star == 1 and camera == '1:g'")["flux"]
        for n in survey.nights
    }
    assert flux[survey.cloudy].max() == pytest.approx(flux[survey.nights[0]].max() * 10 ** (-0.4 * 1.5))


def test_a_camera_without_a_view_of_its_own_sees_the_scene():
    scene = Scene(n_stars=5, n_frames=2)
    stars = make_stars(scene)
    run = camera_run(scene, scene.cameras[0])
    assert np.allclose(positions(scene, run, stars, slice(0, 1))[0], stars[:, :2], atol=1e-9)


def test_a_view_must_make_sense():
    with pytest.raises(InputError, match="plate_scale"):
        CameraSetup(filter="g", plate_scale=0.0)
    with pytest.raises(InputError, match="nights"):
        simulate_survey("nowhere", 0)


def test_star_lists_are_the_same_for_the_same_seed_and_know_their_stars():
    model = SkyModel(seed=3, noise_px=0.0, false_sources=2.0)
    one, again = (list(star_lists(model, "2024-01-01", number=4)) for _ in range(2))
    assert all(np.array_equal(a.table["x"], b.table["x"]) for a, b in zip(one, again, strict=True))
    g, r = one[0], one[1]
    both = sorted((set(g.star) & set(r.star)) - {0})
    at = [
        np.array([[one_.table["x"][i], one_.table["y"][i]] for i in [list(one_.star).index(s) for s in both]])
        for one_ in (g, r)
    ]
    assert np.linalg.det(linear_between(*at)) == pytest.approx(-1.0)
    with pytest.raises(InputError, match="missing"):
        SkyModel(missing=1.5)

"""Transforms between star lists of any rotation, scale and parity; chance gives none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opticam_dask.kernels.asterism import (
    as_affine,
    as_complex,
    log_false_alarms,
    vote_pairs,
    vote_shifts,
)
from opticam_dask.kernels.transform import apply, invert
from opticam_dask.matching.solve import MOST_FALSE_ALARMS, Prediction, Window, solve

SHAPE = (150, 190)
FREE = Window((0.45, 2.2))


def scattered(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.uniform([0, 0], [SHAPE[1], SHAPE[0]], (n, 2))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle_deg", [-170.0, -12.0, 0.0, 65.0, 180.0])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.9])
def test_any_similarity_is_found(mirrored, angle_deg, scale):
    rng = np.random.default_rng(3)
    a = scale * complex(math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg)))
    truth = as_affine(a, 12.0 - 5.0j, mirrored)
    sources = scattered(rng, 12)
    objects = apply(truth, sources)[rng.permutation(12)] + rng.normal(0, 0.1, (12, 2))
    found = solve(sources, objects, SHAPE, [FREE])
    assert found is not None
    assert np.abs(apply(found.affine, sources) - apply(truth, sources)).max() < 0.4
    assert len(found.source) == 12
    assert found.log_nfa < -10


def test_complex_form_and_back():
    affine = as_affine(0.3 + 0.9j, 4.0 - 2.0j, True)
    assert np.linalg.det(affine[:, :2]) < 0
    assert as_complex(affine) == (pytest.approx(0.3 + 0.9j), 4.0 - 2.0j, True)


def test_false_alarms_of_a_count_by_hand():
    density, radius = 15 / (150 * 190), 1.0
    distance = np.array([0.1, 0.1, 0.5, radius])
    chance = [density * math.pi * r**2 for r in (0.3, 0.3, 0.5, radius)]
    by_hand = [
        math.log10(4) + math.log10(math.comb(4, k - 2)) + (k - 2) * math.log10(chance[k - 1]) for k in (3, 4)
    ]
    best, k = log_false_alarms(distance, 6, 2, density)
    assert best == pytest.approx(min(by_hand))
    assert k == 4


def test_lists_without_anything_in_common_do_not_match():
    rng = np.random.default_rng(4)
    sizes = [(4, 10), (6, 8), (10, 25), (15, 15)]
    windows = [Window((0.97, 1.03), (False,), 0.0, 0.17), FREE]
    pairs = [(scattered(rng, n), scattered(rng, m)) for n, m in sizes for _ in range(15)]
    assert all(solve(one, two, SHAPE, windows) is None for one, two in pairs)


def test_false_matches_are_as_rare_as_said():
    # with a bar of one false alarm in 20, about one pair of lists in 20 passes, not half of them
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(150):
        z, o = scattered(rng, 8), scattered(rng, 10)
        _, score, tried = vote_pairs(z, o, SHAPE, mirrored=False, scale=(0.9, 1.1))
        passed += score + math.log10(max(tried, 1)) < math.log10(0.05)
    assert passed <= 15
    assert MOST_FALSE_ALARMS <= 1e-5


def test_a_known_view_needs_fewer_stars():
    rng = np.random.default_rng(6)
    objects = scattered(rng, 14)
    sources = objects[:3] + rng.normal(0, 0.1, (3, 2))
    identity = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    assert solve(sources, objects, SHAPE, [FREE]) is None
    found = solve(sources, objects, SHAPE, [Prediction(identity, 8.0)])
    assert found is not None
    assert found.target.tolist() == [0, 1, 2]


def test_votes_for_shifts_stay_within_reach():
    rng = np.random.default_rng(7)
    objects = scattered(rng, 10)
    start = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    shifted, score, _ = vote_shifts(objects - [6.0, 2.0], objects, SHAPE, start, 8.0)
    assert score < -10
    assert np.allclose(shifted[:, 2], [6.0, 2.0])
    _, far, _ = vote_shifts(objects - [16.0, 2.0], objects, SHAPE, start, 8.0)
    assert far > -5
    assert np.allclose(invert(shifted)[:, 2], [-6.0, -2.0])

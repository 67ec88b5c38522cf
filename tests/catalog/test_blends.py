"""Sources that are two stars are told from single ones of any brightness, shape and saturation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opticam_dask.catalog.blends import blended
from opticam_dask.kernels.moments import measure_stars

SIDE, SUB = 61, 3
SKY = 100.0


def star(x: float, y: float, axes: tuple[float, float], beta: float | None) -> Any:
    """Star of unit sum, turned by 35 degrees; a Moffat of the same full widths if beta is given."""
    v, u = (np.mgrid[: SIDE * SUB, : SIDE * SUB] + 0.5) / SUB - 0.5
    cos, sin = np.cos(0.61), np.sin(0.61)
    along, across = (u - x) * cos + (v - y) * sin, (v - y) * cos - (u - x) * sin
    square = (along / axes[0]) ** 2 + (across / axes[1]) ** 2
    if beta is None:
        image = np.exp(-0.5 * square)
    else:
        image = (1.0 + (2.0 ** (1.0 / beta) - 1.0) / (2.0 * np.log(2.0)) * square) ** -beta
    image = image.reshape(SIDE, SUB, SIDE, SUB).sum(axis=(1, 3))
    return image / image.sum()


def stacked(
    n: int,
    frames: int,
    axes: tuple[float, float],
    beta: float | None,
    *,
    level: float = np.inf,
    **pair: float,
) -> Any:
    """Moments of stars of 200 to 2e5 counts, each alone on the mean of some frames, cut at a level."""
    rng = np.random.default_rng([n, frames])
    rows = []
    for _ in range(n):
        total, angle, place = (
            10 ** rng.uniform(2.3, 5.3),
            rng.uniform(0.0, 2.0 * np.pi),
            rng.uniform(29.5, 30.5, 2),
        )
        image = total * star(*place, axes, beta)
        if pair:
            other = place + pair["distance"] * np.array([np.cos(angle), np.sin(angle)])
            image += pair["ratio"] * total * star(*other, axes, beta)
        image = np.minimum(rng.poisson((image + SKY) * frames) / frames, level) - SKY
        y, x = np.unravel_index(np.argmax(image[24:37, 24:37]), (13, 13))
        peak = np.array([[x + 24, y + 24]])
        noise = float(np.sqrt(SKY / frames))
        rows.append(measure_stars(image, peak, sigma=float(np.sqrt(axes[0] * axes[1])), noise=noise)[0])
    return np.array(rows)


@pytest.mark.parametrize("beta", [None, 2.5])
@pytest.mark.parametrize("level", [np.inf, 2000.0])
@pytest.mark.parametrize("frames", [1, 100])
def test_no_single_star_is_a_blend(frames: int, level: float, beta: float | None) -> None:
    for axes in ((1.5, 1.5), (2.5, 1.6)):
        assert not blended(stacked(200, frames, axes, beta, level=level), float(frames)).any()


@pytest.mark.parametrize("beta", [None, 2.5])
@pytest.mark.parametrize(("distance", "ratio"), [(3.0, 1.0), (4.0, 1.0), (4.0, 0.4), (5.0, 1.0)])
def test_pairs_are_found(distance: float, ratio: float, beta: float | None) -> None:
    axes = (1.5, 1.5)
    single = stacked(40, 100, axes, beta)
    found = blended(np.r_[single, stacked(20, 100, axes, beta, distance=distance, ratio=ratio)], 100.0)
    assert not found[:40].any()
    assert found[40:].mean() >= 0.85


def test_where_all_are_smeared_none_is_a_blend() -> None:
    """A stack of frames that a shift cannot align: stars are drawn out, each in its own way."""
    rng = np.random.default_rng(3)
    stars = stacked(40, 100, (1.5, 1.5), None)
    stars["mxx"] *= 1.0 + rng.uniform(0.0, 2.0, 40)
    assert not blended(stars, 100.0).any()


def test_too_few_stars_tell_nothing() -> None:
    pair = stacked(1, 100, (1.5, 1.5), None, distance=4.0, ratio=1.0)
    single = stacked(3, 100, (1.5, 1.5), None)
    assert not blended(np.r_[single[:2], pair], 100.0).any()
    assert not blended(single[:0], 100.0).any()

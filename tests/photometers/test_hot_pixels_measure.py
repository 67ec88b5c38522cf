"""Hot pixels given to a photometer: the same bits whatever the type, and no copy without need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opticam_dask.errors import InputError
from opticam_dask.kernels.hot import any_near, repaired
from opticam_dask.photometers import AperturePhotometer, DefaultLocalBackground, OptimalPhotometer, hot_pixels
from opticam_dask.schema import Flag
from opticam_dask.types import PsfModel

SHAPE = (131, 173)
PSF = PsfModel(1.9, 1.5, 30.0)
XY = np.array([[30.3, 40.6], [70.2, 90.1], [140.8, 60.4]])
FLUX = np.array([8000.0, 20000.0, 60000.0])
ON_FIRST, NEAR_NONE = 41 * SHAPE[1] + 31, 10 * SHAPE[1] + 100
FORCED = [True, False]
ESTIMATORS = [None, DefaultLocalBackground(), DefaultLocalBackground(sigma_clip=None)]


def frame() -> Any:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.full(SHAPE, 200.0)
    for (x0, y0), flux in zip(XY, FLUX, strict=True):
        c, s = np.cos(PSF.orientation_rad), np.sin(PSF.orientation_rad)
        u, v = (x - x0) * c + (y - y0) * s, (y - y0) * c - (x - x0) * s
        a, b = PSF.semimajor_sigma, PSF.semiminor_sigma
        image += flux * np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2)) / (2 * np.pi * a * b)
    image = rng.poisson(image).astype(np.uint16)
    image.ravel()[[ON_FIRST, NEAR_NONE]] += 20000
    return image


IMAGE = frame()


def measure(photometer: Any, image: Any = IMAGE, **known: Any) -> Any:
    return photometer.measure(image, XY, PSF, **known)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=["mesh", "annulus", "photutils"])
@pytest.mark.parametrize("forced", FORCED)
@pytest.mark.parametrize("kind", [OptimalPhotometer, AperturePhotometer])
def test_the_type_of_the_pixels_does_not_matter(kind: Any, forced: bool, estimator: Any) -> None:
    photometer = kind(forced=forced, local_background_estimator=estimator)
    for hot in (None, np.array([ON_FIRST])):
        expected = measure(photometer, hot=hot)
        for dtype in (np.float32, np.float64, ">u2", np.int32):
            assert measure(photometer, IMAGE.astype(dtype), hot=hot).tobytes() == expected.tobytes()


@pytest.mark.parametrize("forced", FORCED)
@pytest.mark.parametrize("kind", [OptimalPhotometer, AperturePhotometer])
def test_other_sources_keep_their_bits(kind: Any, forced: bool) -> None:
    photometer = kind(forced=forced, local_background_estimator=DefaultLocalBackground())
    plain, masked = measure(photometer), measure(photometer, hot=np.array([ON_FIRST, NEAR_NONE]))
    assert masked[1:].tobytes() == plain[1:].tobytes()
    assert masked["flags"][0] & int(Flag.NON_FINITE)
    assert abs(masked["flux"][0] - FLUX[0]) < 5 * masked["flux_err"][0]
    assert not abs(plain["flux"][0] - FLUX[0]) < 20 * masked["flux_err"][0]


def test_frames_are_copied_only_if_a_hot_pixel_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    monkeypatch.setattr(hot_pixels, "without", lambda image, hot: copied.append(1) or image)
    photometer = OptimalPhotometer(local_background_estimator=DefaultLocalBackground())
    measure(photometer, hot=np.array([NEAR_NONE]))
    assert not copied
    measure(photometer, hot=np.array([ON_FIRST]))
    measure(OptimalPhotometer(), hot=np.array([NEAR_NONE]))
    assert len(copied) == 2


def test_functions_of_the_user_see_no_nan_for_hot_pixels() -> None:
    seen = []

    def plain(data: Any, position: Any, semimajor_axis: Any, semiminor_axis: Any, orientation: Any) -> Any:
        seen.append(data.copy())
        return np.median(data), np.std(data[:20, :20])

    hot = np.array([NEAR_NONE, ON_FIRST])
    rows = measure(OptimalPhotometer(forced=True, local_background_estimator=plain), hot=hot)
    assert np.isfinite(rows["flux"]).all()
    assert all(image.ravel()[NEAR_NONE] < 300 for image in seen)


def test_a_pixel_without_good_neighbours_is_left_as_it_is() -> None:
    image = np.full((3, 4), 7.0)
    image[1, 1] = 90.0
    assert np.array_equal(repaired(image, np.array([5])), np.full((3, 4), 7.0))
    assert np.array_equal(repaired(image, np.arange(12)), image)
    assert repaired(image, np.empty(0, np.int64)) is image


def test_near_is_within_a_square() -> None:
    hot = np.array([5 * 20 + 7])
    for place, near in (
        ([7.0, 5.0], True),
        ([10.0, 8.0], True),
        ([10.1, 5.0], False),
        ([np.nan, 5.0], False),
    ):
        assert any_near(hot, 20, np.array([place]), 3.0) is near


@pytest.mark.parametrize("hot", [[-1], [IMAGE.size], [0.5], [[1, 2]]])
def test_what_are_no_pixels_is_refused(hot: Any) -> None:
    with pytest.raises(InputError, match="flat indices"):
        measure(OptimalPhotometer(), hot=np.array(hot))

"""Whatever the pixels, positions and settings: photometry gives a flux, or NaN and the reason."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import opticam_dask as opticam
from opticam_dask.photometers.noise_budget import NoiseBudget
from opticam_dask.schema import NULL_FLUX_FLAGS, Flag
from opticam_dask.types import Exposure, PsfModel

STARS = ((20.3, 31.8), (41.2, 22.7), (28.9, 30.2))
DTYPES = (np.uint16, np.float32, np.float64)
SCINTILLATION = NoiseBudget(scintillation=True, diameter_m=2.1, height_m=2800.0)
MODEL = NoiseBudget(sky="model")


def nan_sky(
    data: Any, position: Any, semimajor_axis: float, semiminor_axis: float, orientation: Any
) -> tuple[float, float]:
    """A user's function that has no answer left of column 20, and breaks below row 20."""
    if position[1] < 20.0:
        raise ZeroDivisionError("row")
    return (math.nan, math.nan) if position[0] < 20.0 else (float(np.nanmedian(data)), 5.0)


def error_sky(
    data: Any, error: Any, position: Any, semimajor_axis: float, semiminor_axis: float, orientation: Any
) -> tuple[float, float]:
    """A user's function of the error image."""
    return float(np.nanmedian(data)), float(np.nanmedian(error))


def nan_map(image: Any) -> Any:
    """A user's two-dimensional background that is NaN in its left half."""
    level = np.where(np.arange(image.shape[1]) < image.shape[1] / 2, np.nan, np.zeros(image.shape))
    return SimpleNamespace(background=level, background_rms=np.ones(image.shape))


def no_map(image: Any) -> Any:
    """A user's two-dimensional background that fails."""
    raise RuntimeError(image.shape)


LOCAL = (
    None,
    opticam.DefaultLocalBackground(),
    opticam.DefaultLocalBackground(mask_neighbours=False),
    opticam.MedianLocalBackground(),
    opticam.ModeLocalBackground(),
    opticam.PlaneLocalBackground(),
    opticam.DefaultLocalBackground(r_in_scale=3.0, r_out_scale=3.2),
    nan_sky,
    error_sky,
)


@st.composite
def psfs(draw: st.DrawFn) -> PsfModel:
    a, ratio = draw(st.floats(0.6, 6.0)), draw(st.floats(0.4, 1.0))
    return PsfModel(a, a * ratio, draw(st.floats(-90.0, 90.0)), draw(st.sampled_from([None, 2.5])))


@st.composite
def images(draw: st.DrawFn) -> Any:
    shape = draw(st.sampled_from([(1, 1), (9, 47), (61, 83), (71, 64), (90, 55)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    level = draw(st.sampled_from([0.0, 1e-3, 100.0, 30000.0]))
    image = rng.normal(level, draw(st.sampled_from([0.0, 1.0, 10.0])), shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for x0, y0 in STARS:
        image += draw(st.sampled_from([0.0, 300.0, 3e4])) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8.0)
    for value, share in draw(st.lists(st.tuples(_SPOTS, _SHARES), max_size=2)):
        image[rng.random(shape) < share] = value
    dtype = draw(st.sampled_from(DTYPES))
    if dtype is np.uint16:
        image = np.clip(np.nan_to_num(image), 0, 65535)
    return image.astype(dtype)


_SPOTS = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -500.0, 65535.0, 1e30])
_SHARES = st.sampled_from([0.001, 0.01, 0.2, 1.0])


@st.composite
def frames(draw: st.DrawFn) -> tuple[Exposure, dict[str, Any]]:
    image = draw(images())
    marked = np.array(draw(st.lists(st.integers(0, image.size - 1), max_size=4, unique=True)), np.int64)
    bits = [int(Flag.SATURATED), int(Flag.COSMIC_RAY)]
    flat = np.full(image.shape, 0.9, np.float32)
    flat.ravel()[: flat.size // 3] = np.nan  # a flat field knows nothing of its bad pixels
    if image.dtype.kind == "f" and draw(st.booleans()):
        image[np.isnan(flat)] = np.nan
    exposure = Exposure(
        image,
        gain=draw(st.floats(0.1, 10.0)),
        read_noise=1.5,
        dark=0.2,
        saturation=draw(st.sampled_from([math.nan, 60000.0, 1.0])),
        exposure_s=draw(st.sampled_from([math.nan, 1.0])),
        airmass=draw(st.sampled_from([math.nan, 1.3])),
        marked=marked,
        marks=np.resize(np.array(bits, np.int32), marked.size),
        flat_variance=draw(st.sampled_from([None, np.where(np.isnan(image), np.nan, np.float32(1e-4))])),
        response=draw(st.sampled_from([None, flat])),
    )
    hot = np.array(draw(st.lists(st.integers(0, image.size - 1), max_size=5, unique=True)), np.int64)
    return exposure, {"hot": hot, "background": draw(st.sampled_from([None, None, nan_map, no_map]))}


_COORDINATES = st.one_of(st.floats(-9.0, 95.0), st.sampled_from([math.nan, -0.5, 0.0, 1e9, math.inf]))
_PLACES = st.lists(
    st.one_of(
        st.sampled_from(STARS),
        st.tuples(st.floats(5, 50), st.floats(5, 50)),
        st.tuples(_COORDINATES, _COORDINATES),
    ),
    max_size=8,
    unique=True,  # two sources at one place are one
)


@st.composite
def photometers(draw: st.DrawFn, beta: float | None) -> Any:
    options = {
        "profile": "gaussian" if beta is None else draw(st.sampled_from(["gaussian", "moffat"])),
        "forced": draw(st.booleans()),
        "local_background_estimator": draw(st.sampled_from(LOCAL)),
        "noise": draw(st.sampled_from([NoiseBudget(), SCINTILLATION, MODEL])),
    }
    if draw(st.booleans()):
        return opticam.AperturePhotometer(scale=draw(st.sampled_from([0.2, 1.0, 3.0])), **options)
    return opticam.OptimalPhotometer(
        weighting=draw(st.sampled_from(["variance", "profile"])),
        clip_radius=draw(st.sampled_from([None, 0.5, 2.0])),
        normalization=draw(st.sampled_from(["total", "peak"])),
        **options,
    )


def with_photometer(psf: PsfModel) -> st.SearchStrategy[tuple[PsfModel, Any]]:
    return st.tuples(st.just(psf), photometers(psf.beta))


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(frames(), _PLACES, psfs().flatmap(with_photometer), st.randoms(use_true_random=False))
def test_flux_or_reason_whatever_comes(
    frame: tuple[Exposure, dict[str, Any]],
    places: list[tuple[float, float]],
    instrument: tuple[PsfModel, Any],
    random: Any,
) -> None:
    (exposure, known), (psf, photometer) = frame, instrument
    xy = np.array(places, float).reshape(-1, 2)
    found = photometer.measure(exposure, xy, psf, **known)
    lost = np.isnan(found["flux"])
    assert np.isfinite(found["flux"][~lost]).all()
    assert ((found["flags"][lost] & int(NULL_FLUX_FLAGS)) != 0).all()
    assert np.isnan(found["flux_err"][lost]).all()
    unknown = photometer.noise is SCINTILLATION and math.isnan(exposure.exposure_s * exposure.airmass)
    errors = found["flux_err"][~lost]
    assert np.isnan(errors).all() if unknown else (np.isfinite(errors) & (errors > 0)).all()
    order = list(range(len(xy)))
    random.shuffle(order)
    again = photometer.measure(exposure, xy[order], psf, **known)
    for name in found.dtype.names:
        np.testing.assert_array_equal(again[name], found[name][order], err_msg=name)

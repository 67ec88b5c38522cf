"""Each term of the error: its size, its switch, and what it needs to be known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from opticam_dask.errors import InputError
from opticam_dask.photometers import AperturePhotometer, DefaultLocalBackground, OptimalPhotometer
from opticam_dask.photometers.noise_budget import NoiseBudget
from opticam_dask.schema import Flag
from opticam_dask.types import Exposure, PsfModel

PSF = PsfModel(4.0, 2.5, 37.0)
XY = np.array([[40.3, 50.6], [100.8, 70.2]])
FLUXES = np.array([3000.0, 90000.0])
SHAPE = (121, 147)
SPM = {"scintillation": True, "diameter_m": 2.1, "height_m": 2790.0, "scintillation_coefficient": 1.67}
ANNULUS = DefaultLocalBackground()


def profile(x, y):
    j, i = np.indices(SHAPE)
    cos, sin = np.cos(PSF.orientation_rad), np.sin(PSF.orientation_rad)
    u = ((i - x) * cos + (j - y) * sin) / PSF.semimajor_sigma
    v = ((j - y) * cos - (i - x) * sin) / PSF.semiminor_sigma
    p = np.exp(-0.5 * (u**2 + v**2))
    return p / p.sum()


IMAGE = 100.0 + sum(f * profile(*xy) for f, xy in zip(FLUXES, XY, strict=True))
IMAGE = IMAGE + np.random.default_rng(3).normal(0.0, 9.0, SHAPE)
FRAME = Exposure(IMAGE, gain=0.45, read_noise=3.0, dark=2.0, exposure_s=1.0, airmass=1.0)


def optimal(**terms):
    return OptimalPhotometer(True, 5.0, lambda data, **_: (100.0, 9.0), noise=NoiseBudget(**terms))


def test_the_terms_are_those_of_the_formulae():
    terms = optimal(**SPM).noise_terms(FRAME, XY, PSF)
    for row, xy in zip(terms, XY, strict=True):
        p = profile(*xy)
        v = 81.0 + row["flux"] * p / 0.45
        weight = (p / v) / (p**2 / v).sum()
        assert row["source"] ** 2 == pytest.approx((weight**2 * row["flux"] * p).sum() / 0.45, rel=2e-4)
        assert row["sky"] ** 2 == pytest.approx(81.0 * (weight**2).sum(), rel=1e-3)
        assert row["source"] ** 2 + row["sky"] ** 2 == pytest.approx(1.0 / (p**2 / v).sum(), rel=1e-4)
        area = np.pi * 10.0 * (7.5**2 - 5.0**2)  # of the annulus whose mean stands in for the user's level
        assert row["level"] == pytest.approx(weight.sum() * 9.0 / np.sqrt(area), rel=1e-3)
        assert row["scintillation"] == pytest.approx(row["flux"] * 2.272e-3, rel=1e-3)
        assert row["flat"] == 0.0
        parts = [row[name] ** 2 for name in ("source", "sky", "level", "flat", "scintillation")]
        assert row["total"] ** 2 == pytest.approx(sum(parts), rel=1e-12)


def test_flux_err_is_the_total():
    for photometer in (optimal(**SPM), AperturePhotometer(noise=NoiseBudget(**SPM), forced=True)):
        terms = photometer.noise_terms(FRAME, XY, PSF, box_size=32)
        result = photometer.measure(FRAME, XY, PSF, box_size=32)
        np.testing.assert_array_equal(terms["total"], result["flux_err"])
        np.testing.assert_array_equal(terms["flux"], result["flux"])


@pytest.mark.parametrize(
    ("off", "name"),
    [
        ({"source": False}, "source"),
        ({"sky": None}, "sky"),
        ({"level": False}, "level"),
        ({"scintillation": False}, "scintillation"),
    ],
)
def test_a_term_switched_off_is_gone_and_the_others_stay(off, name):
    whole, less = (optimal(**{**SPM, **o}).noise_terms(FRAME, XY, PSF) for o in ({}, off))
    assert (whole[name] > 0).all()
    assert (less[name] == 0).all()
    for other in set(whole.dtype.names) - {name, "total"}:
        np.testing.assert_array_equal(whole[other], less[other])
    np.testing.assert_allclose(less["total"] ** 2 + whole[name] ** 2, whole["total"] ** 2, rtol=1e-12)


@pytest.mark.parametrize("kind", [OptimalPhotometer, AperturePhotometer])
def test_the_flat_adds_its_error_to_the_stars_own_light(kind):
    """Against frames divided by flats with that error, pixel by pixel."""
    rng = np.random.default_rng(2)
    relvar = np.where(np.arange(SHAPE[1]) < 70, 4e-4, 1e-4) * np.ones(SHAPE)
    clean = 1e6 * (profile(*XY[0]) + profile(*XY[1]))
    photometer = kind(forced=True, local_background_estimator=lambda data, **_: (0.0, 1.0))
    terms = photometer.noise_terms(Exposure(clean, flat_variance=relvar.astype(np.float32)), XY, PSF)
    fluxes = [
        photometer.measure(clean * (1 + rng.normal(0, 1, SHAPE) * np.sqrt(relvar)), XY, PSF)["flux"]
        for _ in range(200)
    ]
    np.testing.assert_allclose(np.std(fluxes, axis=0), terms["flat"], rtol=0.15)
    assert terms["flat"][0] == pytest.approx(2 * terms["flat"][1], rel=0.02)
    switched = kind(forced=True, local_background_estimator=ANNULUS, noise=NoiseBudget(flat=False))
    assert (switched.noise_terms(Exposure(clean, flat_variance=relvar), XY, PSF)["flat"] == 0).all()


@pytest.mark.parametrize(("seconds", "thousandths"), [(1.0, 2.27), (0.1, 7.2), (0.01, 22.7), (10.0, 0.72)])
def test_scintillation_at_san_pedro_martir(seconds, thousandths):
    """The figures of the 2.1 m telescope at the zenith, in thousandths of the flux (1.09 of that in mmag)."""
    frame = Exposure(IMAGE, exposure_s=seconds, airmass=1.0)
    sigma = np.sqrt(NoiseBudget(**SPM).scintillation_variance(frame))
    assert 1000 * sigma == pytest.approx(thousandths, rel=5e-3)
    higher = Exposure(IMAGE, exposure_s=seconds, airmass=2.0)
    assert NoiseBudget(**SPM).scintillation_variance(higher) == pytest.approx(8 * sigma**2)


@pytest.mark.parametrize(
    "unknown", [{"airmass": 1.2}, {"exposure_s": 2.0}, {"airmass": 1.2, "exposure_s": 0.0}]
)
def test_an_unknown_scintillation_is_an_unknown_error_not_a_small_one(unknown):
    result = optimal(**SPM).measure(Exposure(IMAGE, **unknown), XY, PSF)
    assert np.isfinite(result["flux"]).all()
    assert np.isnan(result["flux_err"]).all()
    assert (result["flags"] == Flag.FORCED).all()


def test_the_sky_by_its_model():
    terms = optimal(sky="model").noise_terms(FRAME, XY, PSF)
    empirical = optimal().noise_terms(FRAME, XY, PSF)
    expected = 100.0 / 0.45 + (3.0**2 + 2.0) / 0.45**2 + 1.0 / 12.0
    np.testing.assert_allclose((terms["sky"] / empirical["sky"]) ** 2, expected / 81.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoiseBudget(sky="none"), "empirical"),
        (lambda: NoiseBudget(diameter_m=0.0), "diameter_m"),
        (lambda: NoiseBudget(height_m=np.nan), "height_m"),
        (lambda: NoiseBudget(scintillation_coefficient=-1.0), "coefficient"),
        (lambda: OptimalPhotometer(noise={"sky": None}), "NoiseBudget"),
        (lambda: optimal(scintillation=True).measure(FRAME, XY, PSF), "diameter_m and height_m"),
        (lambda: optimal(sky="model").measure(IMAGE, XY, PSF), "read_noise and dark"),
        (lambda: optimal().measure(Exposure(IMAGE, flat_variance=IMAGE[1:]), XY, PSF), "flat has shape"),
        (lambda: optimal(sky="model").measure(Exposure(IMAGE, read_noise=1.0), XY, PSF), "frame's dark "),
    ],
)
def test_what_is_missing_is_said(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_the_telescope_is_filled_in_but_not_overruled():
    telescope = SimpleNamespace(diameter_m=2.1, height_m=2790.0)
    assert NoiseBudget().for_instrument(telescope) == NoiseBudget(diameter_m=2.1, height_m=2790.0)
    own = NoiseBudget(diameter_m=1.0, height_m=0.0)
    assert own.for_instrument(telescope) == own


def test_the_budget_is_part_of_the_settings():
    settings = optimal(**SPM).settings()
    assert settings["noise"]["diameter_m"] == 2.1
    assert json.loads(json.dumps(settings["noise"])) == settings["noise"]
    assert settings != optimal().settings()


def test_where_the_flat_is_low_a_count_stands_for_fewer_electrons():
    response = np.full(SHAPE, 0.5, np.float32)
    response[:, 70:] = np.nan  # of a pixel that is bad: nothing is known, so 1
    dim = Exposure(IMAGE, gain=0.45, response=response)
    plain, shaded = (optimal().noise_terms(frame, XY, PSF) for frame in (FRAME, dim))
    assert shaded["source"] == pytest.approx(plain["source"] * np.sqrt([2.0, 1.0]))
    assert np.array_equal(shaded["sky"], plain["sky"])

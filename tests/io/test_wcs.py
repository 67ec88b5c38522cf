"""Sky coordinates from headers, files and WCS objects against astropy, and bad ones told."""

import gzip
import re

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.io.wcs import pixels_of_file, sky_coordinates

PLACES = np.array([[0.0, 0.0], [10.5, 3.25], [63.0, 47.0], [-2.0, 50.0]])


def tangent(scale=0.55, angle=37.0, ra=315.6, dec=38.0, **more):
    """Header of a rotated tangent projection, `scale` arcsec per pixel."""
    turn = np.radians(angle)
    cd = scale / 3600 * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec}
    cards |= {"CRPIX1": 32.0, "CRPIX2": 24.5, "CUNIT1": "deg", "CUNIT2": "deg"}
    cards |= {f"CD{i + 1}_{j + 1}": cd[i, j] for i in range(2) for j in range(2)}
    return fits.Header({name: value for name, value in (cards | more).items() if value is not None})


def gnomonic(places, header):
    """Inverse gnomonic projection by hand (FITS counts pixels from 1)."""
    cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
    xi, eta = np.radians(cd @ (places + 1 - [header["CRPIX1"], header["CRPIX2"]]).T)
    ra0, dec0 = np.radians([header["CRVAL1"], header["CRVAL2"]])
    below = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.arctan2(xi, below)
    dec = np.arctan((np.sin(dec0) + eta * np.cos(dec0)) / np.hypot(xi, below))
    return np.degrees(ra), np.degrees(dec)


def test_a_header_gives_what_the_projection_says():
    found = sky_coordinates(tangent(), PLACES)
    ra, dec = gnomonic(PLACES, tangent())
    assert found.known
    np.testing.assert_allclose(found.ra, ra, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.dec, dec, rtol=0, atol=1e-10)
    # the reference pixel: CRPIX counts from 1, we from 0
    centre = sky_coordinates(tangent(), [[31.0, 23.5]])
    assert (centre.ra[0], centre.dec[0]) == pytest.approx((315.6, 38.0), abs=1e-11)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_headers_and_objects_say_the_same(tmp_path, pack):
    expected = sky_coordinates(tangent(), PLACES)
    image = fits.ImageHDU(np.zeros((48, 64), "i2"), tangent())
    plain = tmp_path / "plain.fits"
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(plain)
    packed = tmp_path / "frame.fits"
    packed.write_bytes(pack(plain.read_bytes()))
    for found in (
        sky_coordinates(packed, PLACES, hdu=1),
        sky_coordinates(packed, PLACES),
        sky_coordinates(str(packed), PLACES.tolist(), hdu=1),
        sky_coordinates(WCS(tangent()), PLACES),
    ):
        np.testing.assert_array_equal(found.ra, expected.ra)
        np.testing.assert_array_equal(found.dec, expected.dec)
    assert sky_coordinates(packed, PLACES, hdu=0).reason == "no WCS in the header"
    with pytest.raises(InputError, match="has no HDU 2 to take a WCS from: it has 2"):
        sky_coordinates(packed, PLACES, hdu=2)
    with pytest.raises(FrameReadError):
        sky_coordinates(tmp_path / "none.fits", PLACES)
    with pytest.raises(InputError, match="a WCS must be"):
        sky_coordinates(3.5, PLACES)


def test_crops_and_rebinning_are_taken_back():
    whole = np.array([[21.5, 13.5], [11.0, 9.0]])  # pixels of the file
    cropped = (whole - [10, 6] - 0.5) / 2  # cut at column 10 and row 6, then 2x2
    found = sky_coordinates(tangent(), cropped, to_file=pixels_of_file(6, 10, 2))
    expected = sky_coordinates(tangent(), whole)
    np.testing.assert_allclose(found.ra, expected.ra, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.dec, expected.dec, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(pixels_of_file(), [[1, 0, 0], [0, 1, 0]])


def test_other_systems_become_icrs():
    galactic = tangent(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN", CRVAL1=80.0, CRVAL2=-5.0)
    found = sky_coordinates(galactic, [[31.0, 23.5]])
    star = SkyCoord(l=80 * u.deg, b=-5 * u.deg, frame="galactic").icrs
    assert (found.ra[0], found.dec[0]) == pytest.approx((star.ra.deg, star.dec.deg), abs=1e-9)
    b1950 = sky_coordinates(tangent(RADESYS="FK4", EQUINOX=1950.0), [[31.0, 23.5]])
    old = SkyCoord(315.6, 38.0, unit="deg", frame="fk4", equinox="B1950").icrs
    assert (b1950.ra[0], b1950.dec[0]) == pytest.approx((old.ra.deg, old.dec.deg), abs=1e-5)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (fits.Header(), "no WCS in the header"),
        (tangent(CTYPE2=" "), "no WCS in the header"),
        (tangent(CRVAL1=None), "incomplete: no CRVAL1"),
        (tangent(CRPIX1=None, CRPIX2=None), "incomplete: no CRPIX1, CRPIX2"),
        (tangent(CD1_1=None, CD1_2=None), "no CD1_1 or CDELT1"),
        (tangent(CTYPE1="LINEAR", CTYPE2="LINEAR"), "not celestial"),
        (tangent(CTYPE1="RA---TAN", CTYPE2="DEC--SIN"), "cannot be used|not celestial"),
        (tangent(scale=0.0), "cannot be used|makes no sense"),
        (tangent(scale=1e7), "makes no sense: a pixel would be 1e\\+07 arcsec wide"),
        (tangent(CPDIS1="LOOKUP", CPDIS2="LOOKUP"), "cannot be used"),
    ],
)
def test_what_is_missing_or_wrong_gives_a_reason(header, says):
    found = sky_coordinates(header, PLACES)
    assert not found.known
    assert np.isnan(found.ra).all()
    assert found.dec.shape == (4,)
    assert "\n" not in found.reason
    assert re.search(says, found.reason)


def test_distorted_fields_follow_their_polynomials():
    header = tangent(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, B_ORDER=2, A_2_0=1e-4)
    bent, flat = sky_coordinates(header, PLACES), sky_coordinates(tangent(), PLACES)
    x = PLACES[:, 0] + 1 - 32.0
    apart = np.hypot((bent.ra - flat.ra) * np.cos(np.radians(38)), bent.dec - flat.dec) * 3600 / 0.55
    np.testing.assert_allclose(apart, 1e-4 * x**2, atol=1e-4)

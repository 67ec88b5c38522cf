"""Sources with coordinates of their own have barycentric times of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time
from astropy.wcs import WCS

import opticam_dask as opticam
from opticam_dask.errors import InputError
from opticam_dask.instrument import CameraSpec
from opticam_dask.io.times import offline_tables
from opticam_dask.simulate import CameraSetup

MX = opticam.OPTICAM_MX
SHUTTER = MX(
    cameras=[
        CameraSpec(name="1", filters=("g",), row_delay_s=1e-3, readout="bottom-up"),
        CameraSpec(name="2", filters=("r",)),
    ]
)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = opticam.Scene(
        n_frames=5,
        shape=(131, 149),
        n_stars=5,
        flux_range=(8e3, 5e4),
        min_separation_px=20.0,
        drift_px_per_hour=(900.0, -700.0),
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        pointing=(83.6, 22.0),
        seed=4,
    )
    folder = tmp_path_factory.mktemp("night")
    opticam.simulate_night(scene, folder)
    return folder


def wcs(scale_arcsec: float = 2.0) -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval, made.wcs.crpix = [83.6, 22.0], [75.0, 66.0]
    made.wcs.cdelt = [-scale_arcsec / 3600, scale_arcsec / 3600]
    return made


def rows_of(night: Path, out: Path, **options: Any) -> tuple[opticam.Reducer, pd.DataFrame]:
    with opticam.Reducer(out, night, verbose=False, show_plots=False, cluster="threads", **options) as r:
        r.create_catalogs()
        r.photometry(opticam.OptimalPhotometer(forced=True), export_csv=False)
    return r, opticam.open_light_curves(out).compute()


def astropys(mjd: np.ndarray, ra: float, dec: float) -> np.ndarray:
    site = EarthLocation.from_geodetic(MX.longitude_deg * u.deg, MX.latitude_deg * u.deg, MX.height_m * u.m)
    with offline_tables():
        time = Time(mjd, format="mjd", scale="utc", location=site)
        light = time.light_travel_time(SkyCoord(ra, dec, unit="deg"), ephemeris="builtin")
        return np.asarray((time.tdb + light).mjd)


def test_each_source_has_the_time_astropy_gives_it(night: Path, tmp_path: Path) -> None:
    reducer, rows = rows_of(night, tmp_path, wcs={"1:g": wcs()})
    table = reducer.catalogs["1:g"]
    sky = wcs().pixel_to_world(table["x"], table["y"])
    assert np.allclose(table["ra"].to_value("deg"), sky.ra.deg, atol=1e-9)
    for source, own in rows[rows["camera"] == "1:g"].groupby("source"):
        at = sky[int(source) - 1]
        late = (own["BMJD"] - astropys(own["MJD"].to_numpy(), at.ra.deg, at.dec.deg)) * 86400e6
        assert late.abs().max() < 1.5  # microseconds; a double holds MJD to 0.6
        assert not (own["flags"] & int(opticam.Flag.POINTING_BARYCENTRE)).any()
    spread = rows[rows["camera"] == "1:g"].groupby("frame")["BMJD"].agg(np.ptp) * 86400
    assert spread.min() > 0.05
    other = rows[rows["camera"] == "2:r"]
    assert (other.groupby("frame")["BMJD"].agg(np.ptp) == 0).all()
    assert (other["flags"] & int(opticam.Flag.POINTING_BARYCENTRE)).all()


def test_rows_of_a_rolling_shutter_are_late_by_their_number(night: Path, tmp_path: Path) -> None:
    _, rows = rows_of(night, tmp_path, instrument=SHUTTER)
    frames = pd.read_parquet(tmp_path / "frames.parquet")[["camera", "frame", "MJD", "BMJD"]]
    both = rows.merge(frames, on=["camera", "frame"], suffixes=("", "_frame"))
    delay = (both["MJD"] - both["MJD_frame"]) * 86400
    rolling = both["camera"] == "1:g"
    expected = 4e-3 * both["y"]  # four detector rows in a row of a 4x4 frame
    assert (delay[rolling] - expected[rolling]).abs().max() < 2.5e-3
    assert (delay[rolling] - expected[rolling]).std() < 2e-6
    assert (delay[~rolling] == 0).all()
    assert ((both["BMJD"] - both["BMJD_frame"]) * 86400 - delay).abs().max() < 5e-6


def test_without_barycentre_coordinates_change_no_time(night: Path, tmp_path: Path) -> None:
    _, rows = rows_of(night, tmp_path, wcs=wcs(), barycenter=False)
    assert rows["BMJD"].isna().all()


def test_a_wcs_of_another_camera_and_a_changed_one_are_refused(night: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wcs names 3:i; cameras of the data: 1:g, 2:r"):
        rows_of(night, tmp_path, wcs={"3:i": wcs()})
    rows_of(night, tmp_path, wcs=wcs())
    with pytest.raises(opticam.errors.SettingsChangedError, match="wcs"):
        rows_of(night, tmp_path, wcs=wcs(1.0))

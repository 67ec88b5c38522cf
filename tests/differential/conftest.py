"""Light curves with an injected truth, without images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables.parts import write_part

RATES = (3e4, 2e4, 1.2e4, 8e3, 5e3, 3e3, 2e3)


def _night_of_stars(
    seed=1, n_frames=800, rates=RATES, factors=None, missing=0.0, sky=50.0, exposure=2.0, clouds=None
):
    """Counts of stars in frames under a changing sky: noise, errors as a photometer gives them, truth.

    ``factors`` maps a star's row to what its flux is multiplied with in each frame.
    """
    random = np.random.default_rng(seed)
    phase = np.linspace(0.0, 1.0, n_frames)
    sky_clear = 0.8 + 0.15 * np.sin(5.0 * phase) + 0.04 * np.sin(60.0 * phase)
    transparency = sky_clear * (1.0 if clouds is None else clouds)
    truth = np.array(rates)[:, None] * transparency * exposure
    for star, factor in (factors or {}).items():
        truth[star] *= factor
    noise = np.sqrt(truth + sky**2)
    flux = truth + noise * random.normal(size=truth.shape)
    # the photon noise is that of the counts measured, which is what makes weights from it go wrong
    error = np.sqrt(np.clip(flux, 0.0, None) + sky**2)
    gone = random.random(flux.shape) < missing
    flux[gone] = error[gone] = np.nan
    return flux, error, transparency


def _write_night(
    out: Path,
    flux,
    error,
    *,
    flags=None,
    camera="1:g",
    night="2024-01-01",
    label="optimal",
    start_mjd=60310.2,
    exposure=2.0,
    cut=None,
    objects=None,
    source=None,
):
    """Write light curves of one night and camera as a reduction leaves them, in parts of `cut` frames."""
    n_star, n_frame = flux.shape
    flags = np.where(np.isfinite(flux), 0, 16).astype(np.int32) if flags is None else flags
    ids = np.arange(1, n_star + 1) if source is None else np.asarray(source)
    frame = np.tile(np.arange(n_frame), n_star)
    mjd = start_mjd + np.arange(n_frame) * exposure * 1.2 / 86400.0
    ones = np.ones(n_star * n_frame)
    columns = {
        "night": [night] * frame.size,
        "camera": [camera] * frame.size,
        "filter": [camera[2:]] * frame.size,
        "source": np.repeat(ids, n_frame).astype(np.int32),
        "frame": frame,
        "BMJD": np.tile(mjd + 0.003, n_star),
        "MJD": np.tile(mjd, n_star),
        "flux": flux.ravel(),
        "flux_err": error.ravel(),
        "bkg": 100.0 * ones,
        "bkg_err": 10.0 * ones,
        "x": np.tile(np.linspace(20.0, 270.0, n_frame), n_star),
        "y": 40.0 * ones,
        "fwhm": np.tile(np.linspace(3.0, 4.0, n_frame), n_star),
        "airmass": np.tile(np.linspace(1.1, 1.6, n_frame), n_star),
        "exposure": exposure * ones,
        "flags": flags.ravel(),
    }
    table = pa.table({f.name: pa.array(columns[f.name], f.type) for f in LIGHT_CURVES}, schema=LIGHT_CURVES)
    root = out / "lcs" / label / "light_curves"
    for start in range(0, n_frame, cut or n_frame):
        stop = min(start + (cut or n_frame), n_frame)
        inside = (frame >= start) & (frame < stop)
        write_part(table.filter(pa.array(inside)), root, (night, camera, start, stop))
    if objects is not None:
        _add_objects(root, night, camera, dict(zip(ids.tolist(), objects, strict=True)))
    return out


def _add_objects(root: Path, night: str, camera: str, objects: dict[int, str]) -> None:
    """Add the column with which a survey publishes the rows."""
    import pyarrow.parquet as pq

    from opticam_dask.tables.parts import camera_folder

    for path in camera_folder(root, night, camera).glob("*.parquet"):
        table = pq.ParquetFile(path).read()
        names = [objects[one] for one in table.column("source").to_pylist()]
        pq.write_table(table.append_column("object_id", pa.array(names, pa.string())), path)


@pytest.fixture(scope="session")
def night_of_stars():
    """Make counts of seven stars, their errors, and the true transparency."""
    return _night_of_stars


@pytest.fixture(scope="session")
def write_night():
    """Write counts as light curves on disk."""
    return _write_night

"""The truth table: where every star is in every frame, and how bright."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from opticam_dask.schema import Column, arrow_schema
from opticam_dask.simulate.detector import Detector
from opticam_dask.simulate.headers import file_name
from opticam_dask.simulate.render import FWHM_PER_SIGMA
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.sky import CameraRun, Floats, fluxes, positions

TRUTH_NAME = "truth.parquet"
ROWS_PER_CHUNK = 200_000

TRUTH_COLUMNS: tuple[Column, ...] = (
    Column("camera", pa.string(), "", "'<arm>:<filter>'"),
    Column("filter", pa.string(), "", "filter"),
    Column("file", pa.string(), "", "name of the frame's file"),
    Column("frame", pa.int64(), "", "number of the frame among those of its camera, in order of time"),
    Column("exposure_index", pa.int64(), "", "number of the exposure, lost ones counted too"),
    Column("MJD", pa.float64(), "d", "UTC at mid-exposure"),
    Column("star", pa.int32(), "", "star, from 1, brightest first"),
    Column("x", pa.float64(), "pixel", "column of the star in the frame; pixel centres are integers"),
    Column("y", pa.float64(), "pixel", "row of the star in the frame"),
    Column("flux", pa.float64(), "adu", "expected total counts, changes and cloud included, shadows not"),
    Column(
        "throughput", pa.float64(), "", "fraction of light left by shadows at the star; NaN off the frame"
    ),
    Column("fwhm", pa.float64(), "pixel", "geometric mean FWHM of the frame's PSF"),
    Column("sky", pa.float64(), "adu / pixel", "expected level at the star without it; NaN off the frame"),
)


def write_truth(path: Path, scene: Scene, stars: Floats, plans: list[tuple[CameraRun, Detector]]) -> None:
    """Write the truth table of a scene, some thousand frames at a time.

    Parameters
    ----------
    path : Path
        The parquet file; it appears when complete.
    scene : Scene
        The scene; it is kept in the table's metadata.
    stars : ndarray, shape (n_star, 3)
        The stars, from `make_stars`.
    plans : list of (CameraRun, Detector)
        The cameras.
    """
    schema = arrow_schema(TRUTH_COLUMNS).with_metadata({"scene": scene_json(scene)})
    beside = path.with_name(f".{path.name}.tmp")
    with pq.ParquetWriter(beside, schema) as writer:
        for run, detector in plans:
            for rows in _chunks(len(run), len(stars)):
                writer.write_table(_table(schema, scene, run, detector, stars, rows))
    beside.replace(path)


def scene_json(scene: Scene) -> str:
    """Scene as canonical JSON."""
    return json.dumps(dataclasses.asdict(scene), sort_keys=True)


def read_scene(path: Path) -> Scene | None:
    """Scene whose truth table this is; None without a table, or with one that tells no scene."""
    if not path.exists():
        return None
    try:
        metadata = pq.read_schema(path).metadata or {}
        return Scene.from_mapping(json.loads(metadata[b"scene"]))
    except (pa.ArrowInvalid, KeyError, ValueError):
        return None


def truth_files(path: Path) -> set[str]:
    """Names of the frames in a truth table."""
    return set(pq.read_table(path, columns=["file"])["file"].unique().to_pylist())


def _chunks(n_frames: int, n_stars: int) -> Iterator[slice]:
    step = max(1, ROWS_PER_CHUNK // max(n_stars, 1))
    for first in range(0, n_frames, step):
        yield slice(first, min(first + step, n_frames))


def _table(
    schema: pa.Schema, scene: Scene, run: CameraRun, detector: Detector, stars: Floats, rows: slice
) -> pa.Table:
    frames = np.arange(rows.start, rows.stop)
    xy = positions(scene, run, stars, rows).reshape(-1, 2)
    each, every = len(stars), len(xy)
    names = pa.array([file_name(scene, run, row) for row in frames], pa.string())
    width = FWHM_PER_SIGMA * np.sqrt(scene.semimajor_sigma * scene.semiminor_sigma)
    columns = {
        "camera": pa.repeat(run.camera.name, every),
        "filter": pa.repeat(run.camera.filter, every),
        "file": names.take(pa.array(np.repeat(np.arange(len(frames)), each))),
        "frame": np.repeat(frames, each),
        "exposure_index": np.repeat(run.index[rows], each),
        "MJD": np.repeat(run.mjd[rows], each),
        "star": np.tile(np.arange(1, each + 1, dtype=np.int32), len(frames)),
        "x": xy[:, 0],
        "y": xy[:, 1],
        "flux": fluxes(scene, run, stars, rows).ravel(),
        "throughput": _at(detector.shadows, xy),
        "fwhm": np.repeat(width * run.seeing[rows], each),
        "sky": _at(detector.sky, xy) + scene.bias,
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _at(image: Floats, xy: Floats) -> NDArray[np.float64]:
    """Values of an image at the nearest pixels; NaN off the frame."""
    ny, nx = image.shape
    column, row = np.rint(xy).astype(np.int64).T
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    values = image[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)]
    return np.where(inside, values, np.nan)

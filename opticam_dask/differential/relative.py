"""Relative light curve of one night and camera, frame by frame, written where its rows are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from opticam_dask.differential.choose import at_frames
from opticam_dask.differential.night import StarSummary
from opticam_dask.differential.rows import NEEDED, NightFolder, StarFrames, star_frames
from opticam_dask.differential.solve import Ensemble, Stars
from opticam_dask.schema import FLAG_MEANINGS, NULL_FLUX_FLAGS, Flag
from opticam_dask.tables.atomic import replacing
from opticam_dask.tables.digest import digest
from opticam_dask.tables.parts import camera_folder
from opticam_dask.tables.relative import PART, STORED

_SLAB = 2**17  # frames in memory at once
_OF_TARGET = ("filter", "BMJD", "MJD", "airmass", "fwhm", "x", "y", "bkg")
_DIGEST = b"digest"


@dataclass(frozen=True)
class NightPlan:
    """How the relative light curve of one night and camera is made.

    Parameters
    ----------
    folder : NightFolder
        The light curves.
    source : int
        The target's ID in the camera's catalogue.
    comparisons : tuple of StarSummary
        The comparison stars.
    plain : bool
        Whether these are added up as they are.
    zero_point : float
        How much brighter than in the typical night its stars are.
    total : float
        Summed rate of all comparison stars in the typical night [counts / s].
    level : float
        Median of the target's relative flux.
    inputs : str
        Digest of the light curves and of the choice.
    provenance : tuple of (str, str)
        Goes into the file's metadata.
    """

    folder: NightFolder
    source: int
    comparisons: tuple[StarSummary, ...]
    plain: bool
    zero_point: float
    total: float
    level: float
    inputs: str
    provenance: tuple[tuple[str, str], ...] = ()

    def digest(self) -> str:
        """Digest of everything the rows depend on."""
        stars = [(one.source, one.mean, one.error, one.excess) for one in self.comparisons]
        numbers = [repr(value) for value in (self.zero_point, self.total, self.level)]
        return digest(
            {
                "inputs": self.inputs,
                "source": self.source,
                "stars": [[repr(value) for value in star] for star in stars],
                "plain": self.plain,
                "numbers": numbers,
            }
        )

    @property
    def stars(self) -> Stars:
        """Means, errors and scatters of the comparison stars."""
        stars = [(one.mean, one.error, one.excess) for one in self.comparisons]
        mean, error, excess = np.array(stars, np.float64).reshape(-1, 3).T
        return Stars(mean, error, excess, plain=self.plain)


@dataclass(frozen=True)
class Written:
    """What a worker reports of a night and camera.

    Parameters
    ----------
    night, camera : str
        Which.
    rows, measured : int
        Rows, and how many of them have a relative flux.
    reason : str
        Why there are none, if its light curves cannot be read.
    """

    night: str
    camera: str
    rows: int
    measured: int
    reason: str = ""


def write_night(plan: NightPlan, root: str) -> Written:
    """Write the relative light curve of a night and camera as one file, unless it is there.

    Parameters
    ----------
    plan : NightPlan
        How.
    root : str
        Dataset of relative light curves, partitioned by night and camera.
    """
    night, camera = plan.folder.night, plan.folder.camera
    path = camera_folder(root, night, camera) / PART
    wanted = plan.digest()
    if (done := _written(path, wanted)) is not None:
        return Written(night, camera, *done)
    try:
        return Written(night, camera, *_write(plan, path, Path(root).parent, wanted))
    except (OSError, pa.ArrowException) as error:
        path.unlink(missing_ok=True)
        return Written(night, camera, 0, 0, f"light curves cannot be read: {error}")


def _write(plan: NightPlan, path: Path, staging: Path, wanted: str) -> tuple[int, int]:
    """Write the file and tell its rows, and how many have a relative flux."""
    metadata = dict(plan.provenance) | {_DIGEST.decode(): wanted}
    rows = measured = 0
    schema = _schema(plan.folder)
    with (
        replacing(path, staging=staging) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for table in _slabs(plan):
            writer.write_table(table.cast(schema))
            rows += table.num_rows
            measured += int(np.isfinite(table.column("rel_flux").to_numpy()).sum())
        writer.add_key_value_metadata(metadata | {"rows": str(rows), "measured": str(measured)})
    return rows, measured


def _schema(folder: NightFolder) -> pa.Schema:
    """Columns of the file; the sky's unit is that of the light curves, which may be in electrons."""
    own = folder.dataset().schema.field("bkg").metadata or STORED.field("bkg").metadata
    at = STORED.get_field_index("bkg")
    return STORED.set(at, STORED.field("bkg").with_metadata(own))


def _written(path: Path, wanted: str) -> tuple[int, int] | None:
    """Rows and measured rows of a file made from the same; None if there is none."""
    try:
        found = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    if found.get(_DIGEST, b"").decode() != wanted:
        return None
    return int(found[b"rows"]), int(found[b"measured"])


def _slabs(plan: NightPlan) -> Iterator[pa.Table]:
    """Rows of the target in order of frames, so many at a time."""
    sources = [plan.source, *(star.source for star in plan.comparisons)]
    wanted = pc.field("source").isin(sources)
    for start in range(0, plan.folder.last_frame() + 1, _SLAB):
        inside = (pc.field("frame") >= start) & (pc.field("frame") < start + _SLAB)
        rows = plan.folder.read(list(dict.fromkeys([*NEEDED, *_OF_TARGET])), wanted & inside)
        own = rows.filter(pc.field("source") == plan.source).sort_by("frame")
        if own.num_rows:
            yield _relative(plan, own, rows)


def _relative(plan: NightPlan, own: pa.Table, rows: pa.Table) -> pa.Table:
    target = star_frames(own)
    ids = np.array([star.source for star in plan.comparisons], np.int64)
    # comparisons come in order of their IDs
    others = star_frames(rows, source=ids, frame=target.frame)
    ensemble = at_frames(others.flux, others.error, others.flags, plan.stars)
    values: dict[str, Any] = {name: own.column(name) for name in _OF_TARGET}
    values |= {name: own.column(name) for name in ("source", "frame", "exposure", "flags")}
    values |= relative_fluxes(target, ensemble, plan)
    return pa.table([pa.array(_plain(values[f.name]), f.type) for f in STORED], schema=STORED)


def _plain(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def relative_fluxes(target: StarFrames, ensemble: Ensemble, plan: NightPlan) -> dict[str, Any]:
    """Columns that depend on the comparison stars.

    Parameters
    ----------
    target : StarFrames
        The target alone.
    ensemble : Ensemble
        The same frames.
    plan : NightPlan
        Zero point and level.

    Returns
    -------
    dict of str to ndarray, shape (n_frame,)
        ``rel_flux``, ``norm_flux`` and their errors, ``transparency`` and its error, ``n_comparisons``,
        ``reason``. The error adds that of the target and that of the ensemble: the latter is common to all
        targets of a frame, so light curves of two targets have correlated errors.
    """
    value, variance = ensemble.transparency, ensemble.variance
    seen = value > 0
    common = np.where(seen, value, np.nan) * plan.zero_point * plan.total
    flux, error = target.flux[0], target.error[0]
    relative = flux / common
    with np.errstate(invalid="ignore"):
        err = np.sqrt((error / common) ** 2 + relative**2 * variance / value**2)
    return {
        "rel_flux": relative,
        "rel_flux_err": err,
        "norm_flux": relative / plan.level,
        "norm_flux_err": err / abs(plan.level),
        "transparency": value,
        "transparency_err": np.sqrt(variance),
        "n_comparisons": ensemble.n_stars,
        "reason": _reasons(target, ensemble, plan),
    }


def _reasons(target: StarFrames, ensemble: Ensemble, plan: NightPlan) -> NDArray[Any]:
    """Why a relative flux is NaN; empty text where it is not."""
    none = ensemble.n_stars == 0
    reason = np.where(none, "no comparison star was measured without fault", "").astype(object)
    reason[~none & ~(ensemble.transparency > 0)] = "no light of the comparison stars"
    if not np.isfinite(plan.zero_point):
        reason[:] = "no comparison star in common with the other nights"
    lost = ~np.isfinite(target.flux[0])
    for flags in np.unique(target.flags[0, lost]):
        reason[lost & (target.flags[0] == flags)] = f"target: {_said(int(flags))}"
    return reason


def _said(flags: int) -> str:
    why = flags & int(NULL_FLUX_FLAGS)
    return "; ".join(FLAG_MEANINGS[flag] for flag in Flag if flag & why) or "no flux"

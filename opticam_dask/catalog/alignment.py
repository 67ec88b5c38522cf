"""The alignment table: what every frame's row says in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.clouds import extinction_excess
from opticam_dask.catalog.frame_psf import PSF_COLUMNS, ellipses
from opticam_dask.catalog.interpolate import TransformTrack
from opticam_dask.catalog.order import FrameOrder
from opticam_dask.catalog.tracking import ALIGNED, FAILED, Tracked
from opticam_dask.kernels.transform import centre_shift, rotation_deg
from opticam_dask.schema import ALIGNMENT, ALIGNMENT_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.io.blocks import FrameBlock

_STATUS = np.array(["aligned", "failed", "unreadable"], dtype=object)
AFFINE_COLUMNS = ("a11", "a12", "a13", "a21", "a22", "a23")


def alignment_table(
    blocks: Sequence[FrameBlock], order: FrameOrder, tracked: Tracked, before: TransformTrack | None = None
) -> pd.DataFrame:
    """Table of `schema.ALIGNMENT_COLUMNS`, one row per frame in order of night and frame.

    Frames that failed get the transform of their aligned neighbours in time and the status
    ``predicted``; the reason stays. Their ``cloud`` is infinite if hardly a star is seen where many should
    be, else NaN. Transforms of earlier frames, given as ``before``, count among the neighbours.
    """
    rows = tracked.rows[np.argsort(tracked.rows["position"], kind="stable")]
    mjd = np.concatenate([block.meta["MJD"] for block in blocks])
    affine, predicted = _completed(rows, mjd, before)
    status = _STATUS[rows["status"]]
    status[predicted] = "predicted"
    night = np.repeat([block.night for block in blocks], [len(block) for block in blocks])
    airmass = np.concatenate([block.meta["airmass"] for block in blocks])
    columns = {
        "night": night,
        "camera": np.full(len(rows), blocks[0].camera, dtype=object),
        "frame": np.concatenate([block.meta["frame"] for block in blocks]),
        "MJD": mjd,
        **dict(zip(AFFINE_COLUMNS, affine.reshape(-1, 6).T, strict=True)),
        **{name: rows[name] for name in _MEASURED},
        **dict(zip(PSF_COLUMNS, ellipses(rows["shape"]).T, strict=True)),
        **dict(zip(_PLACEMENT, _placement(affine, blocks[0].shape).T, strict=True)),
        "cloud": _cloud(rows, airmass, night),
        "status": status,
        "reason": _reasons(rows["position"], tracked.reasons),
    }
    return typed(columns)


def unaligned_table(frames: pd.DataFrame, reason: str) -> pd.DataFrame:
    """Table of a camera that gives no catalogue: every frame a row with status ``failed`` and the reason.

    Parameters
    ----------
    frames : DataFrame
        Accepted frames of one camera.
    reason : str
        Why there is no catalogue.
    """
    rows = frames.sort_values(["night", "frame"])
    columns = {name: rows[name].to_numpy() for name in ("night", "camera", "frame", "MJD")}
    columns |= {name: np.full(len(rows), np.nan) for name in (*AFFINE_COLUMNS, *_MEASURED, *_DERIVED)}
    columns["n_matched"] = np.zeros(len(rows), np.int32)
    columns["status"] = np.full(len(rows), "failed", dtype=object)
    columns["reason"] = np.full(len(rows), reason, dtype=object)
    return typed(columns)


_MEASURED = ("n_matched", "residual", "fwhm", "background", "background_rms", "transparency")
_PLACEMENT = ("shift_x", "shift_y", "rotation")
_DERIVED = (*PSF_COLUMNS, *_PLACEMENT, "cloud")


def typed(columns: dict[str, NDArray[np.generic]]) -> pd.DataFrame:
    """DataFrame with the columns of the schema, in its order and its types (strings as objects)."""
    import pandas as pd

    series = {
        c.name: pd.Series(columns[c.name], dtype=ALIGNMENT.field(c.name).type.to_pandas_dtype())
        for c in ALIGNMENT_COLUMNS
    }
    return pd.DataFrame(series)


def _placement(affine: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Shift of the frame's centre [pixel] and rotation [degree] of each transform, shape (n, 3)."""
    return np.array([[*centre_shift(a, shape), rotation_deg(a)] for a in affine]).reshape(-1, 3)


def _cloud(
    rows: NDArray[np.void], airmass: NDArray[np.float64], night: NDArray[np.str_]
) -> NDArray[np.float64]:
    excess = extinction_excess(rows["transparency"], airmass, night)
    excess[rows["blank"] & (rows["status"] == FAILED)] = np.inf
    return excess


def _completed(
    rows: NDArray[np.void], mjd: NDArray[np.float64], before: TransformTrack | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Fill in the transforms of failed frames; tell which these are."""
    good, affine = rows["status"] == ALIGNED, rows["affine"].copy()
    track = TransformTrack(rows["position"][good], mjd[good], affine[good])
    if before is not None:
        track = before.followed_by(track)
    lost = rows["status"] == FAILED
    affine[lost] = track.predict(rows["position"][lost], mjd[lost])
    return affine, lost & np.isfinite(affine).all(axis=(1, 2))


def _reasons(position: NDArray[np.int64], reasons: dict[int, str]) -> NDArray[np.object_]:
    column = np.full(len(position), "", dtype=object)
    if reasons:
        at = np.searchsorted(position, np.fromiter(reasons, np.int64, len(reasons)))
        column[at] = np.array(list(reasons.values()), dtype=object)
    return column

"""A master frame: its pixels, their variance, and how it is kept on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.io.containers import read_headers
from opticam_dask.io.readers import read_image
from opticam_dask.tables.atomic import replacing

_KEPT = 8
"""Masters a process keeps in memory: bias, dark and flat of three arms, the flat's variance apart."""
_IMAGES = ("DATA", "VARIANCE", "COUNT", "MASK")
_NUMBERS = {"N_FRAMES": "n_frames", "EXPOSURE": "exposure", "BIASPART": "bias_part"}


@dataclass(frozen=True, eq=False)
class Master:
    """A master frame.

    Parameters
    ----------
    kind : {'bias', 'dark', 'flat'}
        What it is.
    name : str
        Camera ``'<arm>:<filter>'`` of a flat, the arm of a bias or dark.
    binning : str
        Columns x rows; empty if unknown.
    data : ndarray, shape (ny, nx), float32
        Bias [adu]; dark rate [adu / s], or bias and dark together [adu] where ``exposure`` is finite; flat, 1
        on average. NaN where no frame had a usable value.
    variance : ndarray, shape (ny, nx), float32
        Variance of ``data``. That of a dark rate leaves out the bias that was subtracted, see ``bias_part``.
    count : ndarray, shape (ny, nx), int32
        Frames that contributed.
    mask : ndarray, shape (ny, nx), bool
        Bad pixels: not finite, noisy; hot in a dark; dead in a flat.
    n_frames : int
        Frames combined.
    exposure : float
        Exposure time [s] of frames that a dark of bias and dark together can be subtracted from; else NaN.
    bias_part : float
        How much of the bias is in a dark rate [1 / s]: rate = A - bias_part x bias.
    notes : tuple of str
        What there is to tell.
    """

    kind: str
    name: str
    binning: str
    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    count: NDArray[np.int32]
    mask: NDArray[np.bool_]
    n_frames: int
    exposure: float = np.nan
    bias_part: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.data.shape[0], self.data.shape[1]

    @property
    def rejected(self) -> int:
        """Values left out as outliers, saturated or missing."""
        return int(self.n_frames * self.count.size - self.count.sum(dtype=np.int64))


@dataclass(frozen=True)
class MasterRef:
    """Where a master is, and the digest of all that it was made from."""

    path: str
    digest: str

    def load(self) -> Master:
        """Read the master; a process reads it once."""
        return _cached(self)


@lru_cache(maxsize=_KEPT)
def _cached(reference: MasterRef) -> Master:
    if digest_of(Path(reference.path)) != reference.digest:
        raise InputError(f"{reference.path}: missing or changed since this run began; run again")
    return load_master(Path(reference.path))


def save_master(path: Path, master: Master, digest: str) -> None:
    """Write a master as FITS with extensions DATA, VARIANCE, COUNT and MASK; whole or not at all.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    from astropy.io import fits

    header = fits.Header()
    header["IMGTYPE"], header["CAMERA"] = f"master {master.kind}", master.name
    header["BINNING"], header["DIGEST"] = master.binning, digest
    for keyword, name in _NUMBERS.items():
        value = getattr(master, name)
        header[keyword] = value if np.isfinite(value) else None
    for note in master.notes:
        header.add_history(note)
    values: tuple[NDArray[Any], ...] = (master.data, master.variance, master.count, master.mask.astype("u1"))
    images = dict(zip(_IMAGES, values, strict=True))
    hdus = [
        fits.PrimaryHDU(header=header),
        *(fits.ImageHDU(image, name=name) for name, image in images.items()),
    ]
    with replacing(path) as temporary:
        fits.HDUList(hdus).writeto(temporary)


def load_master(path: Path) -> Master:
    """Read a master.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    try:
        header = read_headers(path)[0].header
        data, variance, count, mask = (read_image(path, hdu) for hdu in range(1, 1 + len(_IMAGES)))
        kind = str(header["IMGTYPE"]).removeprefix("master ")
        numbers = [header[keyword] for keyword in _NUMBERS]
        name, binning, notes = header["CAMERA"], header["BINNING"], tuple(header.get("HISTORY", ()))
    except (FrameReadError, OSError, KeyError) as error:
        raise InputError(f"{path}: no master frame ({error}); delete it and run again") from error
    n_frames, exposure, bias_part = (float(v) if isinstance(v, int | float) else np.nan for v in numbers)
    return Master(
        kind,
        str(name),
        str(binning),
        np.asarray(data, np.float32),
        np.asarray(variance, np.float32),
        np.asarray(count, np.int32),
        np.asarray(mask, bool),
        int(n_frames),
        exposure,
        bias_part,
        tuple(map(str, notes)),
    )


def digest_of(path: Path) -> str:
    """Digest a master on disk was made with; empty if there is none."""
    try:
        return str(read_headers(path)[0].header.get("DIGEST", ""))
    except (FrameReadError, OSError):
        return ""

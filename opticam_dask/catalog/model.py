"""What the catalogue pass is told, and what it gives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.kernels.transform import TransformType, centre_shift, rotation_deg, scale_of
from opticam_dask.types import XY, Affine, PsfModel

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import QTable

_USED = (
    *("a11", "a12", "a13", "a21", "a22", "a23", "fwhm", "transparency", "cloud"),
    *("psf_semimajor", "psf_semiminor", "psf_orientation"),
)
"""Columns of the alignment table that photometry takes numbers from."""

FrameKey = tuple[str, str, int]
"""(night, camera, frame)."""


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """Settings of alignment and catalogue.

    Parameters
    ----------
    max_catalog_sources : int
        Brightest sources to keep.
    n_alignment_sources : int
        Brightest stars to align with.
    transform_type : {'affine', 'translation'}
        ``'affine'`` fits shift, rotation and scale, ``'translation'`` a shift.
    rotation_limit : float, optional
        Largest rotation a frame may have against the reference [degrees].
    translation_limit : float or pair of float, optional
        Largest shift of the frame's centre [pixel], along both axes or along x and y.
    scale_limit : float, optional
        Largest departure of the scale from one.

    Raises
    ------
    InputError
        If a number is out of range, or fewer than three stars shall give an affine transform.
    """

    max_catalog_sources: int = 15
    n_alignment_sources: int = 15
    transform_type: TransformType = "affine"
    rotation_limit: float | None = None
    translation_limit: float | Sequence[float] | None = None
    scale_limit: float | None = None

    def __post_init__(self) -> None:
        if self.transform_type not in ("affine", "translation"):
            raise InputError(f"transform_type must be 'affine' or 'translation', not {self.transform_type!r}")
        least = 3 if self.transform_type == "affine" else 1
        if self.n_alignment_sources < least:
            raise InputError(
                f"n_alignment_sources must be at least {least} for transform_type "
                f"{self.transform_type!r}, not {self.n_alignment_sources}"
            )
        if self.max_catalog_sources < 1:
            raise InputError(f"max_catalog_sources must be at least 1, not {self.max_catalog_sources}")
        self._check_limits()

    def _check_limits(self) -> None:
        for name in ("rotation_limit", "translation_limit", "scale_limit"):
            value = getattr(self, name)
            numbers = np.atleast_1d([] if value is None else value)
            sizes = (0, 1, 2) if name == "translation_limit" else (0, 1)
            if numbers.size not in sizes or numbers.dtype.kind not in "iuf" or not np.all(numbers >= 0):
                raise InputError(
                    f"{name} must not be negative, and one number or a pair for shifts, not {value!r}"
                )

    def refusal(self, affine: Affine, shape: tuple[int, int]) -> str:
        """Why a transform is beyond the limits; empty if it is within them."""
        rotation, scale = rotation_deg(affine), scale_of(affine)
        if self.rotation_limit is not None and abs(rotation) > self.rotation_limit:
            return f"rotation {rotation:.2f} deg exceeds the limit of {self.rotation_limit:g}"
        if self.scale_limit is not None and abs(scale - 1.0) > self.scale_limit:
            return f"scale {scale:.4f} departs from 1 by more than the limit of {self.scale_limit:g}"
        if self.translation_limit is not None:
            shift, limit = centre_shift(affine, shape), np.broadcast_to(self.translation_limit, 2)
            if (np.abs(shift) > limit).any():
                return f"shift ({shift[0]:.1f}, {shift[1]:.1f}) px exceeds the limit of {limit}"
        return ""


@dataclass(frozen=True, eq=False)
class CameraCatalog:
    """Sources, PSF, stack and frame transforms of one camera.

    Parameters
    ----------
    camera : str
        ``'<arm>:<filter>'``.
    table : QTable
        Sources, brightest first, with ``source`` (ID from 1), ``x``, ``y`` [pixel], ``blended`` and the
        finder's columns.
    psf : PsfModel
        PSF of the camera, fixed to the detector.
    stacked_image : ndarray, shape (ny, nx), float64 [adu]
        Mean of the aligned frames, sky subtracted, of float32 precision; NaN where no frame contributed.
    alignment : DataFrame
        Columns of `schema.ALIGNMENT_COLUMNS`, one row per accepted frame.
    reference_frame : tuple
        (night, camera, frame) of the frame whose pixels are the catalogue's coordinates.
    hot : ndarray of int64
        Flat indices of the pixels of the frames that are hot all through the sequence, sorted; photometry
        leaves them out. Empty if fewer than three frames were looked at.
    """

    camera: str
    table: QTable
    psf: PsfModel
    stacked_image: NDArray[np.float64]
    alignment: pd.DataFrame
    reference_frame: FrameKey
    hot: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def xy(self) -> XY:
        """Positions of the sources, shape (n, 2) [pixel]."""
        return np.column_stack([np.asarray(self.table[name], np.float64) for name in ("x", "y")])

    @property
    def blended(self) -> NDArray[np.bool_]:
        """Whether the image of each source on the stack is that of more than one star, shape (n,)."""
        return np.asarray(self.table["blended"], bool)

    def digest(self) -> str:
        """Short text that changes with whatever photometry takes from the catalogue."""
        numbers = self.alignment[list(_USED)].to_numpy(np.float64)
        psf = np.array([self.psf.semimajor_sigma, self.psf.semiminor_sigma, self.psf.orientation])
        content = b"".join(np.ascontiguousarray(a, np.float64).tobytes() for a in (self.xy, psf, numbers))
        content += " ".join(self.alignment["status"]).encode()
        content += self.blended.tobytes()
        content += np.ascontiguousarray(self.hot, "<i8").tobytes()
        return f"{len(self.xy)} sources, {hashlib.sha256(content).hexdigest()[:16]}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CameraCatalog):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b, equal_nan=True))
    if hasattr(a, "colnames"):
        return a.colnames == b.colnames and all(_same_column(a[n], b[n]) for n in a.colnames)
    return bool(a.equals(b)) if hasattr(a, "equals") else bool(a == b)


def _same_column(a: Any, b: Any) -> bool:
    if getattr(a, "unit", None) != getattr(b, "unit", None):
        return False
    a, b = np.asarray(getattr(a, "value", a)), np.asarray(getattr(b, "value", b))
    floats = a.dtype.kind == "f" and b.dtype.kind == "f"
    return bool(np.array_equal(a, b, equal_nan=floats))

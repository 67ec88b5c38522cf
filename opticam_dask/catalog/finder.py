"""Sources of an image."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from packaging.version import Version

from opticam_dask.errors import InputError
from opticam_dask.types import Image

if TYPE_CHECKING:
    from astropy.table import QTable

NOTICE = "notice"
"""Key of a table's metadata: what a user should know of how it was made."""


class DefaultFinder:
    """Source finder of photutils, with deblending.

    Parameters
    ----------
    npixels : int
        Least number of connected pixels above the threshold.
    border_width : int
        Sources that reach into a border of this width [pixel] are left out.
    """

    def __init__(self, npixels: int, border_width: int = 0) -> None:
        if npixels < 1 or border_width < 0:
            raise InputError(
                f"npixels must be positive and border_width not negative, not {npixels} and {border_width}"
            )
        self.npixels = npixels
        self.border_width = border_width

    @classmethod
    def for_width(cls, width: int) -> DefaultFinder:
        """Finder for frames of a width [pixel]: 128 connected pixels at 2048, in proportion to the area."""
        return cls(max(5, 128 // max(1, 2048 // width) ** 2), width // 16)

    def __call__(self, data: Image, threshold: float | NDArray[np.float64]) -> QTable:
        """Find sources.

        Parameters
        ----------
        data : ndarray, shape (ny, nx) [adu]
            Image, background subtracted.
        threshold : float or ndarray, shape (ny, nx) [adu]
            Detection threshold per pixel.

        Returns
        -------
        QTable
            Columns of photutils' SourceCatalog, brightest (``segment_flux``) first; empty if there is none.
            Its metadata under `NOTICE` tell what the border cost if that is the brightest source.
        """
        import photutils
        from astropy.table import QTable
        from photutils.segmentation import SourceCatalog, SourceFinder
        from photutils.utils.exceptions import NoDetectionsWarning

        notice = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoDetectionsWarning)
            segments = SourceFinder(self.npixels, **_quiet(photutils.__version__))(data, threshold)
            if segments is not None and self.border_width > 0:
                before = segments.copy()
                segments.remove_border_labels(self.border_width, relabel=True)
                notice = self._left_out(data, before.data, segments.data)
        if segments is None or len(segments.labels) == 0:
            return QTable()
        table = SourceCatalog(data, segments).to_table()
        table.sort("segment_flux", reverse=True)
        if notice:
            table.meta[NOTICE] = notice
        return table

    def _left_out(self, data: Image, before: NDArray[np.int32], after: NDArray[np.int32]) -> str:
        """Say how many sources the border cost if the brightest is among them; else nothing."""
        lost = (before > 0) & (after == 0)
        brightest = float(np.max(data, where=lost, initial=-np.inf))
        if not brightest > float(np.max(data, where=after > 0, initial=-np.inf)):
            return ""
        return (
            f"sources left out because they reach into the border of {self.border_width} pixels: "
            f"{len(np.unique(before[lost]))}, the brightest with a peak of {brightest:.4g} adu; "
            "a finder with a smaller border_width keeps them"
        )


def _quiet(version: str) -> dict[str, bool]:
    """Argument that keeps photutils from drawing a bar; 3.1 draws none and deprecates it."""
    return {"progress_bar": False} if Version(version) < Version("3.1") else {}

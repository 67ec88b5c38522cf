"""Sources of an image."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from packaging.version import Version

from opticam_dask.errors import InputError
from opticam_dask.types import Image

if TYPE_CHECKING:
    from astropy.table import QTable

_log = logging.getLogger(__name__)


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
        """
        import photutils
        from astropy.table import QTable
        from photutils.segmentation import SourceCatalog, SourceFinder
        from photutils.utils.exceptions import NoDetectionsWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoDetectionsWarning)
            segments = SourceFinder(self.npixels, **_quiet(photutils.__version__))(data, threshold)
            if segments is not None and self.border_width > 0:
                before = segments.copy()
                segments.remove_border_labels(self.border_width, relabel=True)
                self._tell(data, before.data, segments.data)
        if segments is None or len(segments.labels) == 0:
            return QTable()
        table = SourceCatalog(data, segments).to_table()
        table.sort("segment_flux", reverse=True)
        return table

    def _tell(self, data: Image, before: NDArray[np.int32], after: NDArray[np.int32]) -> None:
        """Log how many sources the border cost, as a warning if the brightest is among them."""
        lost = (before > 0) & (after == 0)
        number = len(np.unique(before[lost]))
        if number:
            brightest, kept = float(data[lost].max()), float(np.max(data, where=after > 0, initial=-np.inf))
            _log.log(
                logging.WARNING if brightest > kept else logging.INFO,
                "sources left out because they reach into the border of %d pixels: %d, the brightest with a "
                "peak of %.4g adu; a finder with a smaller border_width keeps them",
                *(self.border_width, number, brightest),
            )


def _quiet(version: str) -> dict[str, bool]:
    """Argument that keeps photutils from drawing a bar; 3.1 draws none and deprecates it."""
    return {"progress_bar": False} if Version(version) < Version("3.1") else {}

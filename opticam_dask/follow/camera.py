"""One camera that is followed: its catalogue, and what is known of the frames so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from opticam_dask.catalog.alignment import AFFINE_COLUMNS
from opticam_dask.catalog.interpolate import TransformTrack
from opticam_dask.follow.index import CONTEXT, joined
from opticam_dask.follow.plans import no_track

if TYPE_CHECKING:
    from opticam_dask.catalog.fixing import TrackingPlan
    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.follow.photometry import CameraPhotometry

_REMEMBERED = 20_000
"""Frames of a night that tell how clear its sky is: later ones are thinned out to so many."""


@dataclass
class Camera:
    """A camera with a catalogue.

    Parameters
    ----------
    name : str
        ``'<arm>:<filter>'``.
    catalog : CameraCatalog
        Its catalogue, with the alignment of the frames it was made of.
    plan : TrackingPlan
        What aligns further frames.
    photometry : CameraPhotometry
        What measures them.
    layout : str
        Shape and binning of its frames, in words.
    """

    name: str
    catalog: CameraCatalog
    plan: TrackingPlan
    photometry: CameraPhotometry
    layout: str
    following: dict[str, int] = field(default_factory=dict)
    recent: pd.DataFrame = field(default_factory=pd.DataFrame)
    last: TransformTrack = field(default_factory=no_track)
    measured: int = 0
    _sky: pd.DataFrame = field(default_factory=pd.DataFrame)

    def remember(self, frames: pd.DataFrame, alignment: pd.DataFrame) -> None:
        """Take note of frames that have their numbers.

        Parameters
        ----------
        frames, alignment : DataFrame
            Rows of this camera, in the same order.
        """
        for night, last in frames.groupby("night")["frame"].max().items():
            self.following[str(night)] = max(self.following.get(str(night), 0), int(last) + 1)
        self.recent = joined([self.recent, frames]).tail(CONTEXT).reset_index(drop=True)
        self.measured += len(frames)
        sky = pd.DataFrame(
            {
                "night": frames["night"].to_numpy(),
                "airmass": frames["airmass"].to_numpy(),
                "transparency": alignment["transparency"].to_numpy(),
            }
        )
        sky = joined([self._sky, sky])
        sky = sky[sky["night"] == sky["night"].max()]
        self._sky = sky.iloc[:: 2 if len(sky) > 2 * _REMEMBERED else 1].reset_index(drop=True)
        self._remember_transform(alignment)

    def sky(self, night: str) -> tuple[Any, Any]:
        """Transparency and airmass of frames of a night, so far."""
        if not len(self._sky):
            return np.empty(0), np.empty(0)
        rows = self._sky[self._sky["night"] == night]
        return rows["transparency"].to_numpy(float), rows["airmass"].to_numpy(float)

    def _remember_transform(self, alignment: pd.DataFrame) -> None:
        aligned = alignment[alignment["status"] == "aligned"]
        if not len(aligned):
            return
        latest = aligned.iloc[[int(np.argmax(aligned["MJD"].to_numpy()))]]
        mjd = latest["MJD"].to_numpy(np.float64)
        if not len(self.last.mjd) or mjd[0] >= self.last.mjd[0]:
            affine = latest[list(AFFINE_COLUMNS)].to_numpy(np.float64).reshape(1, 2, 3)
            self.last = TransformTrack(np.array([-1], np.int64), mjd, affine)

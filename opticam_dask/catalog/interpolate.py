"""Transforms of frames from those of their neighbours in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ROTATION_STEP = 5.0
"""Between transforms rotated farther apart than this [degrees], the nearer one is used as it is."""


@dataclass(frozen=True, eq=False)
class TransformTrack:
    """Transforms of some frames, in order of frame.

    Parameters
    ----------
    position : ndarray of int, shape (n,)
        Places of the frames in the camera's sequence, increasing.
    mjd : ndarray, shape (n,) [d]
        Times.
    affine : ndarray, shape (n, 2, 3)
        Transforms from the reference.
    """

    position: NDArray[np.int64]
    mjd: NDArray[np.float64]
    affine: NDArray[np.float64]

    def predict(self, position: NDArray[np.int64], mjd: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate transforms of other frames, shape (m, 2, 3), linearly in time between the neighbours.

        Before the first and after the last the nearest one holds. NaN if the track is empty.
        """
        if self.position.size == 0:
            return np.full((len(position), 2, 3), np.nan)
        after = np.searchsorted(self.position, position)
        right = np.minimum(after, len(self.position) - 1)
        exact = self.position[right] == position
        left = np.where(exact, right, np.clip(after - 1, 0, None))
        fraction = self._fraction(left, right, mjd)
        a, b = self.affine[left], self.affine[right]
        fraction = np.where(_turn_deg(a, b) > MAX_ROTATION_STEP, np.round(fraction), fraction)
        return np.asarray(a + fraction[:, None, None] * (b - a))

    def followed_by(self, other: TransformTrack) -> TransformTrack:
        """Join with a track whose positions are all greater."""
        return TransformTrack(
            np.concatenate([self.position, other.position]),
            np.concatenate([self.mjd, other.mjd]),
            np.concatenate([self.affine, other.affine]),
        )

    def _fraction(
        self, left: NDArray[np.intp], right: NDArray[np.intp], mjd: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        span = self.mjd[right] - self.mjd[left]
        fraction = np.zeros(len(mjd))
        np.divide(mjd - self.mjd[left], span, out=fraction, where=span > 0)
        return np.clip(np.nan_to_num(fraction), 0.0, 1.0)


def _turn_deg(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle between the rotations of transforms [degrees], 0 to 180."""
    za = (a[:, 0, 0] + a[:, 1, 1]) + 1j * (a[:, 1, 0] - a[:, 0, 1])
    zb = (b[:, 0, 0] + b[:, 1, 1]) + 1j * (b[:, 1, 0] - b[:, 0, 1])
    return np.asarray(np.abs(np.degrees(np.angle(zb * np.conj(za)))))

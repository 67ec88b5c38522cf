"""Transforms between frames: what they say."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opticam_dask.types import XY, Affine

TransformType = Literal["affine", "translation"]

IDENTITY: Affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def apply(affine: Affine, xy: XY) -> XY:
    """Positions in the frame of positions in the reference, shape (n, 2) [pixel]."""
    return np.asarray(xy @ affine[:, :2].T + affine[:, 2])


def invert(affine: Affine) -> Affine:
    """Transform from the frame into the reference."""
    inverse = np.linalg.inv(affine[:, :2])
    return np.column_stack([inverse, -inverse @ affine[:, 2]])


def rotation_deg(affine: Affine) -> float:
    """Rotation of the frame against the reference [degrees], counter-clockwise, within (-180, 180]."""
    return math.degrees(math.atan2(affine[1, 0] - affine[0, 1], affine[0, 0] + affine[1, 1]))


def scale_of(affine: Affine) -> float:
    """Scale of the frame relative to the reference."""
    return math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))


def centre_shift(affine: Affine, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Shift (x, y) of the reference's centre [pixel]; unlike the offset it does not mix with rotation."""
    centre = np.array([(shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0])
    return np.asarray(apply(affine, centre[None])[0] - centre)


def inside(xy: XY, shape: tuple[int, int], margin: float = 0.0) -> NDArray[np.bool_]:
    """Which positions lie on a frame of this shape, ``margin`` pixels away from its edges."""
    limit = np.array([shape[1] - 1.0, shape[0] - 1.0]) - margin
    return np.asarray(((xy >= margin) & (xy <= limit)).all(axis=1))

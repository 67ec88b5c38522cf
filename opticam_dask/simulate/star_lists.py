"""Catalogues of many nights and cameras without any frame: star lists as detection would give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ArmView:
    """How one arm sees the sky.

    Parameters
    ----------
    camera, filter : str
        Its name and filter.
    mirrored : bool
        Whether its image is mirrored, as by a dichroic.
    rotation_deg : float
        Rotation of its image [degree].
    scale : float
        Pixels per pixel of the sky.
    offset : tuple of float
        Shift along x and y [pixel].
    """

    camera: str
    filter: str
    mirrored: bool = False
    rotation_deg: float = 0.0
    scale: float = 1.0
    offset: tuple[float, float] = (0.0, 0.0)


ARMS = (
    ArmView("1:g", "g"),
    ArmView("2:r", "r", mirrored=True, rotation_deg=3.0, offset=(4.0, -3.0)),
    ArmView("3:i", "i", rotation_deg=180.5, scale=0.84, offset=(-5.0, 2.0)),
)


@dataclass(frozen=True, kw_only=True)
class SkyModel:
    """A star field, and how badly it is seen.

    Parameters
    ----------
    seed : int
        Every random number follows from it.
    field : int
        Number of the star field: another number, other stars.
    n_stars : int
        Stars on an area of the frame's size; the sky goes on beyond the frame.
    shape : tuple of int
        (rows, columns) of the frames.
    most : int
        Sources a catalogue keeps, the brightest.
    noise_px : float
        Error of positions per axis [pixel].
    missing : float
        Chance that a star is not found.
    false_sources : float
        Mean number of sources that are no stars.
    colour_mag : float
        Scatter of the stars' colours [mag]: the order of brightness differs between filters.
    pointing_px : float
        Scatter of the pointing per axis, from night to night [pixel].
    rotation_deg : float
        Scatter of the rotation, from night to night [degree].
    separation_px : float
        Least distance of two stars [pixel].
    arms : tuple of ArmView
        The cameras.
    """

    seed: int = 0
    field: int = 0
    n_stars: int = 20
    shape: tuple[int, int] = (150, 190)
    most: int = 15
    noise_px: float = 0.15
    missing: float = 0.0
    false_sources: float = 0.0
    colour_mag: float = 0.4
    pointing_px: float = 8.0
    rotation_deg: float = 0.3
    separation_px: float = 6.0
    arms: tuple[ArmView, ...] = ARMS

    def __post_init__(self) -> None:
        if self.n_stars < 0 or min(self.shape) < 1 or not 0.0 <= self.missing <= 1.0:
            raise InputError(
                "n_stars must not be negative, shape positive and missing a fraction, not "
                f"{self.n_stars}, {self.shape}, {self.missing}"
            )


@dataclass(frozen=True, eq=False)
class StarList:
    """Catalogue of one camera and night, with the truth.

    Parameters
    ----------
    night, camera, filter : str
        Whose it is.
    table : dict of ndarray
        ``source``, ``x``, ``y`` [pixel] and ``flux`` [adu], brightest first.
    star : ndarray of int
        For each source the star, from 1; 0 for what is no star.
    shape : tuple of int
        (rows, columns) of the frame.
    binning : float
        Detector pixels per pixel and axis.
    """

    night: str
    camera: str
    filter: str
    table: dict[str, NDArray[np.generic]]
    star: NDArray[np.int64]
    shape: tuple[int, int]
    binning: float = 1.0


def star_lists(
    model: SkyModel, night: str, *, flipped: bool = False, faintest: float = 0.0, number: int = 0
) -> Iterator[StarList]:
    """Catalogues of all arms in one night.

    Parameters
    ----------
    model : SkyModel
        The sky.
    night : str
        Name of the night.
    flipped : bool
        Whether the telescope is on the other side of the pier: the field is turned by 180 degrees.
    faintest : float
        Stars below this flux are not found: cloud [adu].
    number : int
        Number of the night; its pointing and noise follow from it.
    """
    stars, colours = _sky(model)
    rng = np.random.default_rng([model.seed, model.field, number])
    pointing = rng.normal(0.0, model.pointing_px, 2)
    turn = rng.normal(0.0, model.rotation_deg) + (180.0 if flipped else 0.0)
    for arm, view in enumerate(model.arms):
        places = _seen(stars[:, :2], model.shape, view, turn) + pointing
        flux = stars[:, 2] * 10.0 ** (-0.4 * colours[:, arm % colours.shape[1]])
        yield _catalog(model, view, night, places, np.where(flux < faintest, 0.0, flux), rng)


def _sky(model: SkyModel) -> tuple[Floats, Floats]:
    """Stars on nine times the area of a frame: x, y [pixel], flux [adu]; and their colours [mag]."""
    rng = np.random.default_rng([model.seed, model.field, 987_654_321])
    ny, nx = model.shape
    wanted, places = 9 * model.n_stars, np.empty((0, 2))
    for place in rng.uniform([-nx, -ny], [2 * nx, 2 * ny], (20 * wanted, 2)):
        if len(places) == wanted:
            break
        if (np.hypot(*(places - place).T) >= model.separation_px).all():
            places = np.vstack([places, place])
    flux = 10.0 ** (3.0 + 2.0 * rng.power(1.5, len(places))[::-1] ** 2)
    return np.column_stack([places, flux]), rng.normal(0.0, model.colour_mag, (len(places), 3))


def _seen(places: Floats, shape: tuple[int, int], view: ArmView, turn_deg: float) -> Floats:
    """Places of stars on an arm's image: mirrored, turned and scaled about the middle, then shifted."""
    centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    angle = np.deg2rad(turn_deg) * (-1.0 if view.mirrored else 1.0) + np.deg2rad(view.rotation_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = ((places - centre) * [-1.0 if view.mirrored else 1.0, 1.0]).T
    turned = np.column_stack([cos * x - sin * y, sin * x + cos * y])
    return np.asarray(view.scale * turned + centre + view.offset)


def _catalog(
    model: SkyModel, view: ArmView, night: str, places: Floats, flux: Floats, rng: np.random.Generator
) -> StarList:
    ny, nx = model.shape
    inside = ((places >= 3.0) & (places <= [nx - 4.0, ny - 4.0])).all(axis=1)
    found = np.flatnonzero(inside & (flux > 0.0) & (rng.random(len(flux)) >= model.missing))
    n_false = int(rng.poisson(model.false_sources))
    xy = np.vstack([places[found], rng.uniform([3.0, 3.0], [nx - 4.0, ny - 4.0], (n_false, 2))])
    xy = xy + rng.normal(0.0, model.noise_px, xy.shape)
    counts = np.concatenate([flux[found], 10.0 ** rng.uniform(3.0, 4.5, n_false)])
    star = np.concatenate([found + 1, np.zeros(n_false, np.int64)])
    order = np.argsort(-counts, kind="stable")[: model.most]
    table = {"x": xy[order, 0], "y": xy[order, 1], "flux": counts[order]}
    source = np.arange(1, len(order) + 1)
    return StarList(night, view.camera, view.filter, {"source": source, **table}, star[order], model.shape)

"""A field while catalogues are matched to it: its objects, and what is known of its cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.align import nearest_pairs
from opticam_dask.kernels.asterism import as_complex
from opticam_dask.kernels.transform import apply, invert
from opticam_dask.matching.model import Key, NightCatalog
from opticam_dask.matching.sky import TangentPlane, plane_of
from opticam_dask.matching.solve import MATCH_PX, Prediction, Window, compose
from opticam_dask.types import XY, Affine

_SCALE_TOLERANCE = 0.03
_TURN_TOLERANCE = math.radians(10.0)
_FREE_SCALE = 2.2
_SHIFT_REACH = 0.06  # of the frame: how far arms move against each other from night to night
_SKY_REACH_ARCSEC = 10.0  # errors of a header's WCS


@dataclass(eq=False)
class Star:
    """An object while it is matched; ``name`` is empty until it gets its ID, ``alias`` what it is besides."""

    field: FieldState
    xy: NDArray[np.float64]
    flux: float
    n: int = 0
    name: str = ""
    alias: Star | None = None

    def see(self, xy: NDArray[np.float64]) -> None:
        """Move the place to the mean with one more sighting."""
        self.n += 1
        self.xy = self.xy + (xy - self.xy) / self.n

    def resolved(self) -> Star:
        """Follow aliases to the star that stands for this one."""
        return self if self.alias is None else self.alias.resolved()


@dataclass(frozen=True, eq=False)
class Placed:
    """A catalogue in a field: its transform, and what it is known by."""

    key: Key
    arm: str
    binning: float
    affine: Affine
    n_matched: int


@dataclass(eq=False)
class FieldState:
    """A field while catalogues are matched to it.

    Parameters
    ----------
    name : str
        Its ID; empty until it gets one.
    reference : tuple
        (night, camera) whose pixels are its coordinates.
    shape, binning, pixel_scale
        Of the reference, as of `NightCatalog`.
    """

    name: str
    reference: Key
    shape: tuple[int, int]
    binning: float
    pixel_scale: float
    stars: list[Star] = field(default_factory=list)
    placed: dict[Key, Placed] = field(default_factory=dict)
    plane: TangentPlane | None = None
    version: int = 0

    @classmethod
    def from_catalog(cls, catalog: NightCatalog) -> FieldState:
        """Field whose coordinates are the pixels of a catalogue; without stars as yet."""
        return cls("", catalog.key, catalog.shape, catalog.binning, catalog.pixel_scale)

    def voters(self) -> list[Star]:
        """Stars, those first that are most often seen, of these the brightest."""
        return sorted(self.stars, key=lambda star: (-star.n, -star.flux, *star.xy))

    def place(self, catalog: NightCatalog, affine: Affine, n_matched: int) -> None:
        """Remember where a catalogue lies."""
        self.placed[catalog.key] = Placed(catalog.key, catalog.arm, catalog.binning, affine, n_matched)
        if self.plane is None:
            own = plane_of(catalog.xy, catalog.sky)
            self.plane = own and replace(own, affine=compose(own.affine, invert(affine)))
        self.version += 1

    def known(self, catalog: NightCatalog) -> list[Prediction | Window]:
        """Tell what is known of a catalogue's transform beforehand, the most certain first."""
        priors: list[Prediction | Window] = []
        priors += self._by_sky(catalog)
        priors += self._by_night(catalog)
        priors += self._by_arm(catalog)
        return priors + self._by_scale(catalog)

    def _by_sky(self, catalog: NightCatalog) -> list[Prediction]:
        own = plane_of(catalog.xy, catalog.sky, None if self.plane is None else self.plane.centre)
        if own is None or self.plane is None:
            return []
        affine = compose(invert(self.plane.affine), own.affine)
        return [Prediction(affine, _SKY_REACH_ARCSEC / 3600.0 / self.plane.scale)]

    def _by_night(self, catalog: NightCatalog) -> list[Prediction]:
        """From another camera of the night, and how the two lay on another night."""
        others = [p for key, p in self.placed.items() if key[0] == catalog.night and p.arm != catalog.arm]
        nights = [p for p in self.placed.values() if p.arm == catalog.arm]
        pairs = [
            (own, self.placed[own.key[0], other.key[1]], other)
            for other in others
            for own in nights
            if (own.key[0], other.key[1]) in self.placed
        ]
        if not pairs:
            return []
        own, then, now = max(pairs, key=lambda pair: (pair[0].n_matched + pair[1].n_matched, pair[0].key))
        between = compose(invert(then.affine), own.affine)
        ratio = ratio_of(catalog.binning, own.binning)
        affine = compose(now.affine, _rebinned(between, ratio, ratio_of(then.binning, now.binning)))
        return [Prediction(affine, _SHIFT_REACH * max(self.shape))]

    def _by_arm(self, catalog: NightCatalog) -> list[Window]:
        own = [p for p in self.placed.values() if p.arm == catalog.arm]
        if not own:
            return []
        last = max(own, key=lambda p: (p.n_matched, p.key))
        a, _, mirrored = as_complex(last.affine)
        scale = abs(a) * ratio_of(catalog.binning, last.binning)
        near = (scale * (1.0 - _SCALE_TOLERANCE), scale * (1.0 + _SCALE_TOLERANCE))
        turn = math.atan2(a.imag, a.real)
        return [Window(near, (mirrored,), turn, _TURN_TOLERANCE), Window(near, (mirrored,))]

    def _by_scale(self, catalog: NightCatalog) -> list[Window]:
        """From the scales, if they are known, or else (or if they are wrong) from the binning."""
        known = catalog.pixel_scale / self.pixel_scale
        binned = ratio_of(catalog.binning, self.binning)
        free = Window((binned / _FREE_SCALE, binned * _FREE_SCALE))
        if not (math.isfinite(known) and known > 0):
            return [free]
        return [Window((known * (1.0 - _SCALE_TOLERANCE), known * (1.0 + _SCALE_TOLERANCE))), free]


def ratio_of(binning: float, other: float) -> float:
    """Ratio of two binnings; 1 if one is unknown."""
    ratio = binning / other if other else math.nan
    return ratio if math.isfinite(ratio) and ratio > 0 else 1.0


def _rebinned(affine: Affine, source: float, target: float) -> Affine:
    """Transform for pixels ``source`` times as wide, into pixels that are 1 / ``target`` times as wide."""
    wider: Any = np.diag([source, source])
    centre = (source - 1.0) / 2.0  # pixel centres are integers: a wide pixel 0 covers pixels 0 to source - 1
    inner = np.column_stack([wider, [centre, centre]])
    back = (target - 1.0) / 2.0
    outer = np.column_stack([np.diag([target, target]), [back, back]])
    return compose(outer, compose(affine, inner))


def places(stars: list[Star]) -> XY:
    """Places of stars, shape (n, 2)."""
    return np.array([star.xy for star in stars], np.float64).reshape(-1, 2)


def moved(stars: list[Star], affine: Affine) -> XY:
    """Places of stars after a transform."""
    return apply(affine, places(stars))


def merge(root: FieldState, gone: FieldState, affine: Affine) -> list[Star]:
    """Put the stars of one field into another; returns those that are another star from now on."""
    losers = []
    old, new = moved(gone.stars, affine), places(root.stars)
    pairs = dict(zip(*(a.tolist() for a in nearest_pairs(old, new, MATCH_PX)), strict=True))
    for number, (star, place) in enumerate(zip(gone.stars, old, strict=True)):
        star.xy = place
        if number not in pairs:
            star.field = root
            root.stars.append(star)
            continue
        twin = root.stars[pairs[number]]
        keeper, lost = (twin, star) if twin.name or not star.name else (star, twin)
        lost.alias, keeper.n, keeper.field = keeper, keeper.n + lost.n, root
        root.stars[pairs[number]] = keeper
        losers.append(lost)
    for key, placed in gone.placed.items():
        root.placed[key] = type(placed)(
            key, placed.arm, placed.binning, compose(affine, placed.affine), placed.n_matched
        )
    root.version += 1
    return losers

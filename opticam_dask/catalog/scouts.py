"""A look at a few frames of the sequence: reference frame, alignment stars, hot pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.interpolate import TransformTrack
from opticam_dask.catalog.model import FrameKey
from opticam_dask.errors import CatalogError, FrameReadError
from opticam_dask.kernels.align import Match, match_stars
from opticam_dask.kernels.detect import detect_stars
from opticam_dask.kernels.moments import axes_of, positions
from opticam_dask.kernels.sky import Sky, alone_without_others, sky_of, to_single
from opticam_dask.kernels.transform import IDENTITY, TransformType, apply, centre_shift, inside, invert

if TYPE_CHECKING:
    from opticam_dask.catalog.order import FrameOrder
    from opticam_dask.io.blocks import FrameBlock

_STATIC_RADIUS = 0.3  # what stays this near to one place [pixel] does not move
_FEWEST_FOR_HOT = 3  # frames to look at before a pixel is called hot in all of them
_MOVED = 1.5  # stars that moved this much [pixel] tell themselves from what never moves


@dataclass(frozen=True, eq=False)
class Scout:
    """What one frame shows on full detection."""

    key: FrameKey
    position: int
    mjd: float
    exposure: float
    saturation: float
    sky: Sky
    peak: float
    stars: NDArray[np.void]
    isolated: NDArray[np.int64]
    alone: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference frame and how the other scouts lie on it.

    Parameters
    ----------
    scout : Scout
        The frame.
    stars : ndarray of STAR
        Its stars, brightest first, those confirmed by other frames.
    matches : tuple of (Scout, Match)
        The scouts that align, itself included; indices are into ``stars`` and ``Scout.stars``.
    hot : ndarray of int64
        Flat indices of hot pixels, sorted.
    lasting : ndarray of int64
        Those of them to rely on in all frames, whatever lies around; none if fewer than three frames were
        looked at, in which noise could look like one.
    """

    scout: Scout
    stars: NDArray[np.void]
    matches: tuple[tuple[Scout, Match], ...]
    hot: NDArray[np.int64]
    lasting: NDArray[np.int64]

    @property
    def sigma(self) -> float:
        """Typical width of its stars [pixel]."""
        major, minor, _ = axes_of(self.stars["mxx"], self.stars["mxy"], self.stars["myy"])
        return float(np.median(np.sqrt(major * minor)))

    @property
    def track(self) -> TransformTrack:
        """Transforms of the scouts that align."""
        position = np.array([scout.position for scout, _ in self.matches], np.int64)
        mjd = np.array([scout.mjd for scout, _ in self.matches])
        return TransformTrack(position, mjd, np.array([match.affine for _, match in self.matches]))


def scout_block(block: FrameBlock, order: FrameOrder) -> list[Scout]:
    """Full detection on each readable frame of a (small) block."""
    scouts, image = [], np.empty(block.shape, np.float32)
    for i, frame in block.frames():
        if isinstance(frame, FrameReadError):
            continue
        to_single(frame, image)
        sky = sky_of(image)
        stars, isolated = detect_stars(image, sky)
        meta = block.meta[i]
        scouts.append(
            Scout(
                key=(block.night, block.camera, int(meta["frame"])),
                position=int(order.positions(block)[i]),
                mjd=float(meta["MJD"]),
                exposure=float(meta["exposure"]),
                saturation=float(meta["saturation"]),
                sky=sky,
                peak=_peak(image),
                stars=stars,
                isolated=isolated,
                alone=alone_without_others(image, sky, isolated),
            )
        )
    return scouts


def _peak(image: NDArray[np.float32]) -> float:
    """Highest finite pixel, or 0 if that is more [adu]."""
    highest = float(np.max(image))  # with a mask it takes ten times as long
    if math.isfinite(highest):
        return max(highest, 0.0)
    return float(np.max(image, where=np.isfinite(image), initial=0))


def choose_reference(scouts: Sequence[Scout], shape: tuple[int, int], kind: TransformType) -> Reference:
    """Choose a frame rich in stars, near the middle of the sequence, and one the others align with.

    Features that stay at one place while the stars move are hot, and no stars: when the rest aligns
    with visible motion, they are left out.

    Raises
    ------
    CatalogError
        If no scout shows a star.
    """
    hot = _recurring([scout.isolated for scout in scouts])
    enough = len(scouts) >= _FEWEST_FOR_HOT
    lasting = _recurring([scout.alone for scout in scouts]) if enough else hot[:0]
    everything = {scout.position: np.ones(len(scout.stars), bool) for scout in scouts}
    static = _static(scouts)
    if any(flags.any() for flags in static.values()):
        moving = {position: ~flags for position, flags in static.items()}
        found = _best_reference(scouts, moving, shape, kind)
        if found is not None and _moved(found, scouts, shape):
            spots = _hot_spots(found, scouts, static, shape)
            hot, lasting = np.union1d(hot, spots), np.union1d(lasting, spots if enough else hot[:0])
            return _confirmed(*found, hot, lasting, shape=shape)
    found = _best_reference(scouts, everything, shape, kind)
    if found is None:
        raise CatalogError(f"no star found in {len(scouts)} frames looked at")
    return _confirmed(*found, hot, lasting, shape=shape)


Found = tuple[Scout, tuple[tuple[Scout, Match], ...]]


def _best_reference(
    scouts: Sequence[Scout], use: dict[int, NDArray[np.bool_]], shape: tuple[int, int], kind: TransformType
) -> Found | None:
    counts = np.array([use[scout.position].sum() for scout in scouts])
    if not counts.any():
        return None
    rich = counts >= 0.8 * np.percentile(counts[counts > 0], 90)
    middle = (scouts[0].position + scouts[-1].position) / 2.0
    candidates = [scout for scout, good in zip(scouts, rich, strict=True) if good]
    candidates.sort(key=lambda scout: (abs(scout.position - middle), scout.position))
    best: Found | None = None
    for candidate in candidates[:8]:
        matches = _match_all(candidate, scouts, use, shape, kind)
        if best is None or len(matches) > len(best[1]):
            best = candidate, matches
        if 2 * len(matches) >= int((counts > 0).sum()):
            break
    return best


def _match_all(
    reference: Scout,
    scouts: Sequence[Scout],
    use: dict[int, NDArray[np.bool_]],
    shape: tuple[int, int],
    kind: TransformType,
) -> tuple[tuple[Scout, Match], ...]:
    matches = []
    own = np.flatnonzero(use[reference.position])
    for scout in scouts:
        if scout is reference:
            matches.append((scout, Match(IDENTITY, own, own, 0.0)))
            continue
        other = np.flatnonzero(use[scout.position])
        a, b = reference.stars[own], scout.stars[other]
        match = match_stars(positions(a), positions(b), (a["flux"], b["flux"]), shape, kind)
        if match is not None:
            indices = own[match.reference], other[match.frame]
            matches.append((scout, Match(match.affine, *indices, match.residual)))
    return tuple(matches)


def _confirmed(
    scout: Scout,
    matches: tuple[tuple[Scout, Match], ...],
    hot: NDArray[np.int64],
    lasting: NDArray[np.int64],
    *,
    shape: tuple[int, int],
) -> Reference:
    """Keep the reference's stars that half of the frames which should show them do show."""
    n = len(scout.stars)
    xy = positions(scout.stars)
    seen, expected = np.zeros(n, int), np.zeros(n, int)
    for _, match in matches:
        seen[match.reference] += 1
        expected += inside(apply(match.affine, xy), shape)
    good = (2 * seen >= expected) & (seen >= min(2, len(matches)))
    if not good.any():
        good[:] = seen > 0
    new = np.cumsum(good) - 1
    kept = [(s, m, good[m.reference]) for s, m in matches]
    renumbered = tuple((s, Match(m.affine, new[m.reference[k]], m.frame[k], m.residual)) for s, m, k in kept)
    return Reference(scout, scout.stars[good], renumbered, hot, lasting)


def _recurring(lists: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Pixels that stand out alone in half of the frames, two at least; one frame decides for itself."""
    pixels, counts = np.unique(np.concatenate(lists), return_counts=True)
    return np.asarray(pixels[counts >= max(min(2, len(lists)), len(lists) / 2)], np.int64)


def _static(scouts: Sequence[Scout]) -> dict[int, NDArray[np.bool_]]:
    """Which stars of each scout have a counterpart at the same place in half of the other scouts."""
    flags = {}
    for scout in scouts:
        xy, hits = positions(scout.stars), np.zeros(len(scout.stars), int)
        for other in scouts:
            if other is not scout and len(other.stars) and len(xy):
                apart = np.hypot(*(xy[:, None] - positions(other.stars)[None]).transpose(2, 0, 1))
                hits += (apart <= _STATIC_RADIUS).any(axis=1)
        flags[scout.position] = hits >= max(1.0, (len(scouts) - 1) / 2)
    return flags


def _moved(found: Found, scouts: Sequence[Scout], shape: tuple[int, int]) -> bool:
    others = [match for scout, match in found[1] if scout is not found[0] and len(match.frame) >= 3]
    shifts = [float(np.hypot(*centre_shift(match.affine, shape))) for match in others]
    return len(shifts) >= max(1, (len(scouts) - 1) / 2) and float(np.median(shifts)) > _MOVED


def _hot_spots(
    found: Found, scouts: Sequence[Scout], static: dict[int, NDArray[np.bool_]], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Pixels of what stays while the stars move; a star about which the field turns stays as well."""
    affines = {scout.position: match.affine for scout, match in found[1]}
    places = [np.empty(0, np.int64)]
    for scout in scouts:
        spots = scout.stars[static[scout.position]]
        if len(spots) and scout.position in affines:
            home = apply(invert(affines[scout.position]), positions(spots))
            moved = [np.hypot(*(apply(affine, home) - positions(spots)).T) for affine in affines.values()]
            spots = spots[np.median(moved, axis=0) > _MOVED]
            places.append(_pixels_around(spots, shape))
    return np.concatenate(places)


def _pixels_around(stars: NDArray[np.void], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Flat indices of the pixels of features, within three of their own sigmas."""
    found = [np.empty(0, np.int64)]
    for star in stars:
        reach = 3.0 * float(np.sqrt(max(star["mxx"], star["myy"])))
        y, x = np.mgrid[
            max(0, int(star["y"] - reach)) : min(shape[0], int(star["y"] + reach) + 2),
            max(0, int(star["x"] - reach)) : min(shape[1], int(star["x"] + reach) + 2),
        ]
        near = (x - star["x"]) ** 2 + (y - star["y"]) ** 2 <= reach**2
        found.append((y[near] * shape[1] + x[near]).astype(np.int64))
    return np.concatenate(found)

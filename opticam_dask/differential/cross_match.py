"""Which source of one camera is which of another: by the pattern of the stars, or by sky coordinates.

Cameras of one telescope see the same field, but shifted, turned, mirrored by a beam splitter, or with other
pixels. Nothing of that is assumed: every pair of bright stars is laid on every pair of the other camera,
either way round, and the transform that most stars support wins, if no other explains them nearly as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import CatalogError
from opticam_dask.kernels.align import nearest_pairs
from opticam_dask.kernels.transform import apply
from opticam_dask.kernels.transform_fit import robust_fit
from opticam_dask.types import XY, Affine

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog

TOLERANCE = 3.0
"""Stars this near to their predicted place support a transform [pixel of the second camera]."""
_ARCSEC = 3.0  # sources this near to each other on the sky are the same
_SCALES = 0.2, 5.0
_N_BRIGHT = 12  # pairs of these are laid on each other
_N_SUPPORT = 40  # and these tell how good that was
_LEAST = 4  # stars two of which are any pair: three can agree by chance
_SHARE = 0.5  # of the stars that could agree
_IN_ONE_GO = 4096


@dataclass(frozen=True, eq=False)
class CrossMatch:
    """Sources of one camera among those of another.

    Parameters
    ----------
    pairs : dict of int to int
        Source of the first camera -> source of the second.
    how : str
        What it rests on, for the log.
    """

    pairs: Mapping[int, int]
    how: str


def cross_match(first: CameraCatalog, second: CameraCatalog) -> CrossMatch:
    """Find the sources of one camera in another.

    Raises
    ------
    CatalogError
        If no transform is supported by enough stars, or several are.
    """
    if (sky := _by_coordinates(first, second)) is not None:
        return sky
    names = f"{first.camera} and {second.camera}"
    affine, n = field_transform(first.xy, second.xy, names)
    i, k = nearest_pairs(apply(affine, first.xy), second.xy, TOLERANCE)
    one, two = (np.asarray(each.table["source"], int) for each in (first, second))
    pairs = {int(one[a]): int(two[b]) for a, b in zip(i, k, strict=True)}
    return CrossMatch(pairs, f"{n} stars agree on where the field of {first.camera} lies in {second.camera}")


def counterpart(match: CrossMatch, source: int, first: str, second: str) -> int:
    """ID in the second camera of a source of the first.

    Raises
    ------
    CatalogError
        If it has none.
    """
    if source not in match.pairs:
        raise CatalogError(
            f"source {source} of {first} has no counterpart in the catalogue of {second}; "
            "raise max_catalog_sources, or name its ID there and call for each camera"
        )
    return match.pairs[source]


def _by_coordinates(first: CameraCatalog, second: CameraCatalog) -> CrossMatch | None:
    """By right ascension and declination, where both catalogues have them."""
    if not all({"ra", "dec"} <= set(each.table.colnames) for each in (first, second)):
        return None
    (ra, dec), (ra2, dec2) = _sky(first), _sky(second)
    if not all(np.isfinite(values).all() for values in (ra, dec, ra2, dec2)):
        return None
    middle = float(np.median(dec))
    # offsets on the tangent plane are good enough over a field of a degree, the turn at 0 h included
    turn = np.angle(np.exp(1j * (ra - ra[0])))
    turn2 = np.angle(np.exp(1j * (ra2 - ra[0])))
    arcsec = np.degrees(1.0) * 3600.0
    here = np.column_stack([turn * np.cos(middle), dec]) * arcsec
    there = np.column_stack([turn2 * np.cos(middle), dec2]) * arcsec
    i, k = nearest_pairs(here, there, _ARCSEC)
    if len(i) < min(3, len(ra), len(ra2)):
        return None
    one, two = (np.asarray(each.table["source"], int) for each in (first, second))
    pairs = {int(one[a]): int(two[b]) for a, b in zip(i, k, strict=True)}
    return CrossMatch(pairs, f"{len(pairs)} sources within {_ARCSEC:g} arcsec on the sky")


def _sky(catalog: CameraCatalog) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascension and declination [rad]."""
    ra, dec = (np.asarray(catalog.table[name].to_value("rad"), np.float64) for name in ("ra", "dec"))
    return ra, dec


def field_transform(first: XY, second: XY, names: str = "the cameras") -> tuple[Affine, int]:
    """Transform from one camera's pixels into another's, mirrored or not, and how many stars support it.

    Parameters
    ----------
    first, second : ndarray, shapes (n, 2) and (m, 2) [pixel]
        Sources, brightest first.
    names : str
        The cameras, for errors.

    Raises
    ------
    CatalogError
        If too few stars agree, or another transform is supported by as many.
    """
    here, there = (np.asarray(xy, np.float64)[:_N_SUPPORT] for xy in (first, second))
    found = [_best(here, there, mirrored) for mirrored in (False, True)]
    support = np.concatenate([n for n, _ in found])
    affines = np.concatenate([affine for _, affine in found])
    best = int(np.argmax(support)) if len(support) else -1
    least = max(_LEAST, int(np.ceil(_SHARE * min(len(here), len(there)))))
    if best < 0 or support[best] < least:
        seen = int(support[best]) if best >= 0 else 0
        raise CatalogError(
            f"the catalogues of {names} cannot be matched: {seen} stars agree where {least} are needed; "
            "raise max_catalog_sources, or name the IDs there and call for each camera"
        )
    rivals = _elsewhere(affines, affines[best], here) & (support >= support[best] - 1)
    if rivals.any():
        raise CatalogError(
            f"the catalogues of {names} match in several ways ({support[best]} and "
            f"{support[rivals].max()} stars agree); name the IDs there and call for each camera"
        )
    return _refined(affines[best], here, there), int(support[best])


def _best(first: XY, second: XY, mirrored: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Support of every hypothesis that two bright stars here are two bright stars there."""
    sign = np.array([-1.0 if mirrored else 1.0, 1.0])
    ref, cat = ((xy[:, 0] + 1j * xy[:, 1]) for xy in (first * sign, second))
    support, affines = [], []
    for a, b in _hypotheses(ref[:_N_BRIGHT], cat[:_N_BRIGHT]):
        place = a[:, None] * ref[None, :] + b[:, None]
        near = np.abs(place[:, :, None] - cat[None, None, :]) <= TOLERANCE
        # stars that several share count once
        support.append(np.minimum(near.any(axis=2).sum(axis=1), near.any(axis=1).sum(axis=1)))
        rows = np.stack([np.stack([a.real, -a.imag, b.real], 1), np.stack([a.imag, a.real, b.imag], 1)], 1)
        rows[:, :, 0] *= sign[0]
        affines.append(rows)
    if not support:
        return np.empty(0, np.int64), np.empty((0, 2, 3))
    return np.concatenate(support), np.concatenate(affines)


def _hypotheses(
    ref: NDArray[np.complex128], cat: NDArray[np.complex128]
) -> Iterator[tuple[NDArray[np.complex128], NDArray[np.complex128]]]:
    """Similarities ``a z + b`` that take a pair of one list into a pair of the other."""
    i, j = np.triu_indices(len(ref), 1)
    k, m = (index.ravel() for index in np.indices((len(cat), len(cat))))
    k, m = k[k != m], m[k != m]
    base, other = ref[j] - ref[i], cat[m] - cat[k]
    with np.errstate(invalid="ignore", divide="ignore"):
        a = other[None, :] / base[:, None]
    # a short baseline leaves the angle open
    fit = (np.abs(base) > 8 * TOLERANCE)[:, None] & (np.abs(other) > 8 * TOLERANCE)[None, :]
    fit &= (np.abs(a) >= _SCALES[0]) & (np.abs(a) <= _SCALES[1])
    rows, columns = np.nonzero(fit)
    for start in range(0, len(rows), _IN_ONE_GO):
        p, q = rows[start : start + _IN_ONE_GO], columns[start : start + _IN_ONE_GO]
        yield a[p, q], cat[k[q]] - a[p, q] * ref[i[p]]


def _elsewhere(affines: NDArray[np.float64], best: Affine, stars: XY) -> NDArray[np.bool_]:
    """Whether a transform takes the stars to other places than the best one does."""
    places = np.einsum("nij,sj->nsi", affines[:, :, :2], stars) + affines[:, None, :, 2]
    distance = np.hypot(*np.moveaxis(places - apply(best, stars), 2, 0))
    return np.asarray(np.median(distance, axis=1) > 4 * TOLERANCE)


def _refined(affine: Affine, first: XY, second: XY) -> Affine:
    """Least-squares transform of the stars that agree."""
    flip = np.array([-1.0 if np.linalg.det(affine[:, :2]) < 0 else 1.0, 1.0])
    for _ in range(5):
        i, k = nearest_pairs(apply(affine, first), second, TOLERANCE)
        start = affine.copy()
        start[:, :2] *= flip
        fitted, _, _ = robust_fit(first[i] * flip, second[k], np.ones(len(i)), start, "affine")
        affine = np.asarray(fitted, np.float64).copy()
        affine[:, :2] *= flip
    return affine


def matched_ids(
    match: CrossMatch, target: int, comparisons: Sequence[int], first: str, second: str
) -> tuple[int, list[int], list[int]]:
    """IDs in the second camera of a target and its comparisons; the latter may be missing, not all.

    Returns
    -------
    target : int
    comparisons : list of int
    missing : list of int
        Comparisons, by their IDs in the first camera, that the second does not have.

    Raises
    ------
    CatalogError
        If the target, or every comparison, has no counterpart.
    """
    there = counterpart(match, target, first, second)
    found = [match.pairs[one] for one in comparisons if one in match.pairs]
    if comparisons and not found:
        counterpart(match, comparisons[0], first, second)
    return there, found, [one for one in comparisons if one not in match.pairs]

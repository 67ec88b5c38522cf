"""Which frames of several cameras belong together in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
"""Times [ns], in order."""


def match_times(reference: Times, times: Times, tolerance: int) -> NDArray[np.intp]:
    """Pair times with the nearest reference times, each used once.

    Two times are a pair if each is the other's nearest; what is left over is paired again, until no pair is
    within the tolerance.

    Parameters
    ----------
    reference, times : ndarray of int64, in order [ns]
    tolerance : int
        Largest difference of a pair [ns].

    Returns
    -------
    ndarray of int, shape (len(times),)
        Index into ``reference``; -1 for a time without a partner.
    """
    partner = np.full(times.size, -1, np.intp)
    free, open_places = np.arange(times.size), np.arange(reference.size)
    while free.size and open_places.size:
        place = _nearest(reference[open_places], times[free])
        back = _nearest(times[free], reference[open_places])
        mutual = back[place] == np.arange(free.size)
        mutual &= np.abs(reference[open_places][place] - times[free]) <= tolerance
        if not mutual.any():
            break
        partner[free[mutual]] = open_places[place[mutual]]
        open_places = np.delete(open_places, place[mutual])
        free = free[~mutual]
    return partner


def _nearest(among: Times, times: Times) -> NDArray[np.intp]:
    """Index of the nearest of ``among``; the earlier of two as near, the first of equal ones."""
    after = np.clip(np.searchsorted(among, times), 0, among.size - 1)
    before = np.searchsorted(among, among[np.maximum(after - 1, 0)])
    return np.where(np.abs(times - among[before]) <= np.abs(among[after] - times), before, after)


def place_cameras(
    times: Sequence[Times], tolerance: int, *, keep_unmatched: bool
) -> tuple[Times, list[NDArray[np.intp]]]:
    """Put the frames of several cameras on one axis of time.

    Parameters
    ----------
    times : sequence of ndarray of int64, each in order [ns]
        Times of each camera's frames; the first camera is the reference.
    tolerance : int
        Largest difference between frames in one place [ns].
    keep_unmatched : bool
        Whether a frame without a partner gets a place of its own; else it is left out.

    Returns
    -------
    places : ndarray of int64, in order [ns]
        Time of each place: of the first camera that has a frame there.
    frames : list of ndarray of int, shape (n_places,)
        Frame of each camera in each place; -1 where it has none.
    """
    places, frames = times[0], [np.arange(times[0].size)]
    for camera in times[1:]:
        partner = match_times(places, camera, tolerance)
        here = np.full(places.size, -1, np.intp)
        here[partner[partner >= 0]] = np.flatnonzero(partner >= 0)
        frames.append(here)
        alone = np.flatnonzero(partner < 0)
        if keep_unmatched and alone.size:
            none = np.full(alone.size, -1, np.intp)
            extended = [np.concatenate([index, none]) for index in frames[:-1]]
            extended.append(np.concatenate([here, alone]))
            places = np.concatenate([places, camera[alone]])
            order = np.argsort(places, kind="stable")
            places, frames = places[order], [index[order] for index in extended]
    return places, frames

"""Independent random streams: one per purpose, camera and frame, so no order of work can change a frame."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a random stream is for; the number is part of its key, so never renumber."""

    STARS = 1
    JITTER = 2
    GAPS = 3
    SEEING = 4
    TIMING = 5
    DROPPED = 6
    HOT_PIXELS = 7
    DUST = 8
    NOISE = 9
    READ_NOISE = 10
    COSMIC_RAYS = 11
    FLATS = 12
    DUST_RINGS = 13
    RESPONSE = 14
    BIAS_PATTERN = 15
    DARK_PATTERN = 16


def seed_sequence(seed: int, purpose: Purpose, *keys: int | str) -> np.random.SeedSequence:
    """Seed sequence of a purpose and its keys (a camera's filter, a frame's number).

    Parameters
    ----------
    seed : int
        Seed of the scene.
    purpose : Purpose
        What the numbers are for.
    *keys : int or str
        Further keys; text counts by its bytes, so it does not depend on the order of cameras.

    Returns
    -------
    numpy.random.SeedSequence
        Independent of those of every other combination.
    """
    return np.random.SeedSequence(seed, spawn_key=(int(purpose), *(_number(key) for key in keys)))


def generator(seed: int, purpose: Purpose, *keys: int | str) -> np.random.Generator:
    """Random generator of a purpose and its keys; see `seed_sequence`."""
    return np.random.default_rng(seed_sequence(seed, purpose, *keys))


def _number(key: int | str) -> int:
    return int.from_bytes(key.encode(), "big") if isinstance(key, str) else key

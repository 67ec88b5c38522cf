"""What it takes to align further frames with a catalogue, on disk: arrays and numbers, no code."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from opticam_dask.catalog.ensemble import Ensemble
from opticam_dask.catalog.fixing import TrackingPlan
from opticam_dask.catalog.interpolate import TransformTrack
from opticam_dask.catalog.model import AlignmentConfig
from opticam_dask.catalog.order import FrameOrder
from opticam_dask.errors import InputError
from opticam_dask.tables.atomic import replacing

_NUMBERS = ("sigma", "noise", "exposure", "scale", "limit")


def save_plan(path: Path, plan: TrackingPlan, notes: Mapping[str, Any]) -> None:
    """Write a plan, whole or not at all, with what else is to be remembered of the camera (fit for JSON)."""
    words: dict[str, Any] = {"shape": plan.shape, "config": asdict(plan.config), "notes": notes}
    words |= {name: float(getattr(plan, name)) for name in _NUMBERS}
    content = io.BytesIO()
    np.savez(
        content,
        words=np.frombuffer(json.dumps(words).encode(), np.uint8),
        stars=plan.stars,
        chosen=plan.chosen,
        hot=plan.hot,
        ensemble_xy=plan.ensemble.xy,
        ensemble_flux=plan.ensemble.flux,
        ensemble_shapely=plan.ensemble.shapely,
    )
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())


def load_plan(path: Path) -> tuple[TrackingPlan, dict[str, Any]]:
    """Read a plan back, equal to the last bit but for its track, which is empty, and what was remembered.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        words = json.loads(arrays.pop("words").tobytes())
        return _plan(words, arrays), words["notes"]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}); --overwrite follows anew") from error


def _plan(words: dict[str, Any], arrays: dict[str, Any]) -> TrackingPlan:
    return TrackingPlan(
        shape=(int(words["shape"][0]), int(words["shape"][1])),
        config=AlignmentConfig(**words["config"]),
        order=FrameOrder({}),
        stars=arrays["stars"],
        chosen=arrays["chosen"],
        ensemble=Ensemble(arrays["ensemble_xy"], arrays["ensemble_flux"], arrays["ensemble_shapely"]),
        hot=arrays["hot"],
        track=no_track(),
        **{name: words[name] for name in _NUMBERS},
    )


def no_track() -> TransformTrack:
    """Track of no frame."""
    return TransformTrack(np.empty(0, np.int64), np.empty(0), np.empty((0, 2, 3)))

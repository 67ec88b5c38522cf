"""Digest of the settings a result was made with, so that a rerun knows whether it still holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.errors import InputError, SettingsChangedError
from opticam_dask.schema import FRAME_META
from opticam_dask.tables.atomic import write_text

if TYPE_CHECKING:
    import pandas as pd

_EXACT_INTEGERS = 2.0**53
_ABSENT = object()
_DIGEST = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{24,}\b")  # of no use to a reader but for its being another
_ROWS_HASHED = 1 << 16  # bounds the memory for texts of a long table


def digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings, equal for equal values in every process, machine and order of keys.

    Parameters
    ----------
    settings : mapping
        Nested mappings and sequences of str, bool, int, float, None, numpy scalars and
        arrays, enums and paths. Tuples equal lists, and 5 equals 5.0.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InputError
        If a value is of another type.
    """
    return hashlib.sha256(_json(canonical(settings)).encode()).hexdigest()


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the settings that differ, as ``photometer.radius: 4.0 -> 5.0``, sorted by dotted name."""
    before, after = dict(_leaves(canonical(old))), dict(_leaves(canonical(new)))
    names = sorted(before.keys() | after.keys())
    pairs = ((name, _show(before.get(name, _ABSENT)), _show(after.get(name, _ABSENT))) for name in names)
    return [f"{name}: {was} -> {now}" for name, was, now in pairs if was != now]


def made_with(path: str | Path, settings: Mapping[str, Any], overwrite: bool = False) -> bool:
    """Compare settings with those recorded beside the results.

    Parameters
    ----------
    path : path
        The JSON file of the recorded settings.
    settings : mapping
        Settings of this run.
    overwrite : bool
        Whether results made with other settings may be replaced.

    Returns
    -------
    bool
        True if results on disk were made with these settings and can be used; False if there are none, or
        they are to be made again: remove the recorded settings first, then the results, and `record`
        the new settings when nothing of the old is left.

    Raises
    ------
    SettingsChangedError
        If the settings differ and ``overwrite`` is False; the message names them.
    InputError
        If the file cannot be read.
    """
    path = Path(path)
    recorded = read_settings(path)
    if recorded is not None and digest(recorded) == digest(settings):
        return True
    if recorded is not None and not overwrite:
        differences = "; ".join(changed(recorded, settings))
        raise SettingsChangedError(
            f"{path.parent}: results there were made with other settings ({differences}); "
            "use overwrite=True (--overwrite) to make them again, or another output directory"
        )
    return False


def record(path: str | Path, settings: Mapping[str, Any]) -> None:
    """Record the settings that the results beside the file are made with."""
    write_text(Path(path), json.dumps(canonical(settings), indent=2, sort_keys=True) + "\n")


def frames_digests(frames: pd.DataFrame) -> dict[str, str]:
    """Digests of what the headers say of the frames, and of the files they are in.

    The time of modification counts: pixels written again in place leave names and sizes as they were.
    """
    numbers = ["night", "camera", "filter", "shape", "dtype", *(FRAME_META.names or ())]
    return {
        "frames": _rows_digest(frames, lambda rows: rows[numbers]),
        "files": _rows_digest(frames, _file_columns),
    }


def _file_columns(frames: pd.DataFrame) -> pd.DataFrame:
    names = [path.rpartition("/")[2] for path in frames["path"].tolist()]
    return frames[["size", "mtime_ns"]].assign(name=names)


def _rows_digest(frames: pd.DataFrame, columns: Callable[[pd.DataFrame], pd.DataFrame]) -> str:
    """Digest of what ``columns`` takes from the rows, whatever their order."""
    import pandas as pd

    parts = [frames.iloc[start : start + _ROWS_HASHED] for start in range(0, len(frames), _ROWS_HASHED)]
    hashes = [pd.util.hash_pandas_object(columns(part), index=False).to_numpy() for part in parts]
    every = np.sort(np.concatenate([np.empty(0, np.uint64), *hashes]))
    return f"{len(frames)} frames, {hashlib.sha256(every.tobytes()).hexdigest()[:16]}"


def canonical(value: Any) -> Any:
    """Plain JSON value of a setting; equal settings have equal ones.

    Raises
    ------
    InputError
        If the value, or one inside it, has no such form.
    """
    if isinstance(value, Mapping):
        return {str(name): canonical(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return canonical(value.tolist())
    if isinstance(value, set | frozenset):
        return sorted((canonical(item) for item in value), key=_json)
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, float):
        # 5 and 5.0 are one setting to whoever typed them.
        return int(value) if value.is_integer() and abs(value) < _EXACT_INTEGERS else float(value)
    if value is None or isinstance(value, str | int):
        return value
    raise InputError(f"a setting of type {type(value).__name__} cannot be recorded: {value!r}")


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _show(value: Any) -> str:
    return "(absent)" if value is _ABSENT else _DIGEST.sub(r"\1...", _json(value))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values; a list counts as one value."""
    if not isinstance(value, dict) or not value:
        yield name, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{name}.{key}" if name else key)


def read_settings(path: Path) -> dict[str, Any] | None:
    """Read recorded settings; None if there are none.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); delete it, with the results beside it"
        ) from error
    if not isinstance(recorded, dict):
        raise InputError(f"{path}: does not hold settings; delete it, with the results beside it")
    return recorded

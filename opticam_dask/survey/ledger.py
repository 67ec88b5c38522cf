"""The ledger: one row for each night and camera, of what was found, what was used, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from opticam_dask.errors import InputError
from opticam_dask.schema import Column, arrow_schema
from opticam_dask.survey.arrivals import index_path, nights_folder
from opticam_dask.survey.inventory import UNDATED, Inventory, NightRecord

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.instrument import Instrument

NAME = "ledger.parquet"
GONE = "gone"
_NO_FRAMES = "its frames are no longer under the root; results are kept"
_DAY_S = 86400.0
_f8, _i8, _s = pa.float64(), pa.int64(), pa.string()

COLUMNS: tuple[Column, ...] = (
    Column("night", _s, "", "local date of the evening; empty for frames without a time"),
    Column("camera", _s, "", "'<arm>:<filter>'; empty if the headers do not tell"),
    Column("status", _s, "", "reduced, failed (tried again), excluded, pending, or gone from the root"),
    Column("reason", _s, "", "why a night or camera gave no light curves; empty if it did"),
    Column("found", _i8, "", "frames found"),
    Column("used", _i8, "", "frames accepted"),
    Column("rejected", _i8, "", "frames rejected"),
    Column("rejected_for", _s, "", "reasons with the number of frames of each, joined by '; '"),
    Column("unaligned", _i8, "", "accepted frames that could not be aligned"),
    Column("cloudy", _i8, "", "accepted frames flagged as cloudy"),
    Column("extinction", _f8, "mag", "how much fainter its stars are than in clear nights; NaN if unknown"),
    Column("fwhm", _f8, "pixel", "median FWHM of the aligned frames"),
    Column("seeing", _f8, "arcsec", "the same on the sky; NaN if the scale is unknown"),
    Column("stars", _i8, "", "sources of the catalogue"),
    Column("identified", _i8, "", "of these, sources with an object_id"),
    Column("rows", _i8, "", "light-curve rows in the dataset, of all photometers"),
    Column("outdated", _i8, "", "rows there that were made of frames or catalogues that are no more"),
    Column("outdated_for", _s, "", "of which photometers these are, and why they are kept"),
    Column("first", _f8, "d", "mid-exposure of the first accepted frame, MJD, UTC"),
    Column("last", _f8, "d", "mid-exposure of the last accepted frame, MJD, UTC"),
    Column("duration", _f8, "s", "time between these"),
    Column("exptime", _f8, "s", "median exposure time of the accepted frames"),
    Column("cadence", _f8, "s", "median time between frames; NaN for one frame"),
    Column("gaps", _i8, "", "gaps between frames"),
    Column("longest_gap", _f8, "s", "the longest of these; 0 if there is none"),
    Column("seconds", _f8, "s", "time it took to reduce and publish the night"),
    Column("digest", _s, "", "digest of the night's files: paths, sizes, times of modification"),
)
LEDGER = arrow_schema(COLUMNS)


@dataclass(frozen=True)
class Outcome:
    """What came of a night.

    Parameters
    ----------
    seconds : float
        Time it took [s].
    identified, rows : dict of str to int
        Objects identified and rows published for each camera.
    outdated : dict of str to tuple
        For each camera rows that were published before and are outdated, and why.
    """

    seconds: float = math.nan
    identified: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    outdated: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def of(self, camera: str) -> dict[str, Any]:
        """Its columns of the ledger."""
        outdated, why = self.outdated.get(camera, (0, ""))
        return {
            "identified": self.identified.get(camera, 0),
            "rows": self.rows.get(camera, 0),
            "outdated": outdated,
            "outdated_for": why,
            "seconds": self.seconds,
        }


def read_ledger(out: str | Path) -> pd.DataFrame:
    """Read the ledger of a survey.

    Parameters
    ----------
    out : path
        Output directory of the survey.

    Returns
    -------
    DataFrame
        One row per night and camera, in order; columns `COLUMNS`.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    import pyarrow.parquet as pq

    path = Path(out) / NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the output directory of a survey that was run")
    try:
        table = pq.read_table(path, schema=LEDGER)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({error}); the next run of the survey mends it") from error
    return _filled(table)


def _filled(table: pa.Table) -> pd.DataFrame:
    """Rows as pandas has them; columns that an earlier version did not write are empty, 0, or NaN."""
    nothing = {_i8: 0, _s: "", _f8: math.nan}
    columns = [table[column.name].fill_null(nothing[column.type]) for column in LEDGER]
    frame: pd.DataFrame = pa.table(columns, LEDGER.names).to_pandas()
    return frame


def update_ledger(out: Path, rows: Mapping[str, pd.DataFrame]) -> None:
    """Put rows of nights in the place of those the ledger has; where nothing changes, nothing is written."""
    import pandas as pd
    import pyarrow.parquet as pq

    from opticam_dask.tables.atomic import replacing

    path = out / NAME
    old = read_ledger(out) if path.is_file() else empty()
    tables = [old[~old["night"].isin(list(rows))], *rows.values()]
    filled = [table for table in tables if len(table)]
    joined = pd.concat(filled, ignore_index=True) if filled else empty()
    new = typed(joined.sort_values(["night", "camera"], ignore_index=True))
    if path.is_file() and new.equals(old):
        return
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pandas(new, schema=LEDGER, preserve_index=False), temporary)


def note_others(out: Path, inventory: Inventory, instrument: Instrument) -> None:
    """Enter what no reduction does: frames without a time, nights that are gone, and such as came back."""
    rows = {}
    if index_path(out, UNDATED).is_file():
        rows[UNDATED] = night_rows(out, UNDATED, None, instrument, Outcome())
    ledger = read_ledger(out) if (out / NAME).is_file() else empty()
    for night, record in inventory.nights.items():
        some = ledger[ledger["night"] == night]
        if len(some) and record.is_gone != (some["status"] == GONE).all():
            status, reason = (GONE, _NO_FRAMES) if record.is_gone else (record.status, record.reason)
            rows[night] = some.assign(status=status, reason=reason)
    update_ledger(out, rows)


def empty() -> pd.DataFrame:
    """Ledger without rows."""
    table: pd.DataFrame = LEDGER.empty_table().to_pandas()
    return table


def typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the types of the ledger's columns."""
    table = pa.Table.from_pandas(rows[LEDGER.names], schema=LEDGER, preserve_index=False)
    frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
    return frame


def night_rows(
    out: Path, night: str, record: NightRecord | None, instrument: Instrument, outcome: Outcome
) -> pd.DataFrame:
    """Rows of a night, one per camera; those without a time are the night ``''``."""
    import pandas as pd

    from opticam_dask.io.frame_index import read_frames

    frames = read_frames(index_path(out, night))
    stars = _stars(out, night)
    rows = [
        {
            **_found(group),
            **_timing(group),
            **_quality(stars.get(str(camera)), instrument, str(camera), group),
            **_status(record, stars.get(str(camera)), group),
            "night": night,
            "camera": str(camera),
            **outcome.of(str(camera)),
            "extinction": math.nan,
            "digest": "" if record is None else record.files,
        }
        for camera, group in frames.groupby("camera", sort=True)
    ]
    return typed(pd.DataFrame(rows, columns=LEDGER.names)) if rows else empty()


def _found(frames: pd.DataFrame) -> dict[str, Any]:
    bad = frames[frames["status"] != "accepted"]
    counts = sorted(bad["reason"].value_counts().items(), key=lambda item: (-item[1], str(item[0])))
    return {
        "found": len(frames),
        "used": len(frames) - len(bad),
        "rejected": len(bad),
        "rejected_for": "; ".join(f"{number} x {reason}" for reason, number in counts),
    }


def _timing(frames: pd.DataFrame) -> dict[str, Any]:
    from opticam_dask.io.scan_report import sampling

    spans = sampling(frames)
    if not spans:
        nothing = dict.fromkeys(("first", "last", "duration", "exptime", "cadence"), math.nan)
        return {**nothing, "gaps": 0, "longest_gap": 0.0}
    span = spans[0]
    return {
        "first": span.start,
        "last": span.end,
        "duration": (span.end - span.start) * _DAY_S,
        "exptime": float(frames["exposure"][frames["status"] == "accepted"].median()),
        "cadence": span.cadence,
        "gaps": len(span.gaps),
        "longest_gap": max((length for _, length in span.gaps), default=0.0),
    }


@dataclass(frozen=True)
class _Stars:
    """Alignment of a camera's frames and the size of its catalogue; None if it has none."""

    alignment: pd.DataFrame
    sources: int | None


def _stars(out: Path, night: str) -> dict[str, _Stars]:
    """Gather what is known of the stars of each camera."""
    from opticam_dask.catalog.store import load_catalogs
    from opticam_dask.errors import OpticamError
    from opticam_dask.tables.quality import frame_quality

    tree = nights_folder(out) / night
    if night == UNDATED:
        return {}
    try:
        catalogs, quality = load_catalogs(tree), frame_quality(tree)
    except OpticamError:
        # a night that failed before it had any
        return {}
    tables = {str(camera): table for camera, table in quality.groupby("camera")}
    return {
        camera: _Stars(table, len(catalogs[camera].table) if camera in catalogs else None)
        for camera, table in tables.items()
    }


def _quality(
    stars: _Stars | None, instrument: Instrument, camera: str, frames: pd.DataFrame
) -> dict[str, Any]:
    from opticam_dask.schema import CLOUD_MAG
    from opticam_dask.survey.register import on_chip_binning, unbinned_scale

    if stars is None:
        return {"unaligned": 0, "cloudy": 0, "fwhm": math.nan, "seeing": math.nan, "stars": 0}
    aligned = stars.alignment["status"] == "aligned"
    fwhm = float(stars.alignment["fwhm"][aligned].median())
    scale = on_chip_binning(frames[frames["status"] == "accepted"]) * unbinned_scale(instrument, camera)
    return {
        "unaligned": int((~aligned).sum()),
        "cloudy": int((stars.alignment["cloud"] >= CLOUD_MAG).sum()),
        "fwhm": fwhm,
        "seeing": fwhm * scale,
        "stars": stars.sources or 0,
    }


def _status(record: NightRecord | None, stars: _Stars | None, frames: pd.DataFrame) -> dict[str, str]:
    if record is None:
        return {"status": "excluded", "reason": "the headers tell no time"}
    if record.is_gone:
        return {"status": GONE, "reason": _NO_FRAMES}
    if record.status == "reduced" and (stars is None or stars.sources is None):
        return {"status": "excluded", "reason": _why_none(stars)}
    return {"status": record.status, "reason": record.reason}


def _why_none(stars: _Stars | None) -> str:
    """Why a camera of a night that was reduced has no catalogue."""
    reasons = [] if stars is None else [text for text in stars.alignment["reason"].unique() if text]
    return reasons[0] if reasons else "no usable frame"

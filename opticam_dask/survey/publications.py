"""What there is to publish of a night."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opticam_dask.matching import Master
from opticam_dask.survey.arrivals import index_path, nights_folder
from opticam_dask.survey.publish import Publication
from opticam_dask.tables.digest import digest, read_settings
from opticam_dask.tables.store import dataset_root


def publications_of(out: Path, night: str, labels: Sequence[str], master: Master) -> list[Publication]:
    """Publications of a night: one for each set of light curves and camera with a catalogue.

    Parameters
    ----------
    out : Path
        The survey.
    night : str
        The night.
    labels : sequence of str
        Sets of light curves that were measured.
    master : Master
        Knows the objects.
    """
    tree = nights_folder(out) / night
    expected = _expected(out, night)
    return [
        Publication(
            label=label,
            night=night,
            camera=camera,
            own=dataset_root(tree, label),
            root=dataset_root(out, label),
            ids=master.ids(night, camera),
            frames=frames,
            sources=sources,
            made=digest(read_settings(tree / "lcs" / label / "settings.json") or {}),
        )
        for label in labels
        for camera, (frames, sources) in sorted(expected.items())
    ]


def _expected(out: Path, night: str) -> dict[str, tuple[int, int]]:
    """Count the accepted frames of the night and the sources of each camera with a catalogue."""
    from opticam_dask.catalog.store import load_catalogs
    from opticam_dask.io.frame_index import accepted, read_frames

    frames = accepted(read_frames(index_path(out, night)))
    counts = frames[frames["night"] == night]["camera"].value_counts()
    catalogs = load_catalogs(nights_folder(out) / night)
    return {camera: (int(counts.get(camera, 0)), len(each.table)) for camera, each in catalogs.items()}


def ids_digest(master: Master, night: str) -> str:
    """Digest of the object of every source of a night."""
    rows = master.sightings[master.sightings["night"] == night]
    columns = (rows[name].tolist() for name in ("camera", "source", "object_id"))
    named = {f"{camera} {source}": name for camera, source, name in zip(*columns, strict=True)}
    return digest(named)

"""What the page of a reduction shows."""

from __future__ import annotations

from pathlib import Path

from opticam_dask.catalog.store import load_catalogs
from opticam_dask.report import facts
from opticam_dask.report.curves import filled_folders
from opticam_dask.report.pictures import field_of, noise_picture, quality_picture
from opticam_dask.report.story import Story


def story_of_reduction(out: Path) -> Story:
    """Gather what is known of a reduction, from its output directory."""
    catalogs = load_catalogs(out)
    folders = filled_folders(out, "source")
    names = sorted({folder.label for folder in folders})
    unit = facts.unit_of(folders)
    provenance = facts.provenance(out)
    return Story(
        out=out,
        thing="source",
        unit=unit,
        columns={key: text.format(unit=unit) for key, text in facts.NAMES.items()},
        nights=facts.records(facts.nights(out, {c: len(k.table) for c, k in catalogs.items()})),
        lost=facts.rejected(out / "frames.parquet"),
        folders=folders,
        fields=[field_of(catalog) for catalog in catalogs.values()],
        quality=quality_picture(out, unit) if catalogs else "",
        noise={label: noise_picture(out, label, catalogs) for label in names} if catalogs else {},
        versions=provenance.get("versions", {}),
        command=" ".join(map(str, provenance.get("command", []))),
        settings=provenance.get("config", {}),
    )

"""PSF of each camera as a photometer wants it: Gaussian, from moments, or a Moffat profile, fitted once."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from opticam_dask.catalog.bright import is_isolated
from opticam_dask.catalog.profile import moffat_psf
from opticam_dask.tables.atomic import write_text
from opticam_dask.tables.digest import read_settings
from opticam_dask.types import PsfModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import CatalogStage, Run, Say


def wants_moffat(photometer: BasePhotometer) -> bool:
    """Whether a photometer is to be given Moffat profiles."""
    return bool(getattr(photometer, "profile", "gaussian") == "moffat")


def moffat_psfs(
    stage: CatalogStage,
    catalogs: Mapping[str, CameraCatalog],
    photometers: Sequence[BasePhotometer],
    *,
    run: Run,
    say: Say,
) -> dict[str, PsfModel]:
    """Moffat profile of each camera, fitted or read back from ``cat/moffat.json``; none if nobody wants it.

    Raises
    ------
    CatalogError
        If a camera has no star bright enough.
    """
    if not any(wants_moffat(photometer) for photometer in photometers):
        return {}
    path = stage.tree.cat / "moffat.json"
    known = read_settings(path) or {}
    found = {}
    for camera, catalog in catalogs.items():
        made_of = catalog.digest()
        if known.get(camera, {}).get("catalog") != made_of:
            psf = moffat_psf(stage.blocks(camera), catalog, run=run)
            known[camera] = {"catalog": made_of, "psf": asdict(psf)}
            say(
                f"{camera}: Moffat profile, beta {psf.beta:.2f}, FWHM {psf.fwhm:.3f} px, "
                f"{psf.semimajor_sigma:.3f} x {psf.semiminor_sigma:.3f} px at {psf.orientation:.1f} deg"
            )
            if not is_isolated(catalog).any():
                say(
                    f"warning: {camera}: no source stands alone; wings of neighbours widen the Moffat profile"
                )
        found[camera] = PsfModel(**known[camera]["psf"])
    write_text(path, json.dumps(known, indent=2, sort_keys=True) + "\n")
    return found

"""Pictures of a page, from the tables and stacked images of a reduction."""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.plotting.frame_quality import over_time_figure
from opticam_dask.plotting.images import SHOWN_PIXELS, binned
from opticam_dask.plotting.source_quality import rms_figure
from opticam_dask.report.plots import Field
from opticam_dask.tables.quality import frame_quality
from opticam_dask.tables.source_quality import source_quality
from opticam_dask.tables.store import find_dataset, flux_unit
from opticam_dask.types import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from opticam_dask.catalog.model import CameraCatalog

_QUALITY = ("fwhm", "background", "transparency")
_DPI = 90


def field_of(catalog: CameraCatalog) -> Field:
    """Stacked image and sources of a camera."""
    ids = [str(source) for source in catalog.table["source"]]
    image = catalog.stacked_image
    return Field(catalog.camera, grey(image), (image.shape[0], image.shape[1]), ids, catalog.xy)


def grey(image: Image, side: int = SHOWN_PIXELS) -> bytes:
    """PNG of an image in shades of grey, first row at the bottom, no side of more pixels than said."""
    from PIL import Image as Picture

    shown, _ = binned(image)
    known = shown[np.isfinite(shown)]
    low, high = np.percentile(known, [1.0, 99.7]) if known.size else (0.0, 1.0)
    scaled = np.clip((shown - low) / max(high - low, 1e-30), 0.0, 1.0)
    shades = np.where(np.isfinite(shown), 255.0 * (1.0 - scaled), 255.0)
    picture = Picture.fromarray(shades[::-1].astype(np.uint8))
    picture.thumbnail((side, side))
    return _png(lambda stream: picture.save(stream, "png"))


def quality_picture(out: Path, unit: str) -> str:
    """Seeing, sky and transparency of all cameras over time, as the text of an image's source."""
    quality = frame_quality(out)
    cameras = {str(camera): rows for camera, rows in quality.groupby("camera")}
    return picture_of(over_time_figure(cameras, _QUALITY, unit=unit))


def noise_picture(out: Path, label: str, catalogs: dict[str, CameraCatalog]) -> str:
    """Scatter of the light curves of a label against flux, as the text of an image's source."""
    root = find_dataset(out, label)
    tables = {
        camera: source_quality(root, camera, catalog.table["source"].tolist())
        for camera, catalog in catalogs.items()
    }
    return picture_of(rms_figure(tables, unit=flux_unit(root)))


def picture_of(figure: Figure) -> str:
    """Draw a figure into the text of an image's source."""
    png = _png(lambda stream: figure.savefig(stream, format="png", dpi=_DPI))
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _png(write: Callable[[BytesIO], object]) -> bytes:
    stream = BytesIO()
    write(stream)
    return stream.getvalue()

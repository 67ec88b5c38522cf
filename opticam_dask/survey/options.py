"""What a survey is told, and which results depend on which of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from opticam_dask.errors import InputError
from opticam_dask.instrument import OPTICAM_MX, Instrument
from opticam_dask.survey.folders import signature

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

    from opticam_dask.photometers.base import BasePhotometer

_SCAN = ("instrument", "target")
_CATALOG = (
    *("max_catalog_sources", "n_alignment_sources", "transform_type"),
    *("rotation_limit", "translation_limit", "scale_limit"),
)
_CALIBRATION_FOLDERS = ("bias", "dark", "flat")
_FUNCTIONS = ("aperture_selector", "background", "finder", "image_filter")


@dataclass(frozen=True, kw_only=True)
class SurveyOptions:
    """How the nights of a survey are reduced; the same for all of them.

    Parameters
    ----------
    instrument : Instrument
        How to read the headers.
    target : SkyCoord or str, optional
        Coordinates to barycentre with; by default each header's pointing.
    barycenter, wcs, threshold, aperture_selector, background, finder
        As for `Reducer`.
    max_catalog_sources, n_alignment_sources, transform_type, rotation_limit, translation_limit, scale_limit
        As for `Reducer.create_catalogs`.
    bias, dark, flat : path, optional
        Folders of calibration frames, for all nights.
    bad_pixels, region_of_interest, image_filter, rebin_factor, remove_cosmic_rays, electrons
        As for `Reducer`.
    """

    instrument: Instrument = OPTICAM_MX
    target: SkyCoord | str | None = None
    barycenter: bool = True
    wcs: Any = None
    threshold: float = 5.0
    aperture_selector: Callable[..., Any] | None = None
    background: Callable[..., Any] | None = None
    finder: Callable[..., Any] | None = None
    max_catalog_sources: int = 15
    n_alignment_sources: int = 15
    transform_type: Literal["affine", "translation"] = "affine"
    rotation_limit: float | None = None
    translation_limit: float | Sequence[float] | None = None
    scale_limit: float | None = None
    bias: Path | str | None = None
    dark: Path | str | None = None
    flat: Path | str | None = None
    bad_pixels: Any = None
    region_of_interest: Any = None
    image_filter: Callable[..., Any] | None = None
    rebin_factor: int = 1
    remove_cosmic_rays: bool = False
    electrons: bool = False

    def catalog_arguments(self) -> dict[str, Any]:
        """Arguments of `Reducer.create_catalogs`."""
        return {name: getattr(self, name) for name in _CATALOG}

    def reducer_arguments(self, out: Path) -> dict[str, Any]:
        """Arguments of `Reducer`; master frames of all nights are kept in ``out/cal``."""
        used = {*_CATALOG, *_CALIBRATION_FOLDERS, "aperture_selector"}
        arguments = {name: value for name, value in _values(self).items() if name not in used}
        if self.aperture_selector is not None:
            arguments["aperture_selector"] = self.aperture_selector
        return {**arguments, **self._correctors(out)}

    def _correctors(self, out: Path) -> dict[str, Any]:
        from opticam_dask.calibration import BiasCorrector, DarkNoiseCorrector, FlatFieldCorrector

        kinds = {
            "bias": ("bias_corrector", BiasCorrector),
            "dark": ("dark_noise_corrector", DarkNoiseCorrector),
            "flat": ("flat_corrector", FlatFieldCorrector),
        }
        return {
            name: kind(out, getattr(self, option), instrument=self.instrument, verbose=False)
            for option, (name, kind) in kinds.items()
            if getattr(self, option) is not None
        }

    def calibration_folders(self) -> list[Path]:
        """Folders of calibration frames, which are no nights."""
        return [Path(value) for name in _CALIBRATION_FOLDERS if (value := getattr(self, name)) is not None]

    def scan_settings(self) -> dict[str, Any]:
        """List the settings on which depends what headers mean."""
        return {
            "instrument": self.instrument.to_dict(),
            "target": None if self.target is None else str(self.target),
        }

    def catalog_settings(self) -> dict[str, Any]:
        """List the settings on which the catalogues depend, besides those of the scan."""
        values = {name: value for name, value in _values(self).items() if name not in _SCAN}
        return {name: _setting(name, value) for name, value in values.items()}


def _values(options: SurveyOptions) -> dict[str, Any]:
    return {item.name: getattr(options, item.name) for item in fields(options)}


def _setting(name: str, value: Any) -> Any:
    """Record a setting: a function by name and code, a file or folder by name, sizes and times."""
    if value is None:
        return None
    if name in _FUNCTIONS:
        from opticam_dask.stages.catalog import identity_of

        return identity_of(value)
    if name in _CALIBRATION_FOLDERS or isinstance(value, Path):
        return _files(name, Path(value))
    if name == "wcs":
        from opticam_dask.stages.coordinates import wcs_identity

        return wcs_identity(value)
    return _image(value) if name == "bad_pixels" else value


def _files(name: str, path: Path) -> dict[str, str]:
    if not path.exists():
        raise InputError(f"{name}: {path} does not exist; give a file or folder that does")
    return {"path": str(path.resolve()), "files": signature(path)}


def _image(value: Any) -> Any:
    if isinstance(value, dict):
        return {camera: _setting("bad_pixels", each) for camera, each in value.items()}
    if isinstance(value, str):
        return _files("bad_pixels", Path(value))
    import hashlib

    import numpy as np

    mask = np.ascontiguousarray(value, bool)
    return {"shape": mask.shape, "pixels": hashlib.sha256(mask.tobytes()).hexdigest()[:16]}


def photometry_settings(photometers: Sequence[BasePhotometer]) -> dict[str, Any]:
    """Give the settings of each set of light curves, by its label.

    Raises
    ------
    InputError
        If there is no photometer, or two of them have one label.
    """
    labels = [photometer.label for photometer in photometers]
    doubled = sorted({label for label in labels if labels.count(label) > 1})
    if not labels or doubled:
        what = f"two photometers share the label {', '.join(doubled)}" if doubled else "no photometer"
        raise InputError(f"{what}: a survey needs at least one, each with a label of its own")
    return {photometer.label: photometer.settings() for photometer in photometers}

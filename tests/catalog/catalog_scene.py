"""Small star fields of known truth, held in memory as blocks of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from opticam_dask.catalog.background import DefaultBackground
from opticam_dask.catalog.build import AlignmentConfig, CameraCatalog, build_catalog
from opticam_dask.catalog.finder import DefaultFinder
from opticam_dask.errors import FrameReadError
from opticam_dask.schema import FRAME_META
from opticam_dask.types import Exposure


@dataclass(frozen=True, eq=False)
class MemoryBlock:
    """Stand-in for a FrameBlock whose frames are arrays."""

    images: tuple[Any, ...]
    meta: np.ndarray
    night: str = "2024-01-01"
    camera: str = "1:g"
    filter: str = "g"
    shape: tuple[int, int] = (0, 0)

    def __len__(self):
        return len(self.images)

    def __dask_tokenize__(self):
        return self.night, self.camera, self.start, self.stop, len(self), id(self.images[0])

    start = property(lambda self: int(self.meta["frame"][0]))
    stop = property(lambda self: int(self.meta["frame"][-1]) + 1)

    def select(self, index):
        where = np.arange(len(self))[index]
        return replace(self, images=tuple(self.images[i] for i in where), meta=self.meta[where])

    def frames(self):
        yield from enumerate(self.images)

    def exposures(self):
        for i, image in enumerate(self.images):
            known = {name: float(self.meta[name][i]) for name in ("gain", "saturation", "airmass")}
            yield i, image if isinstance(image, FrameReadError) else Exposure(image, **known)


@dataclass(frozen=True)
class Field:
    """Stars, PSF and sky of a field, and how to draw it."""

    shape: tuple[int, int] = (173, 211)
    n_stars: int = 12
    sigmas: tuple[float, float] = (1.5, 1.5)
    angle: float = 0.0
    sky: float = 100.0
    noise: float = 10.0
    faintest: float = 3000.0
    seed: int = 7
    margin: float = 20.0
    xy: np.ndarray = field(init=False)
    flux: np.ndarray = field(init=False)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        ny, nx = self.shape
        low, high = np.array([self.margin] * 2), np.array([nx, ny]) - 1 - self.margin
        xy: list[np.ndarray] = []
        while len(xy) < self.n_stars:
            place = rng.uniform(low, high)
            if all(np.hypot(*(place - other)) > 14 for other in xy):
                xy.append(place)
        object.__setattr__(self, "xy", np.array(xy))
        object.__setattr__(self, "flux", self.faintest * 1.25 ** np.arange(self.n_stars)[::-1])

    def draw(
        self,
        affine: np.ndarray | None = None,
        *,
        seed: int,
        dim: float | np.ndarray = 1.0,
        seeing: float = 1.0,
    ) -> np.ndarray:
        """A noisy frame; ``affine`` maps the field into the frame, the PSF stays on the detector."""
        affine = np.eye(2, 3) if affine is None else affine
        rng = np.random.default_rng([self.seed, seed])
        image = rng.normal(self.sky, self.noise, self.shape)
        major, minor = seeing * np.array(self.sigmas)
        for (x, y), flux in zip(self.xy @ affine[:, :2].T + affine[:, 2], dim * self.flux, strict=True):
            add_star(image, x, y, flux, major, minor, self.angle)
        return image.astype(np.float32)


def add_star(image, x, y, flux, major, minor, degrees):
    """Add a Gaussian star, out to eight sigmas."""
    reach = int(8 * major) + 1
    i0, j0 = max(0, int(x) - reach), max(0, int(y) - reach)
    stamp = image[j0 : max(0, int(y) + reach), i0 : max(0, int(x) + reach)]
    if stamp.size:
        stamp += flux * gaussian(stamp.shape, x - i0, y - j0, major, minor, degrees)


def gaussian(shape, x, y, major, minor, degrees):
    """Elliptical Gaussian of unit total, sampled at pixel centres."""
    j, i = np.mgrid[: shape[0], : shape[1]]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    u, v = (i - x) * c + (j - y) * s, (j - y) * c - (i - x) * s
    return np.exp(-0.5 * ((u / major) ** 2 + (v / minor) ** 2)) / (2 * np.pi * major * minor)


def similarity(shape, *, shift=(0.0, 0.0), degrees=0.0, scale=1.0):
    """Rotation and scale about the centre of the frame, then a shift."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    linear = np.array([[c, -s], [s, c]])
    centre = (np.array(shape[::-1]) - 1) / 2
    return np.column_stack([linear, centre - linear @ centre + shift])


def blocks_of(images: Sequence[Any], size: int = 64, **meta: Any) -> list[MemoryBlock]:
    """Cut frames, one a second, into blocks."""
    table = np.zeros(len(images), FRAME_META)
    table["frame"] = np.arange(len(images))
    table["MJD"] = 60310.0 + table["frame"] / 86400.0
    table["exposure"], table["gain"], table["saturation"] = 1.0, 1.0, np.nan
    for name, value in meta.items():
        table[name] = value
    cuts = [slice(i, i + size) for i in range(0, len(images), size)]
    shape = next(image.shape for image in images if isinstance(image, np.ndarray))
    return [MemoryBlock(tuple(images[cut]), table[cut], shape=shape) for cut in cuts]


def run(tasks: Any, description: str) -> list[Any]:
    """Compute in this thread."""
    assert description
    return list(tasks.compute(scheduler="sync"))


def catalogue(blocks: Sequence[Any], *, compute: Callable[..., Any] = run, **settings: Any) -> CameraCatalog:
    """Catalogue with the default estimators for small frames."""
    return build_catalog(
        blocks,
        run=compute,
        background=DefaultBackground(24),
        finder=DefaultFinder(5, 0),
        config=AlignmentConfig(**settings),
    )


def transforms(catalog: CameraCatalog) -> np.ndarray:
    """Transforms of all frames, shape (n, 2, 3)."""
    return catalog.alignment[["a11", "a12", "a13", "a21", "a22", "a23"]].to_numpy().reshape(-1, 2, 3)


def placement_errors(catalog: CameraCatalog, scene: Field, truth: Sequence[np.ndarray]) -> np.ndarray:
    """Largest error of the predicted places of the field's stars in each frame [pixel].

    ``truth`` maps the field into each frame; the catalogue's frame is that of the reference.
    """
    reference = truth[catalog.reference_frame[2]]
    on_reference = scene.xy @ reference[:, :2].T + reference[:, 2]
    errors = []
    for found, true in zip(transforms(catalog), truth, strict=True):
        places = on_reference @ found[:, :2].T + found[:, 2]
        errors.append(np.abs(places - (scene.xy @ true[:, :2].T + true[:, 2])).max())
    return np.array(errors)


def unreadable(name: str = "night/a.fits") -> FrameReadError:
    """What a block yields for a truncated file."""
    return FrameReadError(name, "truncated: expected 173x211 pixels")

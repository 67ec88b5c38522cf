"""A raw frame to a calibrated one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opticam_dask.calibration.cosmic_rays import cosmic_rays, cosmic_rays_near
from opticam_dask.calibration.maps import Layout, Maps, headroom, maps_of
from opticam_dask.calibration.masters import MasterRef
from opticam_dask.calibration.pedestal import Pedestal
from opticam_dask.errors import InputError
from opticam_dask.io.buffers import frame_array
from opticam_dask.kernels.background import as_pixels
from opticam_dask.kernels.calibrate import Response, calibrated
from opticam_dask.kernels.hot import repaired
from opticam_dask.kernels.rebin import rebinned, rebinned_places
from opticam_dask.photometers.source_digest import identity
from opticam_dask.schema import Flag
from opticam_dask.shipping import Shipped
from opticam_dask.types import XY, Exposure


class Search(NamedTuple):
    """Where to look for cosmic rays: the whole frame, or near some places of the calibrated frame.

    Parameters
    ----------
    places : ndarray, shape (n, 2), optional [pixel]
        None is the whole frame; none is nowhere.
    reach : float
        Half width of the square to look at around each [pixel].
    """

    places: XY | None = None
    reach: float = 0.0


WHOLE_FRAME, NOWHERE = Search(), Search(np.empty((0, 2)))


@dataclass(frozen=True)
class FrameCalibration:
    """How the raw frames of a camera are calibrated; small, whatever the size of the masters.

    In this order: saturated pixels are marked, the region of interest is cut out, bias, dark and flat are
    corrected, bad pixels become NaN, cosmic rays are marked and become NaN, the user's filter runs, and
    pixels are binned.

    Parameters
    ----------
    camera : str
        ``'<arm>:<filter>'``.
    layout : Layout
        Part of the frame that is kept.
    pedestal : Pedestal
        Bias and dark.
    flat : MasterRef, optional
        Flat field.
    header_dark : bool
        Whether the header's dark current is subtracted instead of a master dark.
    image_filter : Shipped, optional
        Function of an image that returns one of the same shape. It sees the median of the pixels around in
        place of bad ones, which are NaN again afterwards.
    remove_cosmic_rays : bool
        Whether single frames are searched for cosmic rays.
    electrons : bool
        Whether images are in electrons instead of adu.
    """

    camera: str
    layout: Layout
    pedestal: Pedestal = field(default_factory=Pedestal)
    flat: MasterRef | None = None
    header_dark: bool = False
    image_filter: Shipped | None = None
    remove_cosmic_rays: bool = False
    electrons: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of calibrated frames."""
        return self.layout.shape

    @property
    def is_local(self) -> bool:
        """Whether a pixel of a calibrated frame depends on the raw pixels at its place alone."""
        return self.image_filter is None and not self.remove_cosmic_rays

    def settings(self) -> dict[str, Any]:
        """Everything that changes the numbers, fit for JSON."""
        return {
            "masters": [ref.digest for ref in self.pedestal.references()],
            "flat": None if self.flat is None else self.flat.digest,
            "header_dark": self.header_dark,
            "region_of_interest": self.layout.region,
            "rebin_factor": self.layout.factor,
            "bad_pixels": self.layout.bad.hex(),
            "image_filter": None if self.image_filter is None else identity(self.image_filter.load()),
            "remove_cosmic_rays": self.remove_cosmic_rays,
            "electrons": self.electrons,
        }

    def apply(
        self, exposure: Exposure, search: Search = WHOLE_FRAME, boxes: NDArray[np.int64] | None = None
    ) -> Exposure:
        """Calibrate a raw frame.

        Parameters
        ----------
        exposure : Exposure
            Raw frame [adu].
        search : Search
            Where to look for cosmic rays, if they are to be removed.
        boxes : ndarray of int64, shape (n, 4), optional
            First row, row after the last, first column and column after the last of boxes in the raw frame:
            all other pixels are of no meaning afterwards. Used where `is_local`, without binning.

        Returns
        -------
        Exposure
            Image in float32, NaN at bad pixels and cosmic rays. Saturated pixels and cosmic rays are marked,
            and the saturation level is NaN. The read noise holds the noise of the bias and dark masters,
            which photometry of one place cannot tell from it. Binned pixels are sums: NaN where one pixel is,
            the read noise grows with the square root of their number and the dark charge with it.

        Raises
        ------
        InputError
            If the frame has another shape, or there is no dark for its exposure time.
        """
        if exposure.image.shape != self.layout.raw:
            raise InputError(
                f"{self.camera}: a frame of shape {exposure.image.shape}, expected {self.layout.raw}"
            )
        seconds = exposure.exposure_s
        maps = maps_of(self.layout, self.pedestal, self.flat, seconds if self.pedestal.matched else 0.0)
        image, saturated = self._corrected(exposure, maps, seconds, boxes)
        clean = replace(
            exposure,
            image=image,
            gain=1.0 if self.electrons else exposure.gain,
            read_noise=self.read_noise(exposure.read_noise, exposure.gain, seconds),
            saturation=math.nan,
            marked=np.empty(0, np.int64),
            marks=np.empty(0, np.int32),
            flat_variance=maps.variance,
            response=maps.response,
        )
        rays = self._rays(clean, saturated, search)
        return self._binned(self._filtered(clean, rays), saturated, rays)

    def read_noise(self, read_noise: Any, gain: Any, seconds: Any) -> Any:
        """Read noise of a pixel before binning, with that of the bias and dark masters [electron]."""
        return np.hypot(read_noise, gain * math.sqrt(self.pedestal.usual_variance(seconds)))

    def saturation(self, meta: NDArray[Any], seconds: float) -> NDArray[np.float64]:
        """Level of calibrated pixels from which they may have been saturated; of binned ones, if all were.

        Parameters
        ----------
        meta : ndarray of `opticam_dask.schema.FRAME_META`
            Raw frames of one exposure time.
        seconds : float
            That exposure time.
        """
        pedestal, response = headroom(self.pedestal, self.flat, seconds if seconds > 0 else 0.0)
        dark = meta["dark_current"] * meta["exposure"] / meta["gain"] if self.header_dark else 0.0
        gain = meta["gain"] if self.electrons else 1.0
        light = (meta["saturation"] - pedestal - dark) / response
        return np.asarray(light * gain * self.layout.factor**2)

    def _corrected(
        self, exposure: Exposure, maps: Maps, seconds: float, boxes: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        response = Response(
            maps.bias,
            maps.dark,
            seconds,
            constant=exposure.dark / exposure.gain if self.header_dark else 0.0,
            factor=exposure.gain if self.electrons else 1.0,
            saturation=exposure.saturation,
        )
        raw = as_pixels(exposure.image)
        image = frame_array(self.layout.cropped, "float32")
        if boxes is not None:
            boxes = self.layout.crop_boxes(boxes) if self.is_local and self.layout.factor == 1 else None
        saturated = calibrated(raw, response, maps.inverse, self.layout.start, image, boxes)
        # a pixel known to be bad tells nothing of the light: NaN says all
        return image, saturated[np.isfinite(image.ravel()[saturated])]

    def _rays(self, clean: Exposure, saturated: NDArray[np.int64], search: Search) -> NDArray[np.int64]:
        if not self.remove_cosmic_rays or (search.places is not None and not len(search.places)):
            return np.empty(0, np.int64)
        bad = ~np.isfinite(clean.image)
        bad.ravel()[saturated] = True
        noise = {"gain": clean.gain, "read_noise": float(clean.read_noise)}
        if search.places is None:
            return cosmic_rays(clean.image, bad, **noise)
        factor = self.layout.factor
        places = factor * search.places + 0.5 * (factor - 1)
        return cosmic_rays_near(clean.image, bad, places, factor * search.reach, **noise)

    def _filtered(self, clean: Exposure, rays: NDArray[np.int64]) -> Exposure:
        image = clean.image
        image.ravel()[rays] = np.nan
        if self.image_filter is None:
            return clean
        bad = np.flatnonzero(~np.isfinite(image))
        found = np.asarray(self.image_filter(repaired(image, bad)))
        if found.shape != image.shape or found.dtype.kind not in "fiu":
            raise InputError(
                f"image_filter {self.image_filter.name} returned {found.dtype} of shape {found.shape}; "
                f"it must return an image of shape {image.shape}"
            )
        image = found.astype(np.float32)
        image.ravel()[bad] = np.nan
        return replace(clean, image=image)

    def _binned(self, clean: Exposure, saturated: NDArray[np.int64], rays: NDArray[np.int64]) -> Exposure:
        factor, image, dark = self.layout.factor, clean.image, clean.dark
        if factor > 1:
            saturated, rays = (rebinned_places(some, image.shape, factor) for some in (saturated, rays))
            image = rebinned(image, factor)
            dark *= factor**2
        marked, marks = _marks({Flag.SATURATED: saturated, Flag.COSMIC_RAY: rays})
        read_noise = clean.read_noise * factor
        return replace(clean, image=image, read_noise=read_noise, dark=dark, marked=marked, marks=marks)


def _marks(found: dict[Flag, NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Each marked pixel once, with all its bits; sorted. Places left out (-1) are dropped."""
    places = np.concatenate(list(found.values()))
    bits = np.concatenate([np.full(some.size, int(flag), np.int32) for flag, some in found.items()])
    marked, which = np.unique(places, return_inverse=True)
    marks = np.zeros(marked.size, np.int32)
    np.bitwise_or.at(marks, which, bits)
    return marked[marked >= 0], marks[marked >= 0]

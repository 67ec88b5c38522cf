"""Everything a simulated night is made from, in one validated, frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from opticam_dask.simulate.parts import CameraSetup, Cloud, Transit, Variable
from opticam_dask.simulate.validate import check_scene, scene_values

DEFAULT_CAMERAS = (CameraSetup(filter="g"), CameraSetup(filter="r"), CameraSetup(filter="i"))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A night to simulate.

    Lengths are in binned pixels, counts in ADU per exposure, angles in degrees counter-clockwise
    from +x. What moves or dims the sky (pointing, seeing, clouds, gaps) is common to all cameras.

    Parameters
    ----------
    seed : int
        Every random number follows from it.
    n_frames : int
        Exposures of each camera (before gaps), unless the camera says otherwise.
    cameras : sequence of CameraSetup
        The cameras, each with its own filter.
    start : str
        UTC at the start of the first exposure, ISO 8601; kept to the millisecond.
    exposure_s : float
        Exposure time [s].
    shape : tuple of int
        Rows and columns of a frame.
    binning : int
        On-chip binning, told in the headers.
    n_stars : int
        Number of stars, placed at random.
    flux_range : tuple of float
        Faintest and brightest total counts of a star [adu].
    flux_law : {'log-uniform', 'power-law'}
        How the totals are spread: evenly in their logarithm, or as ``dN/dF ~ F**flux_slope``.
    flux_slope : float
        Exponent of the power law.
    margin_px, min_separation_px : float
        Least distance of a star from the edge of the frame, and from another star [pixel].
    stars : sequence of (x, y, counts), optional
        The stars themselves, in place of random ones.
    profile : {'gaussian', 'sampled-gaussian', 'moffat'}
        Integrated over each pixel (Gaussian, Moffat), or a Gaussian sampled at pixel centres.
    semimajor_sigma, semiminor_sigma : float
        Gaussian sigmas [pixel]; a Moffat profile gets the same full widths at half maximum.
    orientation : float
        Position of the major axis [degree].
    moffat_beta : float
        Exponent of the Moffat profile, above 1.5.
    sky : float
        Sky at the centre of the frame [adu / pixel].
    sky_gradient : tuple of float
        Its change along x and y [adu / pixel / pixel].
    gain, read_noise, dark_current : float
        [electron / adu], [electron], [electron / pixel / s].
    dark_nonuniformity : float
        Scatter of the dark current from pixel to pixel, as a fraction of it.
    bias : float
        Added to every pixel [adu].
    bias_structure : float
        Scatter of the bias over the frame, fixed, of mean 0: a pattern of columns and one of rows [adu].
    noise : {'poisson', 'gaussian', 'none'}
        Photon noise: Poisson electrons, normal deviates of the same variance, or none.
    drift_px_per_hour : tuple of float
        Drift of the field along x and y [pixel / hour].
    jitter_px : float
        Scatter of the pointing per axis and exposure [pixel].
    rotation_deg_per_hour : float
        Rotation of the field about the centre of the frame [degree / hour].
    flip_time_s : float, optional
        Time of a meridian flip (the field turns by 180 degrees) after the start [s].
    seeing_change : float
        Peak-to-peak change of the PSF's width over the night, as a fraction of it.
    seeing_law : {'linear', 'walk'}
        Steadily worse, or a random walk.
    clouds : sequence of Cloud
        Clouds.
    gap_start, gap_continue : float
        Chance that an exposure is lost, by all cameras, when the one before was kept, or lost.
    hot_pixels : int
        Hot pixels of each camera, at fixed places.
    hot_pixel_level : float
        Mean counts a hot pixel adds to a frame; each has its own level within 50 % of it [adu]. In dark
        frames and flat fields it grows with the exposure time.
    cosmic_rays : float
        Mean number of cosmic rays per frame.
    cosmic_ray_electrons : float
        Median charge of a cosmic ray [electron].
    saturation : float, optional
        Pixels are cut at this level [adu].
    variables, transits : sequences of Variable, Transit
        Stars that change.
    circular_aperture : bool
        Shadow outside a circle that touches the frame's top and bottom: light falls as (r/R)**-2.
    vignetting : float
        Fraction of the light lost in the corners, growing as the square of the radius.
    dust_spots : int
        Dust shadows of each camera.
    dust_rings : int
        Out-of-focus shadows of each camera: rings with a lighter middle.
    dust_depth : float
        Fraction of the light lost in the middle of a spot, or in a ring.
    prnu : float
        Scatter of the pixels' response to light, as a fraction of it (photo-response non-uniformity).
    dtype : {'uint16', 'float32', 'float64'}
        Pixels of the files. 'uint16' is rounded and cut at 0 and 65535.
    quantum : float
        Float pixels are rounded to multiples of this, which makes them compress well; 0 for not [adu].
    compression : {'none', 'gz', 'fz'}
        Of the files. 'fz' is Rice for 'uint16', lossless GZIP_2 for floats.
    header_style : {'opticam', 'plain'}
        Headers as the instrument writes them, placeholders included, or the few needed keywords.
    pointing : tuple of float, optional
        Right ascension and declination for the headers [degree]; without it those of the
        instrument's placeholders ('0' and '31'), or 0 and 0 in plain headers.

    Raises
    ------
    InputError
        If a value makes no sense; the message shows it.
    """

    seed: int = 123
    n_frames: int = 100
    cameras: tuple[CameraSetup, ...] = DEFAULT_CAMERAS
    start: str = "2024-01-01T00:00:00"
    exposure_s: float = 1.0
    shape: tuple[int, int] = (512, 512)
    binning: int = 4
    n_stars: int = 20
    flux_range: tuple[float, float] = (1e3, 1e5)
    flux_law: str = "log-uniform"
    flux_slope: float = -2.0
    margin_px: float = 16.0
    min_separation_px: float = 0.0
    stars: tuple[tuple[float, float, float], ...] | None = None
    profile: str = "gaussian"
    semimajor_sigma: float = 1.5
    semiminor_sigma: float = 1.5
    orientation: float = 0.0
    moffat_beta: float = 3.5
    sky: float = 100.0
    sky_gradient: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0
    read_noise: float = 1.3
    dark_current: float = 0.0
    dark_nonuniformity: float = 0.0
    bias: float = 0.0
    bias_structure: float = 0.0
    noise: str = "poisson"
    drift_px_per_hour: tuple[float, float] = (0.0, 0.0)
    jitter_px: float = 0.0
    rotation_deg_per_hour: float = 0.0
    flip_time_s: float | None = None
    seeing_change: float = 0.0
    seeing_law: str = "linear"
    clouds: tuple[Cloud, ...] = ()
    gap_start: float = 0.0
    gap_continue: float = 0.0
    hot_pixels: int = 0
    hot_pixel_level: float = 1000.0
    cosmic_rays: float = 0.0
    cosmic_ray_electrons: float = 2000.0
    saturation: float | None = None
    variables: tuple[Variable, ...] = ()
    transits: tuple[Transit, ...] = ()
    circular_aperture: bool = False
    vignetting: float = 0.0
    dust_spots: int = 0
    dust_rings: int = 0
    dust_depth: float = 0.1
    prnu: float = 0.0
    dtype: str = "uint16"
    quantum: float = 0.0
    compression: str = "gz"
    header_style: str = "opticam"
    pointing: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_scene(self)

    @property
    def start_ms(self) -> int:
        """Start of the night [ms since the MJD epoch, 1858-11-17]."""
        return int((np.datetime64(self.start, "ms") - np.datetime64("1858-11-17", "ms")).astype(np.int64))

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Scene:
        """Scene from plain values, such as a TOML table or the options of a command line.

        Cameras, variables, transits and clouds are mappings of their own parameters; a camera may
        be its filter alone.

        Raises
        ------
        InputError
            For an unknown key, naming it and the known ones, or an impossible value.
        """
        return cls(**scene_values(options, cls))

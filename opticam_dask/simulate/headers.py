"""FITS headers as OPTICAM's acquisition software writes them, placeholders included, and plain ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.sky import CameraRun

Value = str | bool | int | float
Cards = list[tuple[str, Value]]

SERIAL_OF_ARM = {1: "VSC-05535", 2: "VSC-05530", 3: "VSC-05522"}
SATURATION = 32302
COMPRESSION_SUFFIX = {"none": "", "gz": ".gz", "fz": ".fz"}
AIRMASS = 1.1669904966293
FIRST_NUMBER = 200_000_000
MJD_EPOCH = np.datetime64("1858-11-17", "ms")


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """What the header of one exposure says.

    Parameters
    ----------
    run : CameraRun
        The camera.
    start : numpy.datetime64
        UTC at the start, in milliseconds.
    name : str
        Name of the file.
    kind : str
        'object', 'flat', 'bias' or 'dark'.
    exposure_s : float
        Exposure time [s].
    """

    run: CameraRun
    start: np.datetime64
    name: str
    kind: str
    exposure_s: float


def start_of(scene: Scene, run: CameraRun, row: int) -> np.datetime64:
    """UTC at the start of a camera's exposure, to the millisecond."""
    return MJD_EPOCH + np.timedelta64(scene.start_ms + int(run.start_ms[row]), "ms")


def file_name(scene: Scene, run: CameraRun, row: int) -> str:
    """Name of a frame's file: night, filter, nine digits that the cameras share, and 'o'."""
    date = str(np.datetime64(scene.start, "D")).replace("-", "")[2:]
    number = FIRST_NUMBER + int(run.index[row])
    return f"{date}{run.camera.filter}{number}o{suffix(scene)}"


def suffix(scene: Scene) -> str:
    """Suffix of the files of a scene."""
    stem = ".fit" if scene.header_style == "opticam" else ".fits"
    return stem + COMPRESSION_SUFFIX[scene.compression]


def cards(scene: Scene, exposure: Exposure) -> Cards:
    """Cards of an exposure's header, those that describe the array left out."""
    return _opticam(scene, exposure) if scene.header_style == "opticam" else _plain(scene, exposure)


def _plain(scene: Scene, exposure: Exposure) -> Cards:
    ra, dec = _pointing(scene, (0.0, 0.0))
    stamp = str(exposure.start).replace("T", " ")
    return [
        ("FILTER", exposure.run.camera.filter),
        ("BINNING", f"{scene.binning}x{scene.binning}"),
        ("GAIN", float(scene.gain)),
        ("EXPOSURE", float(exposure.exposure_s)),
        ("DARKCURR", float(scene.dark_current)),
        ("INSTRUME", "OPTICAM"),
        ("IMGTYPE", exposure.kind),
        ("AIRMASS", 1.0),
        ("RA", ra),
        ("DEC", dec),
        ("UT", stamp.removesuffix(".000")),
        *([] if scene.saturation is None else [("SATLEVEL", float(scene.saturation))]),
    ]


def _opticam(scene: Scene, exposure: Exposure) -> Cards:
    return [
        *_camera_cards(scene, exposure),
        *_site_cards(),
        *_observation_cards(scene, exposure),
        *_time_cards(scene, exposure),
        *_weather_cards(),
    ]


def _camera_cards(scene: Scene, exposure: Exposure) -> Cards:
    arm = exposure.run.camera.arm or 0
    return [
        ("EXPOSURE", float(exposure.exposure_s)),
        ("GAIN", float(scene.gain)),
        ("EXPCOAD", 1),
        ("CCDTEMP", -0.44),
        ("DETECTOR", "Andor sCMOS"),
        ("CCDTYPE", "Zyla 4.2-P USB 3.0"),
        ("SERIALN", SERIAL_OF_ARM.get(arm, f"SIM-{arm:05d}")),
        ("PIXSIZE", 6.5),
        ("CCDMODE", "000 MHz"),
        ("CCDXBIN", scene.binning),
        ("CCDYBIN", scene.binning),
        ("BINNING", f"{scene.binning}x{scene.binning}"),
        ("DARKCURR", float(scene.dark_current)),
        ("SATLEVEL", SATURATION if scene.saturation is None else scene.saturation),
    ]


def _site_cards() -> Cards:
    return [
        ("ORIGIN", "UNAM"),
        ("OBSERVAT", "SPM"),
        ("TELESCOP", "2.1 m"),
        ("INSTRUME", "OPTICAM"),
        ("FOCREDUC", "f/7.5"),
        ("LATITUDE", "+31:02:42"),
        ("LONGITUD", "-115:27:58"),
        ("ALTITUDE", 2790),
        ("SECONDAR", 99),
        ("TIMEZONE", 8),
    ]


def _observation_cards(scene: Scene, exposure: Exposure) -> Cards:
    return [
        ("OBSERVER", ""),
        ("PROJ_ID", "none"),
        ("TITLE", "OPTICAM"),
        ("OBJECT", ""),
        ("OBS_ID", "none"),
        ("IMGTYPE", exposure.kind),
        ("FILTER", exposure.run.camera.filter),
        ("FILENAME", exposure.name.removesuffix(".gz").removesuffix(".fz")),
    ]


def _time_cards(scene: Scene, exposure: Exposure) -> Cards:
    ra, dec = _pointing(scene, ("0", "31"))
    date = str(exposure.start)[:10]
    return [
        ("ST", "00:00:00.0000"),
        ("INITTIME", ""),
        ("CAM_TIME", "0.000000"),
        ("UT", str(exposure.start).replace("T", " ") + " "),
        ("UTMIDDLE", "00:00:00.0000"),
        ("RA", ra),
        ("DEC", dec),
        ("HA", "0"),
        ("AIRMASS", AIRMASS),
        ("EQUINOX", 2023.9),
        ("EPOCH", 2000.0),
        ("JD", 0.0),
        ("DATE-OBS", date),
        ("TSTART", 0.0),
        ("TSTOP", 0.0),
        ("MOONSEP", 0.0),
        ("MOONPHAS", 0.0),
    ]


def _weather_cards() -> Cards:
    # What the camera writes where no weather station answers, letter by letter: readers must not take 99.9,
    # nor the text of WIND, for measurements.
    return [
        ("AMPNAME", "1 Channel"),
        ("TMMIRROR", 99.9),
        ("TSMIRROR", 99.9),
        ("TAIR", 99.9),
        ("XTEMP", 99.9),
        ("HUMIDITY", 99.9),
        ("ATMOSBAR", 99.9),
        ("WIND", "XXX at 99.9 km/h"),
        ("WDATE", "00:00:00, 00/00/00"),
        ("CREATOR", "SIMULATE"),
        ("SOFTVER", "0.9"),
    ]


def _pointing(scene: Scene, placeholder: tuple[Value, Value]) -> tuple[Value, Value]:
    """Header values of the pointing: sexagesimal hours and degrees, or the placeholders."""
    if scene.pointing is None:
        return placeholder
    ra, dec = scene.pointing
    hours = round(ra * 240.0, 3) % 86400.0 / 3600.0  # what rounds to 24 hours is 0
    sign = "-" if dec < 0 else "+"
    return _sexagesimal(hours, 3), sign + _sexagesimal(abs(dec), 2)


def _sexagesimal(value: float, decimals: int) -> str:
    scale = 10**decimals
    units = round(value * 3600 * scale)
    seconds, fraction = divmod(units, scale)
    hours, rest = divmod(seconds, 3600)
    return f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}.{fraction:0{decimals}d}"

"""The scan report: the tutorial's lines, then times, rejections and notes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from opticam_dask.instrument import OPTICAM_MX
from opticam_dask.io.frame_index import scan
from opticam_dask.io.scan_report import sampling, scan_report

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


def write(path, seconds=0.5, **keywords):
    stamp = np.datetime64("2024-01-01T03:00:00.000") + np.timedelta64(round(seconds * 1000), "ms")
    values = {
        "EXPOSURE": 1.0,
        "FILTER": "g",
        "BINNING": "4x4",
        "GAIN": 1.0,
        "RA": 0.0,
        "DEC": 0.0,
        "UT": str(stamp),
    }
    cards = {name: value for name, value in (values | keywords).items() if value is not None}
    fits.PrimaryHDU(np.zeros((4, 6), "i2"), fits.Header(cards)).writeto(path)


def night(folder, seconds, filters="gri"):
    for name in filters:
        for number, at in enumerate(seconds):
            write(folder / f"{name}{number:03d}.fits", at, FILTER=name)
    return folder


def test_the_lines_of_the_tutorial_come_first(tmp_path):
    lines = scan_report(scan(night(tmp_path, np.arange(10) + 0.5))).splitlines()
    assert lines[:5] == [
        "Binning: 4x4",
        "Filters: 1:g, 2:r, 3:i",
        "10 1:g images.",
        "10 2:r images.",
        "10 3:i images.",
    ]
    span = "2024-01-01T03:00:01.000 to 2024-01-01T03:00:10.000 UTC, cadence 1 s, no gaps"
    assert lines[5] == f"1:g, night 2023-12-31: {span}"
    assert not any("Rejected" in line for line in lines)
    assert "  30 frames: no WCS in the header" in lines


def test_gaps_are_longer_than_one_and_a_half_cadences(tmp_path):
    seconds = np.array([0, 1, 2, 3.45, 4.5, 5.5, 7.1, 8, 9, 10, 14, 15, 16]) + 0.25
    frames = scan(night(tmp_path, seconds, "g"))
    (rows,) = sampling(frames)
    assert rows.cadence == pytest.approx(1.0, abs=1e-5)
    assert [frame for frame, _ in rows.gaps] == [5, 9]  # 1.45 s is no gap, 1.6 s is
    assert [length for _, length in rows.gaps] == pytest.approx([1.6, 4.0], abs=1e-5)
    text = scan_report(frames)
    assert "cadence 1 s, 2 gaps\n  gap of 1.6 s after frame 5\n  gap of 4 s after frame 9\n" in text


def test_only_the_longest_gaps_are_listed(tmp_path):
    seconds = np.cumsum(np.where(np.arange(40) % 5 == 4, 10 + np.arange(40), 1)) + 0.5
    lines = scan_report(scan(night(tmp_path, seconds, "g"))).splitlines()
    listed = [line for line in lines if line.startswith("  gap of")]
    assert len(listed) == 5
    assert "  and 3 shorter gaps" in lines
    assert [int(line.split()[-1]) for line in listed] == sorted(int(line.split()[-1]) for line in listed)


def test_one_frame_and_doubled_times(tmp_path):
    write(tmp_path / "a.fits")
    assert "UTC, one frame" in scan_report(scan(tmp_path))
    for number in range(3):
        write(tmp_path / f"b{number}.fits")
    write(tmp_path / "c.fits", 4.5)
    (rows,) = sampling(scan(tmp_path))
    assert rows.cadence == pytest.approx(1.0, abs=1e-5)  # the mean: most steps are zero
    assert rows.gaps[0][1] == pytest.approx(4.0, abs=1e-5)


def test_rejected_files_are_grouped_by_reason(tmp_path):
    night(tmp_path, [0.5, 1.5], "g")
    for number in range(5):
        write(tmp_path / f"x{number}.fits", EXPOSURE=None)
    (tmp_path / "empty.fits").touch()
    lines = scan_report(scan(tmp_path)).splitlines()
    start = lines.index("Rejected: 6 of 8")
    assert lines[start + 1].startswith("  5 x missing EXPOSURE; give it with")
    assert lines[start + 1].endswith(": x0.fits, x1.fits, x2.fits and 2 more")
    assert lines[start + 2].startswith("  1 x ")
    assert lines[start + 2].endswith(": empty.fits")


def test_places_inside_files_are_named(tmp_path):
    parts = [fits.ImageHDU(np.zeros((4, 6), "i2"), fits.Header({"FILTER": name})) for name in ("g", "H")]
    header = fits.Header({"EXPOSURE": 1.0, "UT": "2024-01-01 00:00:00.5"})
    fits.HDUList([fits.PrimaryHDU(header=header), *parts]).writeto(tmp_path / "a.fits")
    assert ": a.fits[hdu 2]" in scan_report(scan(tmp_path))


def test_no_usable_frame(tmp_path):
    (tmp_path / "a.fits").touch()
    lines = scan_report(scan(tmp_path)).splitlines()
    assert lines[0] == "No frame can be used."
    assert lines[1] == "Rejected: 1 of 1"


def test_binnings_that_differ_between_cameras(tmp_path):
    write(tmp_path / "a.fits")
    write(tmp_path / "b.fits", FILTER="r", BINNING="2x2")
    write(tmp_path / "c.fits", FILTER="i", BINNING=None)
    assert scan_report(scan(tmp_path)).splitlines()[0] == "Binning: 1:g 4x4, 2:r 2x2, 3:i unknown"


def test_the_report_does_not_depend_on_the_order_of_rows(tmp_path):
    frames = scan(night(tmp_path, [0.5, 1.5, 2.5, 9.5]))
    shuffled = frames.sample(frac=1, random_state=1)
    assert scan_report(shuffled) == scan_report(frames)
    assert isinstance(frames, pd.DataFrame)


def test_every_trap_of_the_real_frame_is_named():
    if not (DATA / "opticam_g_20231122.fit").is_file():
        pytest.skip("the real OPTICAM frame is not here")
    text = scan_report(scan(DATA / "opticam_g_20231122.fit", OPTICAM_MX))
    traps = [
        *(
            "unsigned 16-bit pixels through BZERO 32768",
            "RA '0', DEC '31'",
            "UT ends in a blank",
            "a whole second",
        ),
        *("JD 0.0", "TSTART 0.0", "TSTOP 0.0", "UTMIDDLE '00:00:00.0000'", "TAIR 99.9", "CCDMODE '000 MHz'"),
        *("INSTRUME 'OPTICAM' does not tell the cameras apart", "AIRMASS of the header is not trusted"),
        *("no read noise in the header", "saturation SATLEVEL 32302 adu", "no WCS", "no coordinates: BMJD"),
    ]
    assert [trap for trap in traps if trap not in text] == []

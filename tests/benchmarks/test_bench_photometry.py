"""Photometry against reading the same files, against sums by `sep`, and against a plain pipeline."""

from pathlib import Path

import numpy as np
import pytest
from astropy.stats import SigmaClip
from photutils.aperture import ApertureStats, EllipticalAnnulus

from opticam_dask.calibration import FrameCalibration, calibrated
from opticam_dask.calibration.maps import Layout
from opticam_dask.calibration.masters import Master, MasterRef, save_master
from opticam_dask.calibration.pedestal import Pedestal
from opticam_dask.io.blocks import split_blocks
from opticam_dask.io.frame_index import accepted, scan
from opticam_dask.kernels.gaussian import form_at, quadratic_form
from opticam_dask.photometers import DefaultLocalBackground, OptimalPhotometer
from opticam_dask.schema import Flag
from opticam_dask.shipping import by_value
from opticam_dask.tables.light_curves import AlignedBlock, PhotometryJob, PhotometryPlan, measure_block
from opticam_dask.tables.source_times import SourceClock
from opticam_dask.types import FWHM_PER_SIGMA, Exposure, PsfModel

sep = pytest.importorskip("sep")
pd = pytest.importorskip("pandas")

PSF = PsfModel(3.0, 2.5, 37.0)
MODES = {"re-centred": False, "forced": True}
CLIP = 4.0
IDENTITY = np.eye(2, 3)


def photometer(forced):
    return OptimalPhotometer(
        forced=forced, local_background_estimator=DefaultLocalBackground(mask_neighbours=False)
    )


def a_block(paths):
    """Block of all frames, and the places of the stars in its first frame."""
    rows = accepted(scan(Path(paths[0]).parent))
    (block,) = split_blocks(rows, frames_per_block=len(rows))
    truth = pd.read_parquet(Path(paths[0]).parent / "truth.parquet")
    first = truth[truth["frame"] == truth["frame"].min()]
    return block, first[["x", "y"]].to_numpy()


def the_pass(block, xy, folder, forced, *, partial=False):
    """What a worker does with a block."""
    n = len(block)
    label = f"{'forced' if forced else 'found'}{partial}"
    shipped = by_value(OptimalPhotometer(forced=forced, local_background_estimator=DefaultLocalBackground()))
    job = PhotometryJob(label, folder / label, shipped, PSF, PSF, False, {})
    unknown = np.full(len(xy), np.nan)
    plan = PhotometryPlan(
        xy=xy,
        source=np.arange(1, len(xy) + 1, dtype=np.int32),
        blended=np.zeros(len(xy), bool),
        background=None,
        box_size=64,
        hot=np.empty(0, np.int64),
        jobs=(job,),
        clock=SourceClock(unknown, unknown),
        unit="adu",
        partial_reads=partial,
    )
    shapes = np.tile([PSF.semimajor_sigma, PSF.semiminor_sigma, PSF.orientation], (n, 1))
    affine = np.tile(IDENTITY, (n, 1, 1))
    aligned = AlignedBlock(block, affine, np.full(n, PSF.fwhm), shapes, np.zeros(n, np.int32), (0,))
    return lambda: measure_block(aligned, plan)


def read_all(block):
    """Read and decode the frames."""
    return sum(not isinstance(image, Exception) for _, image in block.frames())


def scale_of(full, compression="none"):
    if not full:
        return 3, (120, 131)
    return (16 if compression == "none" else 8), (2048, 2048)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("compression", "goal"), [("none", 1.5), ("gz", 1.15), ("fz", 1.1)])
def test_pass_against_reading(full, compare, night, tmp_path, compression, goal, mode):
    n, shape = scale_of(full, compression)
    block, xy = a_block(night(n, shape, compression, n_stars=30 if full else 4))
    work = the_pass(block, xy, tmp_path, MODES[mode])
    (summary,) = work()
    assert summary.measured >= 0.9 * n * len(xy)
    what = f"photometry pass, {len(xy)} stars, {mode} / our reader alone, .{compression}, {shape[0]} px"
    compare(1, what, work, lambda: read_all(block), goal, per=n, rounds=9)


@pytest.mark.parametrize("n_stars", [6, 60])
def test_small_frames(full, compare, night, tmp_path, n_stars):
    n, shape = (64, (512, 512)) if full else (3, (120, 131))
    block, xy = a_block(night(n, shape, n_stars=n_stars if full else 3))
    work = the_pass(block, xy, tmp_path, False)
    what = f"photometry pass, {len(xy)} stars, re-centred / our reader alone, .fits, {shape[0]} px"
    compare(1, what + "", work, lambda: read_all(block), np.inf, per=n)


def masters(folder, shape):
    """Bias, dark and flat that change every pixel."""
    rng = np.random.default_rng(5)
    levels = {"bias": (2.0, 0.1), "dark": (0.1, 0.01), "flat": (1.0, 0.02)}
    refs = {}
    for name, (mean, scatter) in levels.items():
        data = rng.normal(mean, scatter, shape).astype(np.float32)
        master = Master(
            name,
            "",
            "",
            data,
            np.full(shape, 1e-6, np.float32),
            np.ones(shape, np.int32),
            np.zeros(shape, bool),
            1,
        )
        save_master(folder / f"{name}.fits", master, name)
        refs[name] = MasterRef(str(folder / f"{name}.fits"), name)
    return refs


def test_calibrated_pass_against_reading(full, compare, night, tmp_path):
    n, shape = scale_of(full)
    block, xy = a_block(night(n, shape, n_stars=30 if full else 4))
    refs = masters(tmp_path, shape)
    layout = Layout(shape, ((0, shape[0]), (0, shape[1])))
    how = FrameCalibration(block.camera, layout, Pedestal(refs["bias"], refs["dark"]), refs["flat"])
    (clean,) = calibrated([block], how)
    works = [the_pass(clean, xy, tmp_path, False, partial=partial) for partial in (True, False)]
    rows = [work() and _rows(tmp_path) for work in works]
    pd.testing.assert_frame_equal(*rows, check_exact=True)
    what = f"pass with bias, dark and flat, {len(xy)} stars / our reader alone, .fits, {shape[0]} px"
    compare(1, what, works[0], lambda: read_all(block), 1.8, per=n)


def _rows(folder):
    newest = max(folder.rglob("part-*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    return pd.read_parquet(newest)


@pytest.fixture
def decoded(full, night):
    """Frames in memory, as the camera's uint16 and as float32, and the places of the stars."""
    n, shape = (8, (2048, 2048)) if full else (2, (120, 131))
    block, xy = a_block(night(n, shape, n_stars=30 if full else 4))
    images = [image for _, image in block.frames()]
    return images, [image.astype(np.float32) for image in images], xy


def sep_sums(images, xy, psf):
    """Aperture of one FWHM less the mean of an annulus, both at `sep`'s default sampling."""
    x, y = np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1])
    a, b, theta = psf.semimajor_sigma, psf.semiminor_sigma, psf.orientation_rad
    area = np.pi * a * b
    fluxes = []
    for image in images:
        star, _, _ = sep.sum_ellipse(image, x, y, a, b, theta, FWHM_PER_SIGMA)
        sky, _, _ = sep.sum_ellipann(image, x, y, a, b, theta, 5.0, 7.5)
        fluxes.append(star - sky / (area * (7.5**2 - 5.0**2)) * area * FWHM_PER_SIGMA**2)
    return fluxes


def measured(images, xy, forced):
    exact = photometer(forced)
    return [exact.measure(Exposure(image, saturation=6e4), xy, PSF) for image in images]


@pytest.mark.parametrize("mode", MODES)
def test_photometry_against_sep(compare, decoded, mode):
    images, floats, xy = decoded
    ours, theirs = measured(images, xy, MODES[mode]), sep_sums(floats, xy, PSF)
    held = 1.0 - np.exp(-0.5 * FWHM_PER_SIGMA**2)
    lone = (ours[0]["flags"] & int(Flag.BLENDED | Flag.EDGE | Flag.NOT_MATCHED)) == 0
    apart = np.abs(ours[0]["flux"] - theirs[0] / held)[lone]
    assert np.median(apart / ours[0]["flux_err"][lone]) < 3.0
    what = f"optimal + clipped annulus, {len(xy)} stars, {mode} / sep: plain sums over the same ellipses"
    compare(
        3, what, lambda: measured(images, xy, MODES[mode]), lambda: sep_sums(floats, xy, PSF), 0.4,
        per=len(images), rounds=15,
    )  # fmt: skip


def plain_pipeline(image, xy, psf):
    """One source at a time: statistics of photutils, and weights over the whole frame."""
    import astropy.units as u

    y, x = np.indices(image.shape)
    form = quadratic_form(psf.semimajor_sigma**2, psf.semiminor_sigma**2, psf.orientation_rad)
    fluxes = []
    for px, py in xy:
        annulus = EllipticalAnnulus(
            (px, py),
            a_in=5.0 * psf.semimajor_sigma,
            a_out=7.5 * psf.semimajor_sigma,
            b_in=5.0 * psf.semiminor_sigma,
            b_out=7.5 * psf.semiminor_sigma,
            theta=psf.orientation * u.deg,
        )
        sky = ApertureStats(image, annulus, sigma_clip=SigmaClip(CLIP, maxiters=10))
        level, scatter = float(sky.mean), float(sky.std)
        square = form_at.py_func(form, x - px, y - py)
        profile = np.where(square <= 25.0, np.exp(-0.5 * square), 0.0)
        profile /= profile.sum()
        flux = 0.0
        for _ in range(4):
            weights = profile / (scatter**2 + max(flux, 0.0) * profile)
            flux = (weights * (image - level)).sum() / (weights * profile).sum()
        fluxes.append(flux)
    return np.array(fluxes)


@pytest.mark.parametrize("mode", MODES)
def test_photometry_against_photutils(compare, decoded, mode):
    images, _, xy = decoded
    forced = MODES[mode]
    ours = measured(images[:1], xy, forced)[0]
    places = np.column_stack([ours["x"], ours["y"]])
    theirs = plain_pipeline(images[0], places, PSF)
    whole = np.isfinite(ours["flux"])
    assert whole.sum() >= 3
    np.testing.assert_allclose(ours["flux"][whole], theirs[whole], rtol=1e-10)
    what = f"optimal + clipped annulus, {len(xy)} stars, {mode} / photutils and full-frame weights"
    compare(
        4, what, lambda: measured(images[:1], xy, forced), lambda: plain_pipeline(images[0], places, PSF),
        0.005, rounds=2,
    )  # fmt: skip

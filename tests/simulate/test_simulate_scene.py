"""Scenes: what they refuse, and that every option acts."""

import dataclasses
import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from opticam_dask.errors import InputError
from opticam_dask.simulate import CameraSetup, Cloud, Scene, Transit, Variable
from opticam_dask.simulate.frames import camera_frames
from opticam_dask.simulate.sky import camera_run, fluxes, make_stars, positions

BASE = Scene(n_frames=8, shape=(45, 61), stars=((30.0, 22.0, 5000.0), (12.5, 30.0, 900.0)))
ALL = slice(None)


def change(**options):
    return dataclasses.replace(BASE, **options)


def expected(scene, row=0):
    return camera_frames(scene, scene.cameras[0]).expected(row)


def pixels(scene, row=0):
    return camera_frames(scene, scene.cameras[0]).pixels(row)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"n_frames": 0}, "n_frames .* not 0"),
        ({"n_frames": "5"}, "'5'"),
        ({"seed": True}, "True"),
        ({"gain": -2.0}, "-2.0"),
        ({"sky": math.nan}, "nan"),
        ({"semiminor_sigma": 9.0}, "9.0 exceeds semimajor_sigma 1.5"),
        ({"shape": (10,)}, r"\(10,\)"),
        ({"shape": (10, 2.5)}, "2.5"),
        ({"flux_range": (5, 1)}, r"\(5, 1\)"),
        ({"stars": ((1, 2, -3),)}, "-3"),
        ({"stars": None, "margin_px": 40.0}, "40.0"),
        ({"sky_gradient": (9.0, 0.0)}, "-170"),
        ({"cameras": ()}, "at least one"),
        ({"cameras": (CameraSetup(filter="g"), CameraSetup(filter="g"))}, "'g', 'g'"),
        ({"clouds": ((1, 2),)}, r"\(1, 2\)"),
        ({"variables": (Variable(star=3, amplitude=0.1, frequency_hz=1.0),)}, "star 3 .* 2 stars"),
        ({"variables": (Variable(star=1, amplitude=0.1, frequency_hz=1.0, phase_rad=(1, 2)),)}, r"\(1, 2\)"),
        ({"profile": "airy"}, "airy"),
        ({"dtype": "int8"}, "int8"),
        ({"pointing": (400.0, 0.0)}, "400"),
        ({"start": "yesterday"}, "yesterday"),
        ({"start": "nat"}, "nat"),
        ({"circular_aperture": 1}, "not 1"),
    ],
)
def test_impossible_values_are_shown(options, shown):
    with pytest.raises(InputError, match=shown):
        change(**options)


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: CameraSetup(filter="../../x"), "/x"),
        (lambda: CameraSetup(filter="Halpha"), "Halpha.*arm"),
        (lambda: CameraSetup(filter="g", cadence_s=0), "not 0"),
        (lambda: CameraSetup(filter="g", dropped_fraction=1.5), "1.5"),
        (lambda: Cloud(start=5, stop=5), "not 5"),
        (lambda: Cloud(start=1, stop=5, extinction_mag=math.nan), "nan"),
        (lambda: Transit(star=1, depth=0.1, middle_s=3, duration_s=1, ingress_s=0.6), "0.6"),
        (lambda: Variable(star=1, amplitude=0.1, frequency_hz=1.0, phase_rad=("x",)), "x"),
    ],
)
def test_impossible_parts_are_shown(make, shown):
    with pytest.raises(InputError, match=shown):
        make()


def test_from_mapping_makes_parts_and_names_unknown_keys():
    scene = Scene.from_mapping(
        {
            "n_frames": 3,
            "shape": [40, 50],
            "start": datetime(2024, 3, 1, 22, tzinfo=timezone(timedelta(hours=-8))),
            "cameras": ["g", {"filter": "Ha", "arm": 2, "cadence_s": 2.5}],
            "clouds": [{"start": 0, "stop": 2, "extinction_mag": math.inf}],
            "variables": [{"star": 1, "amplitude": 0.1, "frequency_hz": 0.01, "phase_rad": [0, 1]}],
        }
    )
    assert [camera.name for camera in scene.cameras] == ["1:g", "2:Ha"]
    assert scene.start == datetime(2024, 3, 2, 6, tzinfo=UTC).replace(tzinfo=None).isoformat()
    assert scene.clouds[0].transparency == 0.0
    with pytest.raises(InputError, match=r"unknown option 'n_frame'.*n_frames"):
        Scene.from_mapping({"n_frame": 3})
    with pytest.raises(InputError, match="cameras: unknown option 'cadence'"):
        Scene.from_mapping({"cameras": [{"filter": "g", "cadence": 1}]})
    with pytest.raises(InputError, match=r"clouds: missing .*stop"):
        Scene.from_mapping({"clouds": [{"start": 1}]})
    with pytest.raises(InputError, match="cameras must be a list, not 'g'"):
        Scene.from_mapping({"cameras": "g"})


OPTIONS = {
    "seed": 5,
    "profile": "moffat",
    "semimajor_sigma": 2.0,
    "sky": 50.0,
    "sky_gradient": (0.5, 0.0),
    "gain": 2.0,
    "read_noise": 9.0,
    "dark_current": 20.0,
    "bias": 100.0,
    "noise": "gaussian",
    "jitter_px": 0.5,
    "hot_pixels": 5,
    "cosmic_rays": 5.0,
    "saturation": 200.0,
    "clouds": (Cloud(start=0, stop=1),),
    "circular_aperture": True,
    "vignetting": 0.2,
    "dust_spots": 3,
    "dtype": "float32",
    "seeing_change": 0.5,
    "drift_px_per_hour": (900.0, 0.0),
    "rotation_deg_per_hour": 900.0,
    "flip_time_s": 0.0,
    "transits": (Transit(star=1, depth=0.5, middle_s=0.5, duration_s=3.0),),
    "variables": (Variable(star=1, amplitude=0.5, frequency_hz=0.2),),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_changes_the_pixels(name):
    assert not np.array_equal(pixels(change(**{name: OPTIONS[name]})), pixels(BASE))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"semimajor_sigma": 2.0}, {"orientation": 40.0}),
        ({"profile": "moffat"}, {"moffat_beta": 2.5}),
        ({"hot_pixels": 5}, {"hot_pixel_level": 90.0}),
        ({"cosmic_rays": 9.0}, {"cosmic_ray_electrons": 90.0}),
        ({"dust_spots": 2}, {"dust_depth": 0.5}),
        ({"dtype": "float64"}, {"quantum": 0.5}),
        ({"seeing_change": 0.5}, {"seeing_law": "walk"}),
        ({"dark_current": 5.0}, {"exposure_s": 0.5}),
    ],
)
def test_options_that_need_another_act(before, after):
    assert not np.array_equal(pixels(change(**before)), pixels(change(**before, **after)))


def test_random_stars_obey_their_options():
    scene = Scene(n_stars=40, shape=(200, 300), min_separation_px=12.0, margin_px=10.0, flux_range=(10, 1000))
    stars = make_stars(scene)
    gaps = np.hypot(*(stars[:, None, :2] - stars[None, :, :2]).transpose(2, 0, 1)) + 1e3 * np.eye(40)
    assert gaps.min() >= 12.0
    assert (np.diff(stars[:, 2]) <= 0).all()
    assert stars[:, :2].min() >= 10
    assert (stars[:, :2].max(axis=0) <= [289, 189]).all()
    steep = make_stars(dataclasses.replace(scene, flux_law="power-law", flux_slope=-3.0))
    assert np.median(steep[:, 2]) < np.median(stars[:, 2])
    assert 10 <= steep[-1, 2] <= steep[0, 2] <= 1000
    with pytest.raises(InputError, match="do not fit"):
        make_stars(dataclasses.replace(scene, min_separation_px=150.0))


def test_flip_and_rotation_turn_about_the_centre():
    scene = change(flip_time_s=3.0, rotation_deg_per_hour=3600.0, drift_px_per_hour=(3600.0, 0.0))
    run = camera_run(scene, scene.cameras[0])
    xy = positions(scene, run, make_stars(scene), ALL)
    centre = np.array([30.0, 22.0])
    np.testing.assert_allclose(xy[:, 0], centre + np.stack([run.seconds, 0 * run.seconds], axis=1))
    arm = np.array([12.5, 30.0]) - centre
    angle = np.arctan2(xy[:, 1, 1] - 22.0, xy[:, 1, 0] - 30.0 - run.seconds) - math.atan2(arm[1], arm[0])
    degrees = np.rad2deg(angle) % 360
    np.testing.assert_allclose(degrees, run.seconds + np.where(run.seconds >= 3.0, 180.0, 0.0))


def test_clouds_variables_and_transits_change_the_counts():
    scene = change(
        clouds=(Cloud(start=2, stop=4, extinction_mag=2.5), Cloud(start=4, stop=5)),
        variables=(Variable(star=2, amplitude=0.3, frequency_hz=0.1, phase_rad=(0.0, 1.0, 2.0)),),
        transits=(Transit(star=1, depth=0.5, middle_s=6.5, duration_s=2.0, ingress_s=1.0),),
    )
    run = camera_run(scene, scene.cameras[1])
    flux = fluxes(scene, run, make_stars(scene), ALL)
    np.testing.assert_allclose(flux[:, 0] / 5000, [1, 1, 0.1, 0.1, 0, 1, 0.5, 1])
    wave = 1 + 0.3 * np.sin(2 * math.pi * 0.1 * (np.arange(8) + 0.5) + 1.0)
    np.testing.assert_allclose(flux[:, 1] / 900, wave * [1, 1, 0.1, 0.1, 0, 1, 1, 1])


def test_clouds_are_simultaneous_at_uneven_cadences():
    cameras = (CameraSetup(filter="g", cadence_s=2.0), CameraSetup(filter="r", cadence_s=1.0, n_frames=16))
    scene = change(cameras=cameras, clouds=(Cloud(start=3, stop=5),))
    slow, fast = (camera_run(scene, camera) for camera in cameras)
    assert slow.start_ms[slow.transparency == 0].tolist() == [6000, 8000]
    assert fast.start_ms[fast.transparency == 0].tolist() == [6000, 7000, 8000, 9000]


@pytest.mark.parametrize("law", ["linear", "walk"])
def test_seeing_spans_its_peak_to_peak(law):
    scene = change(n_frames=500, seeing_change=0.4, seeing_law=law)
    seeing = camera_run(scene, scene.cameras[0]).seeing
    assert np.ptp(seeing) == pytest.approx(0.4, rel=0.05)
    assert 0.79 < seeing.min() < seeing.max() < 1.21


def test_gaps_are_common_and_dropped_frames_are_not():
    scene = change(n_frames=2000, gap_start=0.02, gap_continue=0.95)
    g, r, _ = (camera_run(scene, camera) for camera in scene.cameras)
    assert np.array_equal(g.index, r.index)
    lengths = np.diff(g.index)
    assert 0.55 < len(g) / 2000 < 0.85  # 0.05 / (0.02 + 0.05) = 0.71 are kept
    assert 10 < lengths[lengths > 1].mean() - 1 < 35  # 20 on average
    assert g.index[0] == 0
    lossy = change(n_frames=2000, cameras=tuple(CameraSetup(filter=f, dropped_fraction=0.3) for f in "gr"))
    g, r = (camera_run(lossy, camera).index for camera in lossy.cameras)
    assert len(g) == pytest.approx(1400, abs=90)
    assert not np.array_equal(g, r)


def test_timing_jitter_keeps_the_order_of_time():
    scene = change(n_frames=300, cameras=(CameraSetup(filter="g", timing_jitter_s=0.8, start_offset_s=5.0),))
    run = camera_run(scene, scene.cameras[0])
    assert (np.diff(run.mjd) >= 0).all()
    late = run.start_ms / 1000 - 5.0 - run.index
    assert late.std() == pytest.approx(0.8, rel=0.15)


def test_shadow_falls_as_the_square_of_the_radius():
    scene = Scene(n_frames=1, shape=(64, 64), n_stars=0, circular_aperture=True, sky=100.0)
    image = expected(scene)
    assert image[32, 32] == 100.0
    radius2 = 2 * 31.5**2
    assert image[0, 0] == pytest.approx(100 * 32**2 / radius2)

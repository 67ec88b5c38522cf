"""Local background estimators: the default, subclasses, functions of the user's, and their digests."""

import functools
import subprocess
import sys

import astropy.units as u
import cloudpickle
import numpy as np
import pytest
from astropy.stats import SigmaClip

from opticam_dask.errors import InputError
from opticam_dask.photometers import (
    BaseLocalBackground,
    DefaultLocalBackground,
    OptimalPhotometer,
    check_estimator,
)
from opticam_dask.photometers.source_digest import identity
from opticam_dask.schema import Flag
from opticam_dask.types import PsfModel

PSF = PsfModel(4.0, 2.5, 37.0)
XY = np.array([[60.3, 70.6], [90.2, 60.9], [5.0, 6.0]])
IMAGE = np.random.default_rng(5).normal(100.0, 10.0, (131, 157)) + 0.2 * np.arange(157)


def measure(estimator, image=IMAGE):
    photometer = OptimalPhotometer(forced=True, local_background_estimator=estimator)
    return photometer.measure(image, XY, PSF)


class Copy(DefaultLocalBackground):
    """As the default, but called from Python because it is another class."""


@pytest.mark.parametrize(
    "options",
    [{}, {"r_in_scale": 4.0, "r_out_scale": 6.0}, {"sigma_clip": SigmaClip(2)}, {"sigma_clip": None}],
)
def test_the_kernel_gives_the_numbers_of_the_call(options):
    fast = measure(DefaultLocalBackground(**options, mask_neighbours=False))
    slow = measure(Copy(**options))
    for name in ("bkg", "bkg_err"):
        np.testing.assert_allclose(fast[name], slow[name], rtol=0, atol=1e-10)
    np.testing.assert_allclose(fast["flux"], slow["flux"], rtol=1e-6)


def test_clipping_only_photutils_can_do_goes_through_the_call():
    growing = DefaultLocalBackground(sigma_clip=SigmaClip(sigma=2, grow=1.5))
    assert growing.kernel_rule() is None
    result = measure(growing)
    assert np.isfinite(result["bkg"]).all()
    assert (result["bkg"] != measure(DefaultLocalBackground(sigma_clip=SigmaClip(2)))["bkg"]).all()


def test_annulus_and_stats_for_subclasses():
    base = DefaultLocalBackground()
    annulus = base.get_annulus(XY[0], 4.0, 2.5, 37.0 * u.deg)
    assert (annulus.a_in, annulus.a_out, annulus.b_in, annulus.b_out) == (20.0, 30.0, 12.5, 18.75)
    assert annulus.theta.to_value(u.deg) == pytest.approx(37.0)
    assert base.get_annulus(XY[0], 4.0, 2.5, 37.0).theta == annulus.theta
    assert base.get_annulus(XY[0], 4.0).b_out == 30.0

    class Median(BaseLocalBackground):
        def __call__(self, data, position, semimajor_axis, semiminor_axis=None, orientation=0.0):
            stats = self.get_stats(data, position, semimajor_axis, semiminor_axis, orientation)
            return stats.median, stats.mad_std

    result = measure(Median())
    assert result["bkg"] == pytest.approx([112.0, 118.0, 104.0], abs=3.0)
    with pytest.raises(TypeError, match="abstract"):
        BaseLocalBackground()
    with pytest.raises(InputError, match="r_in_scale < r_out_scale"):
        DefaultLocalBackground(5, 4)


def test_functions_get_their_arguments_by_name():
    seen = {}

    def estimator(orientation, semiminor_axis, semimajor_axis, position, data, error):
        seen.update(locals())
        return 100.0, 10.0

    result = measure(estimator)
    assert (result["bkg"] == 100.0).all()
    assert seen["orientation"] == 37.0 * u.deg
    assert (seen["semimajor_axis"], seen["semiminor_axis"]) == (4.0, 2.5)
    np.testing.assert_array_equal(seen["position"], XY[-1])
    np.testing.assert_array_equal(seen["data"], IMAGE)
    assert seen["data"].dtype == np.float64
    assert not seen["data"].flags.writeable
    assert seen["error"].shape == IMAGE.shape
    np.testing.assert_allclose(np.median(seen["error"]), 11.0, rtol=0.1)


def constant(data, position, semimajor_axis, semiminor_axis, orientation, level=100.0):
    return level, 10.0


@pytest.mark.parametrize(
    "estimator",
    [
        constant,
        lambda data, **_: (100.0, 10.0),
        functools.partial(constant, level=100.0),
        lambda **_: np.array([100, 10]),
    ],
)
def test_any_callable_will_do(estimator):
    check_estimator(estimator, PSF)
    result = measure(estimator)
    assert (result["bkg"] == 100.0).all()
    assert (result["flags"] & int(Flag.FIT_FAILED) == 0).all()


def test_wrong_parameters_are_named():
    with pytest.raises(
        InputError, match=r"data, position, semimajor_axis.*lacks semiminor_axis, orientation"
    ):
        check_estimator(lambda data, position, semimajor_axis: (1.0, 1.0), PSF)
    with pytest.raises(InputError, match="nothing is known to pass as mask"):
        OptimalPhotometer(local_background_estimator=lambda mask, **_: (1.0, 1.0))
    with pytest.raises(InputError, match=r"no signature|lacks"):
        check_estimator(min, PSF)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "level, scatter"),
        (3.0, "level, scatter"),
        ((1, 2, 3), "level, scatter"),
        ((np.nan, 1.0), "finite"),
        ((1.0, -1.0), "negative"),
    ],
)
def test_wrong_results_are_told_before_a_run_and_flagged_in_it(result, message):
    with pytest.raises(InputError, match=message):
        check_estimator(lambda **_: result, PSF)
    rows = measure(lambda **_: result)
    assert np.isnan(rows["flux"]).all()
    assert np.isnan(rows["bkg"]).all()
    assert (rows["flags"] & int(Flag.FIT_FAILED) > 0).all()


def test_an_error_of_many_lines_is_told_in_one():
    def estimator(**_):
        raise RuntimeError("first\n  second")

    with pytest.raises(InputError, match=r"RuntimeError: first second\Z"):
        check_estimator(estimator, PSF)


def test_an_error_in_one_place_costs_that_place():
    def estimator(data, position, **_):
        if position[0] > 80:
            raise RuntimeError("my own trouble")
        return 100.0, 10.0

    rows = measure(estimator)
    np.testing.assert_array_equal(np.isnan(rows["flux"]), [False, True, False])
    assert rows["flags"][1] & Flag.FIT_FAILED

    def always(**_):
        raise RuntimeError("my own trouble")

    with pytest.raises(InputError, match="RuntimeError: my own trouble"):
        check_estimator(always, PSF)


def test_the_image_cannot_be_spoilt():
    def estimator(data, **_):
        data[:] = 0.0
        return 100.0, 10.0

    with pytest.raises(InputError, match="read-only"):
        check_estimator(estimator, PSF)


def make(offset, scale=2.0):
    def estimator(data, position, semimajor_axis, semiminor_axis, orientation, *, tag=(1, 2)):
        return max(offset, SCALE) * scale, {"a", "b"} and tag[0]

    return estimator


SCALE = 3.0


def test_the_digest_changes_with_what_is_computed(monkeypatch):
    same = identity(make(1.0))
    assert same == identity(make(1.0))
    assert same != identity(make(1.5))
    assert same != identity(make(1.0, scale=3.0))
    assert identity(functools.partial(constant, level=1.0)) != identity(
        functools.partial(constant, level=2.0)
    )
    assert identity(DefaultLocalBackground()) == identity(DefaultLocalBackground())
    assert identity(DefaultLocalBackground()) != identity(DefaultLocalBackground(sigma_clip=SigmaClip(4)))
    monkeypatch.setitem(globals(), "SCALE", 4.0)
    assert same != identity(make(1.0))


def test_use_does_not_change_the_digest():
    estimator = Copy()
    before = identity(estimator)
    measure(estimator)
    assert identity(estimator) == before


SCRIPT = """
import sys, cloudpickle
from opticam_dask.photometers.source_digest import identity
sys.stdout.write(" ".join(identity(f)["digest"] for f in cloudpickle.load(sys.stdin.buffer)))
"""


def test_the_digest_is_the_same_in_another_process():
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    estimators = [make(1.0), Copy(), constant, functools.partial(constant, level=np.float64(3.0))]
    try:
        shipped = cloudpickle.dumps(estimators)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    there = subprocess.run([sys.executable, "-c", SCRIPT], input=shipped, capture_output=True, check=True)
    assert there.stdout.decode().split() == [identity(estimator)["digest"] for estimator in estimators]

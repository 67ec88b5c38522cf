"""Power and cross spectra: those of stingray called directly; what stingray would resample is refused."""

from __future__ import annotations

import builtins
import sys

import astropy.units as u
import numpy as np
import pytest
from analysis_curves import EPOCH, FREQUENCY, sine, uneven

from opticam_dask.analysis import averaged_cross_spectrum, averaged_power_spectrum, power_spectra
from opticam_dask.analysis.power import matched, stingray
from opticam_dask.errors import InputError, MissingPackageError


def direct(one, keep=slice(None)):
    """Make the light curve of stingray by hand."""
    from stingray import Lightcurve

    with pytest.warns(UserWarning, match="SIMON"):
        return Lightcurve(
            one.seconds[keep],
            one.flux[keep],
            err=one.flux_err[keep],
            err_dist="gauss",
            dt=1.0,
            skip_checks=True,
        )


def test_a_power_spectrum_of_each_stretch() -> None:
    from stingray import Powerspectrum

    seconds = np.concatenate([np.arange(128.0), 500 + np.arange(256.0), 900 + np.arange(5.0)])
    one = sine(seconds)
    for norm in ("frac", "abs", "leahy"):
        first, second = power_spectra(one, norm)
        wanted = Powerspectrum.from_lightcurve(direct(one, slice(128, 384)), norm=norm, silent=True)
        assert second.freq == pytest.approx(wanted.freq)
        assert second.power == pytest.approx(wanted.power)
        assert len(first.freq) == 63
    assert second.freq[np.argmax(second.power)] == pytest.approx(FREQUENCY, abs=1 / 256)


def test_averages_leave_gaps_out() -> None:
    from stingray import AveragedPowerspectrum

    one = sine(np.concatenate([np.arange(130.0), 500 + np.arange(200.0)]))
    averaged = averaged_power_spectrum(one, 1 * u.min)
    light_curve = direct(one)
    light_curve.gti = np.array([[-0.5, 129.5], [499.5, 699.5]])
    wanted = AveragedPowerspectrum.from_lightcurve(light_curve, 60, norm="frac", silent=True)
    assert averaged.m == 5
    assert averaged.power == pytest.approx(wanted.power)
    white = averaged_power_spectrum(sine(np.arange(6000.0), amplitude=0, err=0.02), 50, "abs")
    assert white.power.mean() == pytest.approx(2 * 0.02**2, rel=0.05)


def test_cross_spectra_tell_the_lag() -> None:
    a, b = (
        sine(np.arange(900.0), lag=1.0, seed=1, err=0.003),
        sine(np.arange(900.0) + 0.01, seed=2, err=0.003),
    )
    with pytest.warns(UserWarning, match="n_ave is below 30"):
        cross = averaged_cross_spectrum(a.select(slice(0, 890)), b.since(EPOCH - 1), 200)
    at = int(np.argmin(np.abs(cross.freq - FREQUENCY)))
    with np.errstate(invalid="ignore"):  # stingray's errors, of so few segments
        lag, _ = cross.time_lag()
    assert lag[at] == pytest.approx(1.0, abs=0.05)
    assert cross.m == 4


def test_uneven_light_curves_are_not_resampled_behind_ones_back() -> None:
    one = sine(uneven(300, gap=None))
    with pytest.raises(InputError, match=r"sampled unevenly, up to 0\.\d+ of a step"):
        power_spectra(one)
    with pytest.raises(InputError, match="sampled unevenly"):
        averaged_power_spectrum(one, 100)
    with pytest.raises(InputError, match="no stretch of 500 samples"):
        averaged_power_spectrum(sine(np.arange(300.0)), 500)


def test_matched_samples_are_those_at_the_same_times() -> None:
    a = sine(np.delete(np.arange(20.0), [3, 4]))
    b = sine(np.delete(np.arange(30.0) + 0.02, [10])).since(EPOCH - 2)
    first, second = matched(a, b)
    assert first.seconds.tolist() == second.seconds.tolist()
    assert first.seconds.tolist() == [t for t in range(20) if t not in (3, 4, 10)]
    with pytest.raises(InputError, match="not at the same times"):
        matched(a, sine(np.arange(20) + 0.5))


def test_without_stingray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name.startswith("stingray"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    for name in [name for name in sys.modules if name == "stingray"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match=r"pip install 'opticam-dask\[analysis\]'"):
        stingray()

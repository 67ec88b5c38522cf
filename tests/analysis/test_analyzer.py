"""The facade: names and meanings of `opticam`, and its results are those of the functions."""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from analysis_curves import EPOCH, FREQUENCY, PERIOD, sine, table, uneven

from opticam_dask.analysis import (
    Analyzer,
    box_least_squares,
    cross_correlation,
    lomb_scargle,
    phase_bin,
    rebin,
    to_pandas,
    to_stingray,
)
from opticam_dask.errors import InputError

LAGS = {"1:g": 0.0, "2:r": np.pi / 2, "3:i": np.pi}


def cameras(times=None, **names):
    seconds = np.arange(300.0) if times is None else times
    return {k: sine(seconds, phase, seed=i, camera=k, **names) for i, (k, phase) in enumerate(LAGS.items())}


def quiet(tmp_path: Path, curves=None) -> Analyzer:
    return Analyzer(tmp_path, cameras() if curves is None else curves, "star", "optimal", show_plots=False)


def test_tables_of_opticam_are_taken_and_normalised(tmp_path: Path) -> None:
    rows = table(30).rename(columns={"flux": "rel_flux", "flux_err": "rel_flux_err"})
    plain = rows[["BMJD", "rel_flux", "rel_flux_err"]]
    analyzer = Analyzer(out_directory=tmp_path, light_curves={"r": plain, "g": plain}, show_plots=False)
    assert list(analyzer.light_curves) == ["g", "r"]
    assert analyzer.light_curves["g"].flux.mean() == pytest.approx(1)
    assert analyzer.t_ref == rows["BMJD"].iloc[0]
    kept = Analyzer(tmp_path, {"g": plain}, show_plots=False, normalise=False)
    assert (kept.light_curves["g"].flux == rows["rel_flux"]).all()
    assert not list(tmp_path.iterdir())


def test_join_merges_cameras_and_nights(tmp_path: Path) -> None:
    analyzer = quiet(tmp_path, {"g": cameras()["1:g"]})
    later = cameras(1000 + np.arange(50.0))
    both = analyzer.join(quiet(tmp_path, {"g": later["1:g"], "r": later["2:r"]}))
    assert {k: len(c) for k, c in both.light_curves.items()} == {"g": 350, "r": 50}
    assert len(analyzer.light_curves["g"]) == 300
    empty = Analyzer(tmp_path, show_plots=False)
    assert list(empty.join(both).light_curves) == ["g", "r"]
    with pytest.raises(InputError, match="no light curves"):
        both.join(empty)


def test_rebin_light_curves_is_in_place_and_rebin_is_not(tmp_path: Path) -> None:
    analyzer = quiet(tmp_path)
    wanted = rebin(analyzer.light_curves["1:g"], 5)
    other = analyzer.rebin(5 * u.s)
    assert (other.light_curves["1:g"].flux == wanted.flux).all()
    assert len(analyzer.light_curves["1:g"]) == 300
    analyzer.rebin_light_curves(dt=5 * u.s)
    assert (analyzer.light_curves["1:g"].flux == wanted.flux).all()


def test_one_phase_zero_serves_all_cameras(tmp_path: Path) -> None:
    curves = cameras()
    curves["2:r"] = curves["2:r"].select(slice(3, None))
    analyzer = quiet(tmp_path, curves)
    folded = analyzer.phase_fold_light_curves(PERIOD * u.s)
    assert folded["2:r"] == pytest.approx(folded["1:g"][3:])
    profiles = analyzer.phase_bin_light_curves(PERIOD * u.s, n_bins=8, plot=False)
    wanted = phase_bin(analyzer.light_curves["2:r"], PERIOD, n_bins=8, t0=EPOCH)
    assert set(profiles["2:r"]) == {"phase", "flux", "flux error"}
    assert profiles["2:r"]["flux error"] == pytest.approx(wanted["flux_err"].to_numpy())
    peaks = {k: p["phase"][np.argmax(p["flux"])] for k, p in profiles.items()}
    assert peaks["1:g"] == pytest.approx(0.25, abs=0.1)
    assert peaks["3:i"] == pytest.approx(0.75, abs=0.1)


def test_results_are_those_of_the_functions(tmp_path: Path) -> None:
    analyzer = quiet(tmp_path, cameras(uneven(300)))
    one, two = analyzer.light_curves["1:g"], analyzer.light_curves["2:r"]
    found = analyzer.compute_lomb_scargle_periodograms(norm="standard")["2:r"]
    assert (found.power == lomb_scargle(two).power).all()
    assert found.best_frequency == pytest.approx(FREQUENCY, abs=4 * found.best_frequency_err)
    pairs = analyzer.cross_correlate("zdcf", lag_range=(-2, 5))
    assert list(pairs) == ["1:g x 2:r", "1:g x 3:i", "2:r x 3:i"]
    assert (
        pairs["1:g x 2:r"].corr == cross_correlation(one, two, method="zdcf", lag_range=(-2, 5)).corr
    ).all()
    transit = analyzer.box_least_squares(durations=[3], minimum_period=5, maximum_period=9)["1:g"]
    wanted = box_least_squares(one, durations=[3], minimum_period=5, maximum_period=9)
    assert (transit.period, transit.depth) == (wanted.period, wanted.depth)
    assert analyzer.lomb_scargle_multiband(
        method="fast", minimum_frequency=0.1, maximum_frequency=0.2
    ).best_frequency == pytest.approx(FREQUENCY, abs=1e-3)


def test_results_are_those_of_stingray(tmp_path: Path) -> None:
    from stingray import AveragedPowerspectrum, CrossCorrelation, Powerspectrum

    analyzer = quiet(tmp_path)
    curves = {k: to_stingray(c) for k, c in analyzer.light_curves.items()}
    spectrum = analyzer.compute_power_spectra()["1:g"]
    wanted = Powerspectrum.from_lightcurve(curves["1:g"], norm="frac", silent=True)
    assert spectrum.power == pytest.approx(wanted.power)
    averaged = analyzer.compute_averaged_power_spectra(60 * u.s, rebin_factor=0.1)["2:r"]
    direct = AveragedPowerspectrum.from_lightcurve(curves["2:r"], 60, norm="frac", silent=True)
    assert averaged.power == pytest.approx(direct.rebin_log(0.1).power)
    cross = analyzer.compute_cross_correlations(norm="none")["1:g x 3:i"]
    same = CrossCorrelation(curves["1:g"], curves["3:i"], mode="same", norm="none")
    assert cross.corr == pytest.approx(same.corr)
    assert cross.time_lags == pytest.approx(same.time_lags)
    assert abs(cross.time_shift) % PERIOD == pytest.approx(PERIOD / 2, abs=1)


def test_gaps_are_said_with_what_to_do(tmp_path: Path) -> None:
    analyzer = quiet(tmp_path, cameras(np.delete(np.arange(300.0), slice(100, 120))))
    with pytest.raises(InputError, match="compute_averaged_power_spectra"):
        analyzer.compute_power_spectra()
    with pytest.raises(InputError, match="cross_correlate"):
        analyzer.compute_cross_correlations()
    assert analyzer.compute_averaged_power_spectra(50)["1:g"].m == 5


def test_cleaned_and_detrended(tmp_path: Path) -> None:
    rows = {k: to_pandas(c).assign(airmass=1 + c.seconds / 3000) for k, c in cameras().items()}
    rows["1:g"]["flux"] *= 1 + rows["1:g"]["airmass"]
    rows["1:g"].loc[50, "flux"] = 9
    analyzer = quiet(tmp_path, rows).without_outliers()
    assert {k: len(c) for k, c in analyzer.light_curves.items()} == {"1:g": 299, "2:r": 300, "3:i": 300}
    slope = analyzer.detrend(["airmass"])["1:g"].coefficients.loc["airmass"]
    assert slope["value"] == pytest.approx(1 / 2.05, abs=5 * slope["error"])
    flat = analyzer.detrended(["airmass"]).light_curves["1:g"]
    assert abs(np.polyfit(flat.seconds, flat.flux, 1)[0] * 300) < 0.01


def test_every_figure_is_kept(tmp_path: Path) -> None:
    analyzer = Analyzer(tmp_path, cameras(), prefix="star", phot_label="optimal")
    analyzer.plot_light_curves("a star")
    analyzer.phase_fold_light_curves(PERIOD)
    analyzer.phase_bin_light_curves(PERIOD, subplot=False)
    analyzer.compute_lomb_scargle_periodograms(scale="loglog")
    analyzer.compute_power_spectra()
    analyzer.compute_averaged_power_spectra(50)
    analyzer.compute_cross_correlations()
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == [
        "star_optimal_L-S_periodograms.png",
        "star_optimal_P=7.4074s_phase_bin.png",
        "star_optimal_P=7.4074s_phase_fold.png",
        "star_optimal_averaged_power_spectra.png",
        "star_optimal_cross_correlations.png",
        "star_optimal_light_curves.png",
        "star_optimal_periodograms.png",
    ]


def test_a_kind_of_analyzer_stays_what_it_is(tmp_path: Path) -> None:
    class Own(Analyzer):
        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__(tmp_path, cameras(), show_plots=False)

    rebinned = Own("mine").rebin(10)
    assert (type(rebinned), rebinned.name, len(rebinned.light_curves["1:g"])) == (Own, "mine", 30)


def test_times_of_two_systems_do_not_go_together(tmp_path: Path) -> None:
    rows = table(10)
    with pytest.raises(InputError, match="do not go together"):
        quiet(tmp_path, {"g": rows, "r": rows.drop(columns="BMJD")})

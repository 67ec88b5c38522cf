"""The tutorial of `opticam` runs with its import line alone changed: a plain script, worker processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import opticam_dask as opticam

TOTALS = (8461, 6672, 5514, 4265, 1706, 1636)
SIGMA = 1.5

# No main guard on purpose: nobody writes one in a tutorial.
SCRIPT = """
import json
import numpy as np
import pandas as pd
import opticam_dask as opticam
from photutils.aperture import ApertureStats, EllipticalAnnulus
import mine

opticam.generate_observations(out_directory="out/data", n_images=10, circular_aperture=False)
reducer = opticam.Reducer(data_directory="out/data", out_directory="out/reduced")
reducer.create_catalogs()
json.dump(reducer.psf_params, open("psf.json", "w"))
reducer.photometry(opticam.OptimalPhotometer(local_background_estimator=opticam.DefaultLocalBackground()))
print(pd.read_csv("out/reduced/lcs/optimal_annulus/1:g_source_2.csv"))
reducer.photometry(opticam.OptimalPhotometer())
reducer.photometry(opticam.AperturePhotometer(forced=True))

def custom(data, position, semimajor_axis, semiminor_axis, orientation):
    a, b = semimajor_axis, semiminor_axis
    ring = EllipticalAnnulus(position, 4 * a, 9 * a, 9 * b, b_in=4 * b, theta=orientation)
    stats = ApertureStats(data, ring)
    return stats.median, stats.mad_std

level = lambda data, position, semimajor_axis, semiminor_axis, orientation: custom(
    data, position, semimajor_axis, semiminor_axis, orientation)

for name, estimator in {"script": custom, "lambda": level, "module": mine.custom}.items():
    photometer = opticam.OptimalPhotometer(local_background_estimator=estimator, forced=True)
    reducer.photometry(photometer, overwrite=True)
    curve = opticam.light_curve("out/reduced", camera="1:g", source=2, label="forced_optimal_annulus")
    curve.to_parquet(f"{name}.parquet")

default = opticam.DefaultLocalBackground()
peak = opticam.OptimalPhotometer(local_background_estimator=default, normalization="peak")
reducer.photometry(peak, overwrite=True)
"""

MODULE = """
from photutils.aperture import ApertureStats, EllipticalAnnulus

def custom(data, position, semimajor_axis, semiminor_axis, orientation):
    a, b = semimajor_axis, semiminor_axis
    ring = EllipticalAnnulus(position, 4 * a, 9 * a, 9 * b, b_in=4 * b, theta=orientation)
    stats = ApertureStats(data, ring)
    return stats.median, stats.mad_std
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    here = tmp_path_factory.mktemp("tutorial")
    (here / "tutorial.py").write_text(SCRIPT)
    (here / "mine.py").write_text(MODULE)
    done = subprocess.run(
        [sys.executable, "tutorial.py"], cwd=here, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {"here": here, "stdout": done.stdout}


def curve(ran: dict[str, Any], label: str, camera: str, source: int) -> pd.DataFrame:
    return pd.read_csv(ran["here"] / "out/reduced/lcs" / label / f"{camera}_source_{source}.csv")


pytestmark = pytest.mark.cluster


def test_prints_the_facts_of_the_tutorial(ran: dict[str, Any]) -> None:
    out = ran["stdout"]
    facts = ("variable source is at (131, 115)", "0.135 Hz", "1.571 radians", "Binning: 4x4", "10 1:g images")
    assert [fact for fact in facts if fact not in out] == []


def test_psf_is_the_simulated_one(ran: dict[str, Any]) -> None:
    psf = json.loads((ran["here"] / "psf.json").read_text())
    assert set(psf) == {"1:g", "2:r", "3:i"}
    for params in psf.values():
        assert set(params) == {"semimajor_sigma", "semiminor_sigma", "orientation"}
        assert params["semimajor_sigma"] == pytest.approx(SIGMA, rel=0.03)
        assert params["semiminor_sigma"] == pytest.approx(SIGMA, rel=0.03)


def every_curve(ran: dict[str, Any], label: str) -> Iterator[tuple[pd.DataFrame, int]]:
    for camera in ("1:g", "2:r", "3:i"):
        for source, total in enumerate(TOTALS, start=1):
            yield curve(ran, label, camera, source), total


def test_peak_normalisation_has_the_tutorials_scale(ran: dict[str, Any]) -> None:
    for table, total in every_curve(ran, "optimal_annulus"):
        assert table["flux"].mean() == pytest.approx(total / (2 * np.pi * SIGMA**2), rel=0.03)


def test_columns_times_and_background(ran: dict[str, Any]) -> None:
    for table, _ in every_curve(ran, "optimal_annulus"):
        assert list(table.columns) == ["BMJD", "flux", "flux_err", "bkg", "bkg_err"]
        assert len(table) == 10
        assert table["BMJD"][0] == pytest.approx(60309.999803, abs=5e-7)
        assert table["bkg"].to_numpy() == pytest.approx(100, abs=3)
        assert table["bkg"].mean() == pytest.approx(100, abs=0.7)
        assert table["bkg_err"].to_numpy() == pytest.approx(10, abs=2)


@pytest.mark.parametrize("label", ["optimal", "forced_aperture"])
def test_total_fluxes(ran: dict[str, Any], label: str) -> None:
    for table, total in every_curve(ran, label):
        assert table["flux"].mean() == pytest.approx(total, rel=0.03)


def test_estimators_of_a_cell_a_lambda_and_a_module_agree(ran: dict[str, Any]) -> None:
    script, lambda_, module = (
        pd.read_parquet(ran["here"] / f"{n}.parquet") for n in ("script", "lambda", "module")
    )
    pd.testing.assert_frame_equal(script, lambda_)
    pd.testing.assert_frame_equal(script, module)
    assert len(script) == 10
    assert np.isfinite(script["flux"]).all()


def test_the_public_face_is_there() -> None:
    for name in opticam.__all__:
        assert getattr(opticam, name) is not None

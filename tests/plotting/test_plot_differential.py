"""Figures of relative light curves: properties that matter, not pixels."""

import numpy as np
import pandas as pd
import pytest

from opticam_dask.plotting.differential import (
    MANY,
    comparisons_figure,
    plot_comparison_scatter,
    plot_comparison_weights,
    plot_relative,
    relative_figure,
)
from opticam_dask.plotting.style import new_figure


def curve(n, bmjd=True):
    random = np.random.default_rng(0)
    time = 60310.2 + np.arange(n) / 86400.0
    flux = 1.0 + 0.01 * random.normal(size=n)
    flux[n // 2] = np.nan
    return pd.DataFrame(
        {
            "camera": "1:g",
            "BMJD": time if bmjd else np.nan,
            "MJD": time,
            "norm_flux": flux,
            "norm_flux_err": 0.01,
            "transparency": 0.9,
            "transparency_err": 0.002,
        }
    )


def stars():
    return pd.DataFrame(
        {
            "source": [1, 3, 4, 5],
            "used": [True, False, True, False],
            "reason": ["", "variable: drifts by 2.00% rms, 90 sigma", "", "blended with another source"],
            "flux": [3e4, 1e4, 5e3, np.nan],
            "weight": [0.8, 0.0, 0.2, 0.0],
            "rms": [0.008, 0.022, 0.012, np.nan],
            "expected": [0.008, 0.009, 0.012, np.nan],
            "typical": [0.008, 0.009, 0.012, np.nan],
        }
    )


@pytest.mark.parametrize("bmjd", [True, False])
def test_a_short_curve_is_drawn_in_full(bmjd):
    figure = relative_figure(curve(300, bmjd), title="V1")
    above, below = figure.axes
    assert len(above.containers[0].lines[0].get_xdata()) == 299
    assert above.get_ylabel() == "flux / median"
    assert below.get_ylabel() == "transparency"
    assert ("BMJD" if bmjd else "MJD") in below.get_xlabel()
    assert below.get_xlabel().endswith("[s]")
    low, high = above.get_ylim()
    assert low < 0.98
    assert high > 1.02
    figure.canvas.draw()


def test_a_long_curve_is_its_density_and_means():
    ax = plot_relative(curve(20 * MANY), new_figure(6, 3).subplots())
    (density,) = [each for each in ax.collections if each.get_rasterized()]
    assert np.ma.sum(density.get_array()) == pytest.approx(20 * MANY, rel=1e-3)
    assert len(ax.containers[0].lines[0].get_xdata()) == 200
    assert np.std(ax.containers[0].lines[0].get_ydata()) < 0.001
    assert sum(len(line.get_xdata()) for line in ax.lines) < 1000


def test_an_outlier_does_not_set_the_scale():
    table = curve(1000)
    table.loc[3, "norm_flux"] = 50.0
    ax = plot_relative(table, new_figure(6, 3).subplots())
    assert ax.get_ylim()[1] < 1.2


def test_comparison_stars_are_told_apart():
    figure = comparisons_figure(stars(), title="V1")
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["1", "3", "4", "5"]
    assert [bar.get_width() for bar in left.patches] == [80.0, 0.0, 20.0, 0.0]
    assert {text.get_text() for text in left.texts} == set(stars()["reason"]) - {""}
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels == ["errors", "usual", "used", "variable, not used"]
    assert right.get_xlabel() == "mean flux [adu / s]"
    assert right.get_xscale() == right.get_yscale() == "log"
    figure.canvas.draw()


def test_one_star_alone_can_be_drawn():
    alone = stars().tail(1)
    figure = new_figure(8, 3)
    left, right = figure.subplots(1, 2)
    plot_comparison_weights(alone, left)
    plot_comparison_scatter(alone, right)
    assert "one star" in right.texts[0].get_text()
    figure.canvas.draw()

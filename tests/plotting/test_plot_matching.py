"""Figures of match residuals say what is drawn, in which unit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from opticam_dask.plotting.matching import match_figure, plot_match_residuals


@pytest.fixture
def sightings() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.normal(0, 0.2, (40, 2)), columns=["dx", "dy"])
    table["separation"] = np.hypot(table["dx"], table["dy"])
    table["camera"], table["night"] = np.repeat(["1:g", "2:r"], 20), "2024-01-01"
    table["object_id"], table["field_id"] = "F001-0001", "F001"
    table["field_x"], table["field_y"] = 10.0 + table["dx"], 20.0 + table["dy"]
    table.loc[3, ["dx", "dy", "separation"]] = np.nan
    table.loc[3, "object_id"] = ""
    return table


def test_residuals_of_each_camera_with_units(sightings):
    ax = plot_match_residuals(sightings, Figure().subplots(), title="here")
    assert ax.get_xlabel() == "residual along x [pixel]"
    assert [len(line.get_xdata()) for line in ax.lines[:2]] == [19, 20]
    first = sightings[sightings["camera"] == "1:g"]["separation"].dropna()
    rms = np.sqrt(np.mean(first**2))
    assert ax.get_legend().get_texts()[0].get_text() == f"1:g: {rms:.2f} pixel rms"


def test_no_sightings_is_an_empty_panel(sightings):
    assert plot_match_residuals(sightings.iloc[:0], Figure().subplots()).get_legend() is None


def test_a_row_for_each_field(sightings):
    objects = pd.DataFrame({"object_id": ["F001-0007"], "field_id": ["F001"], "x": [10.0], "y": [20.0]})
    figure = match_figure(objects, sightings)
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["7"]
    assert right.get_title() == "nights: 1"

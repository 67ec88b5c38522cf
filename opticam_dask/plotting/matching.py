"""How well the catalogues of a survey agree with the master source table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.plotting.labels import name_points
from opticam_dask.plotting.style import band_colour, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY = 5_000  # points from which they are drawn as a picture


def plot_match_residuals(sightings: pd.DataFrame, ax: Axes, *, title: str = "") -> Axes:
    """Draw how far sources lie from the mean places of their stars, a colour a camera.

    Parameters
    ----------
    sightings : DataFrame
        Sightings of a master source table; those without a star are left out.
    ax : Axes
        Where to draw.
    title : str
        Title of the panel.

    Returns
    -------
    Axes
        The same Axes; the legend gives the root mean square distance of each camera.
    """
    known = sightings[sightings["separation"].notna()]
    for number, (camera, rows) in enumerate(known.groupby("camera")):
        rms = float(np.sqrt(np.mean(rows["separation"] ** 2)))
        colour = band_colour(str(camera), number)
        label = f"{camera}: {rms:.2f} pixel rms"
        (dots,) = ax.plot(rows["dx"], rows["dy"], ".", color=colour, markersize=3, alpha=0.6, label=label)
        dots.set_rasterized(len(rows) > _MANY)
    ax.axhline(0.0, color="0.6", linewidth=0.6)
    ax.axvline(0.0, color="0.6", linewidth=0.6)
    ax.set(xlabel="residual along x [pixel]", ylabel="residual along y [pixel]", title=title)
    ax.set_aspect("equal", "datalim")
    if len(known):
        ax.legend(loc="upper right", framealpha=0.85, edgecolor="none", fontsize=8)
    return ax


def plot_field(objects: pd.DataFrame, sightings: pd.DataFrame, ax: Axes, *, title: str = "") -> Axes:
    """Draw the stars of a field, with what was seen of them and what could not be told.

    Parameters
    ----------
    objects, sightings : DataFrame
        Rows of one field.
    ax : Axes
        Where to draw.
    title : str
        Title of the panel.

    Returns
    -------
    Axes
        The same Axes; stars that have room are named by their numbers.
    """
    known = sightings["object_id"] != ""
    (dots,) = ax.plot(
        sightings["field_x"], sightings["field_y"], ".", color="0.6", markersize=2, label="sources"
    )
    dots.set_rasterized(len(sightings) > _MANY)
    lost = sightings[~known]
    if len(lost):
        ax.plot(lost["field_x"], lost["field_y"], "x", color="#D55E00", markersize=4, label="no star known")
    ax.plot(objects["x"], objects["y"], "o", mfc="none", color="#0072B2", markersize=8, label="stars")
    numbers = [str(name).partition("-")[2].lstrip("0") for name in objects["object_id"]]
    name_points(numbers, objects[["x", "y"]].to_numpy(), ax, size=7.0)
    ax.set(xlabel="x in the field [pixel]", ylabel="y in the field [pixel]", title=title)
    ax.set_aspect("equal", "datalim")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=3, frameon=False, fontsize=8)
    return ax


def match_figure(objects: pd.DataFrame, sightings: pd.DataFrame) -> Figure:
    """Figure of all fields of a survey: stars on the left, residuals on the right."""
    fields = sorted(set(objects["field_id"]))
    figure = new_figure(10.0, 4.2 * max(len(fields), 1))
    axes = figure.subplots(max(len(fields), 1), 2, squeeze=False)
    for (left, right), field_id in zip(axes, fields, strict=False):
        own = sightings[sightings["field_id"] == field_id]
        plot_field(objects[objects["field_id"] == field_id], own, left, title=field_id)
        plot_match_residuals(own, right, title=f"nights: {own['night'].nunique()}")
    return figure

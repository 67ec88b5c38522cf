"""The catalogue figure: what is drawn lies where the sources are, at any size of the image."""

import numpy as np
import pytest

from opticam_dask.plotting.catalogs import catalogs_figure
from opticam_dask.types import PsfModel

PSF = PsfModel(3.0, 2.0, 30.0)


@pytest.mark.parametrize("shape", [(120, 173), (2050, 1301), (1024, 3001)])
def test_a_star_is_drawn_under_its_ellipse(shape):
    ny, nx = shape
    place = np.array([nx - 21.0, 15.0])
    image = np.full(shape, 10.0)
    image[12:19, nx - 24 : nx - 17] = 500.0
    image[:, :3] = np.nan
    (ax,) = catalogs_figure({"1:g": (image, place[None], PSF)}).axes
    (shown,) = ax.images
    pixels = np.ma.filled(shown.get_array(), np.nan)
    assert max(pixels.shape) <= 1024
    left, right, bottom, top = shown.get_extent()
    row, column = np.unravel_index(np.nanargmax(pixels), pixels.shape)
    x = left + (column + 0.5) * (right - left) / pixels.shape[1]
    y = bottom + (row + 0.5) * (top - bottom) / pixels.shape[0]
    assert np.hypot(x - place[0], y - place[1]) < 5.0 + 2 * nx / 1024
    assert ax.patches[0].center == pytest.approx(tuple(place))
    assert ax.get_xlim() == (-0.5, nx - 0.5)
    assert ax.get_ylim() == (-0.5, ny - 0.5)


def test_boxes_of_a_large_image_are_means_of_what_was_seen():
    image = np.arange(2048.0 * 1500).reshape(2048, 1500)
    image[:2, :2] = np.nan
    image[0, 2] = np.nan
    (ax,) = catalogs_figure({"1:g": (image, np.zeros((0, 2)), PSF)}).axes
    pixels = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert pixels.shape == (1024, 750)
    assert np.isnan(pixels[0, 0])
    assert pixels[0, 1] == pytest.approx(np.nanmean(image[:2, 2:4]))
    assert pixels[-1, -1] == pytest.approx(image[-2:, -2:].mean())

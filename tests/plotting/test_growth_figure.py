"""The figure of growth curves shows every source and the PSF."""

from __future__ import annotations

import numpy as np
import pandas as pd

from opticam_dask.plotting.growth import growth_figure


def curves(n_sources: int) -> pd.DataFrame:
    scale = np.linspace(0.2, 3.0, 15)
    return pd.concat(
        [
            pd.DataFrame({"source": k, "scale": scale, "fraction": 1 - np.exp(-scale), "model": 1.0})
            for k in range(1, n_sources + 1)
        ]
    )


def test_a_panel_a_camera_a_line_a_source_and_one_for_the_psf() -> None:
    figure = growth_figure({"1:g": curves(3), "2:r": curves(300)})
    assert [ax.get_title() for ax in figure.axes] == ["1:g", "2:r"]
    for ax, n in zip(figure.axes, (3, 300), strict=True):
        assert len([line for line in ax.lines if len(line.get_xdata()) == 15]) == n + 1
        assert ax.get_xlabel() == "semi-axis of the aperture [FWHM]"
        named = [text.get_text() for text in ax.get_legend().get_texts()]
        assert "PSF" in named
        assert len(named) <= 8

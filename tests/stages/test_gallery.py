"""Figures appear once, below the cell that asked for them."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from opticam_dask.stages import gallery as module
from opticam_dask.stages.gallery import Gallery


@pytest.fixture
def shown(monkeypatch):
    """Figures shown, as if in a notebook."""
    figures = []
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(module, "show_in_notebook", figures.append)
    return figures


def test_figures_are_shown_once_and_when_the_cell_ends(shown, tmp_path):
    gallery = Gallery(print, show=True)
    gallery.add(tmp_path / "first.pdf", Figure, [])
    gallery.show()
    assert len(shown) == 1
    gallery.add(tmp_path / "second.pdf", Figure, [])
    gallery.finish()
    gallery.finish()
    assert len(shown) == 2
    assert shown[0] is not shown[1]


@pytest.mark.parametrize(("show", "cells"), [(True, False), (False, True)])
def test_nothing_is_waited_for_where_nothing_is_shown(show, cells, shown, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "in_notebook", lambda: cells)
    gallery = Gallery(print, show=show)
    gallery.add(tmp_path / "one.pdf", Figure, [])
    gallery.show()
    assert len(gallery._pending) == 1
    gallery.finish()
    assert (tmp_path / "one.pdf").is_file()


def test_a_figure_that_fails_costs_a_warning(shown, tmp_path):
    said = []

    def broken():
        raise ValueError("no data")

    gallery = Gallery(said.append, show=True)
    gallery.add(tmp_path / "broken.pdf", broken, [])
    gallery.show()
    assert not shown
    (line,) = said
    assert "broken.pdf" in line
    assert "no data" in line

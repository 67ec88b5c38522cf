"""Figures appear once, below the cell that asked for them."""

from __future__ import annotations

import threading

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


def test_one_aside_is_drawn_but_not_shown_and_one_always_wanted_is_drawn_without_others(shown, tmp_path):
    gallery = Gallery(print, show=True)
    gallery.add(tmp_path / "aside.pdf", Figure, [], aside=True)
    gallery.finish()
    assert (tmp_path / "aside.pdf").is_file()
    assert not shown
    gallery = Gallery(print, show=True, draw=False)
    gallery.add(tmp_path / "left_out.pdf", Figure, [])
    gallery.add(tmp_path / "always.pdf", Figure, [], always=True)
    gallery.finish()
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["always", "aside"]
    assert len(shown) == 1


def test_figures_not_begun_are_given_up_and_the_one_begun_is_finished(shown, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        go_on.wait(10.0)
        return Figure()

    gallery = Gallery(print, show=True)
    for name, draw in (("slow", slow), ("second", Figure), ("third", Figure)):
        gallery.add(tmp_path / f"{name}.pdf", draw, [])
    begun.wait(10.0)
    gallery.drop()
    go_on.set()
    gallery.finish()
    assert [path.stem for path in tmp_path.iterdir()] == ["slow"]
    assert len(shown) == 1

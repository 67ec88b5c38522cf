"""Figures that are drawn while the cluster works."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from opticam_dask.plotting.style import save_figure, show_in_notebook
from opticam_dask.progress import in_notebook

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)


class Gallery:
    """Figures on their way to disk, drawn one after the other by a thread of their own.

    Parameters
    ----------
    say : callable
        Tells the user a line.
    show : bool
        Whether figures appear in a notebook once they are drawn.
    draw : bool
        Whether to draw at all.
    """

    def __init__(self, say: Callable[[str], None], *, show: bool, draw: bool = True) -> None:
        self.draws = draw
        self._say, self._show = say, show
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opticam-figures")
        self._pending: list[tuple[Path, Future[Figure], bool]] = []

    def add(
        self,
        path: Path,
        draw: Callable[[], Figure],
        shows: Iterable[Path],
        *,
        always: bool = False,
        aside: bool = False,
    ) -> None:
        """Draw a figure in the background, unless it is younger than what it shows.

        Parameters
        ----------
        path : Path
            The file.
        draw : callable
            Makes the figure.
        shows : iterable of Path
            Files whose content it shows.
        always : bool
            Whether to draw it even where figures are not asked for.
        aside : bool
            Whether it goes to disk only, and does not appear in a notebook.
        """
        if (always or self.draws) and not _is_current(path, shows):
            self._pending.append((path, self._thread.submit(_draw, draw, path), not aside))

    def show(self) -> None:
        """Show what was asked for so far below the cell that asked, where there are cells."""
        if self._show and in_notebook():
            self.finish()

    def wants(self, path: Path, shows: Iterable[Path]) -> bool:
        """Whether a figure would be drawn; see `add`."""
        return self.draws and not _is_current(path, shows)

    def drop(self) -> None:
        """Give up the figures that are not begun: something went wrong, and nobody waits for them."""
        self._pending = [each for each in self._pending if not each[1].cancel()]

    def finish(self) -> None:
        """Wait for the figures; one that could not be drawn costs a warning, never a result."""
        pending, self._pending = self._pending, []
        for path, future, shown in pending:
            error = future.exception()
            if error is not None:
                logger.debug("figure %s", path, exc_info=error)
                self._say(f"warning: the figure {path} could not be drawn: {error}")
            elif self._show and shown:
                show_in_notebook(future.result())


def _draw(draw: Callable[[], Figure], path: Path) -> Figure:
    figure = draw()
    save_figure(figure, path)
    return figure


def _is_current(path: Path, shows: Iterable[Path]) -> bool:
    """Whether a file is younger than all of those it shows that exist."""
    if not path.is_file():
        return False
    drawn = path.stat().st_mtime_ns
    return all(each.stat().st_mtime_ns <= drawn for each in shows if each.is_file())

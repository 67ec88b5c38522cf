"""The widget: sliders and a canvas around the model and the figure."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.errors import InputError, MissingPackageError, OpticamError
from opticam_dask.explore.controls import Controls
from opticam_dask.explore.image_panel import check_stretch
from opticam_dask.explore.model import ExplorerModel
from opticam_dask.explore.view import N_CUTOUTS, ExplorerView, title_of, words_of
from opticam_dask.kernels.annulus import R_IN, R_OUT

if TYPE_CHECKING:
    from opticam_dask.explore.night import Explored

_REACH = 0.03  # of the field shown: how near a click must be to a star
_LEAST_REACH = 4.0  # pixels


class CubeExplorer:
    """Look through a night in Jupyter: sliders for camera and time, stars to click.

    A frame is read when it is shown, and no other; a click on a star reads the parts of eight frames around
    it. An active ``distributed.Client`` does the reading, otherwise this process. Display the object, or
    call its methods, which do what sliders and clicks do.

    Parameters
    ----------
    source : path, Reducer or DataTree
        A folder of frames, the output directory of a reduction (adds catalogue, alignment and light
        curves), a `Reducer` (its frames come calibrated), or cubes of `open_observation`.
    out_directory : path, optional
        Output directory with catalogues and light curves, where `source` does not tell.
    camera : str, optional
        Camera to begin with; default: the first.
    stretch : {'linear', 'square root', 'asinh', 'log'}
        Stretch of the grey scale.
    annulus : pair of float
        Axes of the sky annulus in standard deviations of the PSF.
    label : str, optional
        Photometer whose light curves are shown; default: the first.

    Raises
    ------
    MissingPackageError
        If ipywidgets or ipympl is missing.
    InputError
        If there is no frame to show.

    Examples
    --------
    >>> CubeExplorer("out/reduced")  # doctest: +SKIP
    """

    def __init__(
        self,
        source: Explored,
        out_directory: str | PathLike[str] | None = None,
        *,
        camera: str | None = None,
        stretch: str = "asinh",
        annulus: tuple[float, float] = (R_IN, R_OUT),
        label: str | None = None,
    ) -> None:
        check_packages()
        check_stretch(stretch)
        self.model = ExplorerModel(source, out_directory, annulus=annulus, label=label)
        self.camera = camera or self.model.cameras[0]
        self.index, self.source = 0, 0
        self._held: tuple[float, float] | None = None
        self._quiet = False
        self.view = ExplorerView()
        frames = self.model.frames(self.camera)
        self.controls = Controls(self.view.figure, self.model, self.camera, len(frames), stretch)
        self._listen()
        self._draw_frame()

    @property
    def frames_read(self) -> int:
        """Whole frames read so far."""
        return self.model.store.frames_read

    @property
    def parts_read(self) -> int:
        """Parts of frames read so far, for cutouts."""
        return self.model.store.parts_read

    @property
    def widget(self) -> Any:
        """The ipywidgets box, to be put into a larger one."""
        return self.controls.box

    def show(self, index: int, camera: str | None = None) -> None:
        """Show a frame, as the sliders do.

        Parameters
        ----------
        index : int
            Place in the camera's cube, from 0; negative ones count from the end.
        camera : str, optional
            Camera; default: the one shown.

        Raises
        ------
        InputError
            If there is no such camera or frame.
        """
        chosen = camera or self.camera
        count = len(self.model.frames(chosen))
        if not -count <= index < count:
            raise InputError(f"{chosen} has {count} frames, from 0; there is no {index}")
        moved = chosen != self.camera
        self.camera, self.index = chosen, index % count
        with self._quietly():
            self.controls.go(chosen, self.index, count)
        if moved:
            # source 3 of one camera is another star than source 3 of the next
            self._forget_star()
        self._draw_frame()

    def choose(self, source: int) -> None:
        """Show light curve and cutouts of a source, as a click does; 0 chooses none.

        Parameters
        ----------
        source : int
            ID in the catalogue of the camera shown.
        """
        if not source:
            self._forget_star()
        else:
            self._show_star(source)
        self._draw_marks()
        self.view.figure.canvas.draw_idle()

    def _show_star(self, source: int) -> None:
        self.source = source
        with self._quietly():
            self.controls.star.value = source
        unit, title = self.model.frames(self.camera).unit, f"{self.camera}, source {source}"
        try:
            curve = self.model.curve(self.camera, source)
            self.view.curve.show(curve, f"{title}  ({self.model.label})", unit)
        except OpticamError as error:
            self.view.curve.empty(str(error))
        try:
            cutouts = self.model.cutouts(self.camera, source, N_CUTOUTS)
        except InputError:
            cutouts = []  # where there is no such source, the panel of the curve says so
        self.view.cutouts.show(cutouts, self.controls.stretch.value)

    def _forget_star(self) -> None:
        self.source = 0
        with self._quietly():
            self.controls.star.value = 0
        self.view.curve.empty("click a star for its light curve")
        self.view.cutouts.show([])

    def _draw_frame(self) -> None:
        """Read the frame and draw it; a damaged one says so and leaves the panel empty."""
        frames = self.model.frames(self.camera)
        facts = frames.facts(self.index)
        problem = ""
        try:
            image = self.model.pixels(self.camera, self.index)
        except OpticamError as error:
            image, problem = np.full(frames.shape[1:], np.nan), str(error)
        limits = self.view.image.show(
            image,
            stretch=self.controls.stretch.value,
            limits=self._held if self.controls.hold.value else None,
            percent=self.controls.percent.value,
        )
        if not problem:
            self._held = limits
        self.view.image.label_bar(frames.unit)
        self.view.image.say(*title_of(facts))
        words = [*words_of(facts, len(frames)), *([("problem", problem)] if problem else [])]
        self.controls.tell(" &nbsp; ".join(f"{escape(name)} <b>{escape(text)}</b>" for name, text in words))
        self.view.curve.point_at(facts.night, facts.frame)
        self._draw_marks()
        self.view.figure.canvas.draw_idle()

    def _draw_marks(self) -> None:
        frames = self.model.frames(self.camera)
        sources = frames.sources(self.index) if self.controls.marks.value else None
        annulus = self.model.annulus if self.controls.annulus.value else None
        self.view.image.mark(sources, self.source, annulus, names=True)
        self.view.curve.point_at(*_key(frames.facts(self.index)))

    def _listen(self) -> None:
        """Tie the controls to what they do."""
        controls = self.controls
        controls.on(controls.time, lambda value: self.show(value))
        controls.on(controls.camera, self._other_camera)
        controls.on(controls.star, self.choose)
        controls.on(controls.label, self._other_label)
        for each in (controls.stretch, controls.percent, controls.hold, controls.marks, controls.annulus):
            controls.on(each, lambda _: self._draw_frame())
        controls.before.on_click(lambda _: self._step(-1))
        controls.after.on_click(lambda _: self._step(1))
        controls.guard = lambda: self._quiet
        self.view.figure.canvas.mpl_connect("button_press_event", self._clicked)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Set controls without their being heard: otherwise frames nobody asked for would be read."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _step(self, by: int) -> None:
        last = len(self.model.frames(self.camera)) - 1
        self.show(min(max(self.index + by, 0), last))

    def _other_camera(self, camera: str) -> None:
        self.show(self.model.same_moment(self.camera, self.index, camera), camera)

    def _other_label(self, label: str) -> None:
        self.model.label = label
        self.choose(self.source)

    def _clicked(self, event: Any) -> None:
        """Choose the star under a click in the frame; a place in the light curve shows its frame."""
        if self.controls.is_panning or event.inaxes is None:
            return
        if event.inaxes is self.view.image.ax:
            left, right = self.view.image.ax.get_xlim()
            reach = max(_REACH * abs(right - left), _LEAST_REACH)
            star = self.model.star_at(self.camera, self.index, event.xdata, event.ydata, reach)
            self.choose(star or 0)
        elif event.inaxes is self.view.curve.ax:
            key = self.view.curve.frame_at(event.xdata)
            index = None if key is None else self.model.frames(self.camera).index_of(*key)
            if index is not None:
                self.show(index)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Give the widget, and a picture for where none can live, such as on paper."""
        return self.controls.bundle()


def _key(facts: Any) -> tuple[str, int]:
    return facts.night, facts.frame


def check_packages() -> None:
    """Say what to install if a package of the explorer is missing.

    Raises
    ------
    MissingPackageError
        If ipywidgets or ipympl cannot be found.
    """
    missing = [name for name in ("ipywidgets", "ipympl") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"the explorer needs {' and '.join(missing)}: pip install 'opticam-dask[explore]'"
        )

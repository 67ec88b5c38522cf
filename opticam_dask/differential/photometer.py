"""What users call: light curves of a target relative to comparison stars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.catalog.store import load_catalogs
from opticam_dask.differential.config import EnsembleConfig
from opticam_dask.differential.cross_match import cross_match, matched_ids
from opticam_dask.differential.export import export
from opticam_dask.differential.make import Comparisons, Made, Request, make_relative
from opticam_dask.differential.names import Chosen, comparison_names, default_name, folder_name
from opticam_dask.differential.results import RelativeLightCurves, summary
from opticam_dask.differential.rows import StarName
from opticam_dask.errors import CatalogError, InputError
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.runner import active_client
from opticam_dask.session import Session
from opticam_dask.tables.relative import relative_light_curve
from opticam_dask.tables.store import cameras, find_dataset
from opticam_dask.workspace import OutputTree

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.cluster_spec import Place, Workers

_SMALL = 256 * 2**20  # bytes of light curves that are not worth a cluster of processes


class DifferentialPhotometer:
    """Make light curves relative to comparison stars, which take out what all stars have in common.

    Parameters
    ----------
    out_directory : path
        Output directory of a reduction, or of a survey.
    show_plots : bool
        Whether to show catalogues and light curves in Jupyter.
    cluster : str, ClusterSpec or distributed.Client, optional
        Where to compute, as for `Reducer`; unless it is given, or a client active, little is done here.
    n_workers : int or (int, int), optional
        Workers to start.
    verbose : bool
        Whether to print what is done; it is logged in any case.

    Attributes
    ----------
    filters : list of str
        Cameras with light curves.
    catalogs : dict of str to CameraCatalog
        Catalogues by camera; empty for a survey.

    Raises
    ------
    InputError
        If there is no such directory, or no light curves in it.
    """

    def __init__(
        self,
        out_directory: str | Path,
        show_plots: bool = True,
        *,
        cluster: Place = None,
        n_workers: Workers = None,
        verbose: bool = True,
    ) -> None:
        self.out_directory = Path(out_directory)
        if not self.out_directory.is_dir():
            raise InputError(f"{out_directory}: no such directory; give the output directory of a reduction")
        self.show_plots, self.verbose = show_plots, verbose
        self._session = Session(cluster, n_workers=n_workers, progress=verbose)
        self._cluster = cluster
        self._tree = OutputTree(self.out_directory)
        self.catalogs: dict[str, CameraCatalog] = load_catalogs(self.out_directory)
        self.filters = sorted(
            {name for root in self._tree.lcs.glob("*/light_curves") for name in cameras(root)}
        )
        if not self.filters:
            raise InputError(f"{out_directory}: no light curves; run the photometry first")
        self.say(f"Filters: {', '.join(self.filters)}")
        if show_plots and "IPython" in sys.modules and self.catalogs:
            self._show_catalogs()

    def say(self, message: str) -> None:
        """Log a message, and print it when verbose."""
        self._tree.say(message, verbose=self.verbose)

    def get_relative_light_curve(
        self,
        fltr: str,
        target: StarName,
        comparisons: Chosen = "auto",
        phot_label: str | None = None,
        prefix: str | None = None,
        match_other_cameras: bool = False,
        show_diagnostics: bool = True,
        *,
        ensemble: EnsembleConfig | None = None,
        overwrite: bool = False,
    ) -> RelativeLightCurves:
        """Light curve of a target relative to comparison stars.

        Parameters
        ----------
        fltr : str
            Camera, such as ``1:g``, or its filter where only one camera has that.
        target : int or str
            The target: its ID in the camera's catalogue, or in a survey its object_id.
        comparisons : int, str, sequence of these, or 'auto'
            The comparison stars, whose fluxes are summed; ``'auto'`` chooses stars that do not vary, with
            weights of inverse variance.
        phot_label : str, optional
            Photometer; needed only where there are several.
        prefix : str, optional
            Name of the results, such as the target's; by default made of camera, target and comparisons.
        match_other_cameras : bool
            Do the same in the other cameras, in which the stars are found by the pattern they make (or by
            coordinates, or in a survey by object_id). A camera in which that cannot be told is left out, with
            a line that says why.
        show_diagnostics : bool
            Draw weights and scatter of the comparison stars.
        ensemble : EnsembleConfig, optional
            Limits of the automatic choice.
        overwrite : bool
            Replace results of this name that were made with other settings.

        Returns
        -------
        RelativeLightCurves
            An `Analyzer` of the light curves by camera, with their ``tables``, ``comparisons``, ``nights``.

        Raises
        ------
        InputError
            If there is no such camera, target or comparison star, or nothing can be compared.
        SettingsChangedError
            If there are results of this name made with other settings.

        Notes
        -----
        Results lie in ``lcs/<label>/relative/<name>/``; a CSV file and figures in
        ``relative_light_curves/<label>/``, as `opticam` has them. A frame in which a comparison star is
        missing or flagged is compared with the others, each relative to its own mean, so that nothing jumps.
        Errors include those of the comparison stars: that part is common to all targets of a frame.
        """
        name, made, request = self._make(
            fltr, target, comparisons, phot_label, prefix, match_other_cameras, ensemble, overwrite
        )
        measured = made.nights[made.nights["n_measured"] > 0]["camera"].unique()
        tables = {
            camera: relative_light_curve(self.out_directory, name, camera=camera, label=request.label)
            for camera in sorted(measured)
        }
        shown = export(request, made, tables, diagnostics=show_diagnostics, show=self.show_plots)
        self.say(shown)
        return RelativeLightCurves(
            self.out_directory, request.label, name, made, tables, show_plots=self.show_plots
        )

    def write_relative_light_curves(
        self,
        fltr: str,
        target: StarName,
        comparisons: Chosen = "auto",
        phot_label: str | None = None,
        prefix: str | None = None,
        match_other_cameras: bool = False,
        *,
        ensemble: EnsembleConfig | None = None,
        overwrite: bool = False,
    ) -> str:
        """Do what `get_relative_light_curve` does, but load, export and draw nothing: for many nights.

        Returns
        -------
        str
            The name to read them by, with `opticam_dask.open_relative_light_curves`.
        """
        name, _, _ = self._make(
            fltr, target, comparisons, phot_label, prefix, match_other_cameras, ensemble, overwrite
        )
        return name

    def _make(
        self,
        fltr: str,
        target: StarName,
        comparisons: Chosen,
        phot_label: str | None,
        prefix: str | None,
        match_other_cameras: bool,
        ensemble: EnsembleConfig | None,
        overwrite: bool,
    ) -> tuple[str, Made, Request]:
        camera = self._camera(fltr)
        chosen = comparison_names(target, comparisons)
        label = find_dataset(self.out_directory, phot_label).parent.name
        targets: dict[str, StarName] = {camera: target}
        others: dict[str, Comparisons] = {camera: chosen}
        if match_other_cameras:
            self._match(camera, target, chosen, targets, others)
        name = folder_name(prefix or default_name(camera, target, chosen))
        request = Request(self.out_directory, label, name, targets, others, ensemble or EnsembleConfig())
        with self._session:
            made = make_relative(request, self._run, overwrite=overwrite)
        self.say(summary(name, made))
        return name, made, request

    def _camera(self, fltr: str) -> str:
        if fltr in self.filters:
            return fltr
        found = [camera for camera in self.filters if camera.partition(":")[2] == fltr]
        if len(found) != 1:
            raise InputError(f"no camera {fltr!r} with light curves; there are: {', '.join(self.filters)}")
        return found[0]

    def _match(
        self,
        camera: str,
        target: StarName,
        chosen: Comparisons,
        targets: dict[str, StarName],
        others: dict[str, Comparisons],
    ) -> None:
        """Add the other cameras in which the target is known, and say what was matched or why not."""
        for other in self.filters:
            if other == camera:
                continue
            if isinstance(target, str):
                targets[other], others[other] = target, chosen
                continue
            try:
                targets[other], others[other] = self._matched(camera, other, target, chosen)
            except CatalogError as error:
                self.say(f"warning: {other} is left out: {error}")

    def _matched(
        self, camera: str, other: str, target: int, chosen: Comparisons
    ) -> tuple[StarName, Comparisons]:
        for name in (camera, other):
            if name not in self.catalogs:
                raise CatalogError(f"{self.out_directory}: no catalogue of {name} to match with")
        match = cross_match(self.catalogs[camera], self.catalogs[other])
        numbers = [int(one) for one in chosen or ()]
        there, found, missing = matched_ids(match, target, numbers, camera, other)
        self.say(f"{match.how}: {camera} target {target} is {other} source {there}")
        if chosen is None:
            return there, None
        pairs = ", ".join(f"{one} is {match.pairs[one]}" for one in numbers if one in match.pairs)
        self.say(f"comparisons of {camera} in {other}: {pairs}")
        if missing:
            self.say(f"warning: not in the catalogue of {other}: comparisons {', '.join(map(str, missing))}")
        return there, tuple(found)

    def _run(self, function: Callable[..., Any], tasks: Sequence[Any], folder: str) -> list[Any]:
        """Call a function on each task: here if that is little, else on the cluster."""
        size = sum(path.stat().st_size for task in tasks for path in task.folder.files())
        if self._cluster is None and active_client() is None and size < _SMALL:
            return [function(task, folder) for task in tasks]
        return self._session(map_blocks_of_frames(function, tasks, folder), "relative light curves")

    def _show_catalogs(self) -> None:
        from opticam_dask.plotting.catalogs import catalogs_figure
        from opticam_dask.plotting.style import show_in_notebook

        images = {name: (one.stacked_image, one.xy, one.psf) for name, one in self.catalogs.items()}
        show_in_notebook(catalogs_figure(images))

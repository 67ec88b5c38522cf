"""A survey: nights under a root, new and changed ones reduced, all of them in one dataset."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.errors import InputError
from opticam_dask.survey.arrivals import Arrivals, find_arrivals
from opticam_dask.survey.cluster import SurveyCluster
from opticam_dask.survey.folders import Folder, folders_of
from opticam_dask.survey.inventory import NAME as INVENTORY
from opticam_dask.survey.inventory import Inventory
from opticam_dask.survey.options import SurveyOptions, photometry_settings
from opticam_dask.survey.plan import NightPlan, is_chosen, plan_nights
from opticam_dask.survey.settings import Settings, check_settings, record_settings
from opticam_dask.tables.digest import digest
from opticam_dask.tables.lock import held

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.cluster_spec import Place
    from opticam_dask.photometers.base import BasePhotometer

LOG = "survey.log"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SurveyReport:
    """What a run of a survey did.

    Parameters
    ----------
    reduced : tuple of str
        Nights that are in the dataset now and were not, or changed.
    failed : dict of str to str
        Nights that gave no light curves in this run, and why.
    gone : tuple of str
        Nights whose frames are no longer under the root; their results are kept.
    unchanged : int
        Nights there was nothing to do for.
    """

    reduced: tuple[str, ...]
    failed: dict[str, str]
    gone: tuple[str, ...]
    unchanged: int

    def __str__(self) -> str:
        parts = [f"{len(self.reduced)} nights reduced", f"{self.unchanged} unchanged"]
        parts += [f"{len(self.failed)} failed or excluded: {', '.join(self.failed)}"] * bool(self.failed)
        parts += [f"{len(self.gone)} gone: {', '.join(self.gone)}"] * bool(self.gone)
        return "; ".join(parts)


class Survey:
    """Many nights: those that are new or changed are reduced, and the same star has one ID in all of them.

    Nights are sub-folders of the root at any depth, or frames of many nights in one folder, or of one night
    in several: the frames' times tell. Stores that ``opticam-dask ingest`` wrote count as well.

    Parameters
    ----------
    root : path
        Where the frames are.
    out : path
        Where results go; made when missing.
    photometers : sequence of BasePhotometer
        What measures the light curves; each has a label of its own.
    options : SurveyOptions, optional
        How nights are reduced.
    cluster : str, ClusterSpec or distributed.Client, optional
        Where to compute, as for `Reducer`; one cluster does all nights.
    export_csv : bool
        Whether to write one CSV file per source and night too.
    figures : bool, optional
        Whether to draw figures of each night, as for `Reducer`.
    verbose : bool
        Whether to print all that the reduction of each night says; its log gets it in any case.
    say : callable, optional
        Gets a line on each night; by default only the log does.

    Examples
    --------
    >>> survey = Survey("data", "out", [OptimalPhotometer()], SurveyOptions(threshold=4))  # doctest: +SKIP
    >>> survey.run()  # doctest: +SKIP
    >>> light_curve("out", object_id="F001-0002")  # doctest: +SKIP
    """

    def __init__(
        self,
        root: Path | str,
        out: Path | str,
        photometers: Sequence[BasePhotometer],
        options: SurveyOptions | None = None,
        *,
        cluster: Place = None,
        export_csv: bool = False,
        figures: bool | None = None,
        verbose: bool = False,
        say: Callable[[str], object] | None = None,
    ) -> None:
        self.root, self.out = Path(root).resolve(), Path(out).resolve()
        self.photometers = tuple(photometers)
        self.options = options or SurveyOptions()
        self.export_csv, self.figures, self.verbose = export_csv, figures, verbose
        self._cluster, self._tell = cluster, say
        if self.root == self.out:
            raise InputError(f"{self.out}: results need a folder of their own, not that of the frames")

    @property
    def settings(self) -> Settings:
        """All settings that results depend on."""
        return Settings(
            root=str(self.root),
            scan=self.options.scan_settings(),
            catalogs=self.options.catalog_settings(),
            photometry=photometry_settings(self.photometers),
        )

    @property
    def ledger(self) -> pd.DataFrame:
        """One row per night and camera, see `read_ledger`."""
        from opticam_dask.survey.ledger import read_ledger

        return read_ledger(self.out)

    def plan(
        self, nights: Sequence[str] = (), *, overwrite: bool = False, retry: bool = False
    ) -> list[NightPlan]:
        """Tell what `run` would do; nothing is written, but headers of new files are read.

        Parameters
        ----------
        nights : sequence of str
            Nights to look at, such as ``2024-01-*``; by default all.
        overwrite : bool
            Whether results made with other settings may be replaced.
        retry : bool
            Whether to try again nights that were excluded.

        Raises
        ------
        SettingsChangedError
            If settings changed and `overwrite` is false.
        """
        settings = self.settings
        check_settings(self.out, settings, overwrite=overwrite)
        known = Inventory.load(self.out)
        found = self._arrivals(self._folders(), known, settings, None)
        return self._planned(found.inventory, settings, nights, retry)

    def run(
        self, nights: Sequence[str] = (), *, overwrite: bool = False, retry: bool = False
    ) -> SurveyReport:
        """Reduce, identify and publish the nights that are new or changed.

        A run that was stopped, whenever that was, goes on where it stood. A night that gives nothing costs
        only itself: the report and the ledger say why.

        Parameters
        ----------
        nights : sequence of str
            Nights to look at, such as ``2024-01-*``; by default all.
        overwrite : bool
            Whether results made with other settings may be replaced.
        retry : bool
            Whether to try again nights that were excluded.

        Returns
        -------
        SurveyReport
            What was done.

        Raises
        ------
        SettingsChangedError
            If settings changed and `overwrite` is false; nothing was touched.
        BusyError
            If another run is at work on this survey.
        InputError
            If there is no root, no frame in it, or the output directory cannot be written to.
        """
        settings = self.settings
        check_settings(self.out, settings, overwrite=overwrite)
        folders = self._folders()
        if not folders and not (self.out / INVENTORY).is_file():
            raise InputError(f"{self.root}: no FITS file and no store in it or below; give another root")
        with held(self.out, "survey"):
            # another run may have ended since
            for change in check_settings(self.out, settings, overwrite=overwrite):
                self.say(f"changed: {change}")
            return self._run(folders, settings, nights, retry)

    def _run(
        self, folders: dict[str, Folder], settings: Settings, nights: Sequence[str], retry: bool
    ) -> SurveyReport:
        known = Inventory.load(self.out)
        with SurveyCluster(self._cluster, progress=self.verbose) as cluster:
            record_settings(self.out, settings)
            arrivals = self._arrivals(folders, known, settings, cluster.map_headers)
            if arrivals.inventory != known:
                arrivals.save(self.out)
            plans = self._planned(arrivals.inventory, settings, nights, retry)
            failed = self._work(arrivals, plans, settings, cluster)
        report = self._report(arrivals.inventory, plans, failed, nights)
        if plans or arrivals.changed:
            self.say(str(report))
        return report

    def _work(
        self, arrivals: Arrivals, plans: list[NightPlan], settings: Settings, cluster: SurveyCluster
    ) -> dict[str, str]:
        """Do what there is to do; where that is nothing, nothing is imported for it either."""
        if not plans and not arrivals.changed:
            return {}
        from opticam_dask.survey.ledger import note_others
        from opticam_dask.survey.work import NightWork

        failed = {}
        if plans:
            work = NightWork(
                out=self.out,
                options=self.options,
                photometers=self.photometers,
                digests=settings.digests(),
                cluster=cluster,
                inventory=arrivals.inventory,
                say=self.say,
                outputs={"export_csv": self.export_csv, "figures": self.figures, "verbose": self.verbose},
            )
            failed = work.do(plans)
        note_others(self.out, arrivals.inventory, self.options.instrument)
        return failed

    def _report(
        self, inventory: Inventory, plans: list[NightPlan], failed: dict[str, str], nights: Sequence[str]
    ) -> SurveyReport:
        chosen = [night for night in sorted(inventory.nights) if is_chosen(night, nights)]
        gone = tuple(night for night in chosen if inventory.nights[night].is_gone)
        planned = [plan.night for plan in plans]
        return SurveyReport(
            reduced=tuple(night for night in planned if night not in failed),
            failed=failed,
            gone=gone,
            unchanged=len(set(chosen) - set(planned) - set(gone)),
        )

    def _folders(self) -> dict[str, Folder]:
        return folders_of(self.root, [self.out, *self.options.calibration_folders()])

    def _arrivals(
        self, folders: dict[str, Folder], known: Inventory, settings: Settings, map_headers: Any
    ) -> Arrivals:
        scanned = digest({"root": settings.root, "scan": settings.scan})
        return find_arrivals(self.root, self.out, folders, known, self.options, scanned, map_headers)

    def _planned(
        self, inventory: Inventory, settings: Settings, nights: Sequence[str], retry: bool
    ) -> list[NightPlan]:
        labels = [photometer.label for photometer in self.photometers]
        return plan_nights(inventory, settings.digests(), labels, nights, retry=retry)

    def say(self, message: str) -> None:
        """Log a line, and pass it on."""
        from datetime import UTC, datetime

        logger.info(message)
        with (self.out / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {message}\n")
        if self._tell is not None:
            self._tell(message)

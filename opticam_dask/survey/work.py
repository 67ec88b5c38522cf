"""Night after night: reduce, register, publish, and enter it into the ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.errors import BusyError, CatalogError, InputError, SchedulerLostError, StorageError
from opticam_dask.matching import Master
from opticam_dask.survey.arrivals import nights_folder
from opticam_dask.survey.extinction import note_extinctions
from opticam_dask.survey.inventory import Inventory, NightRecord, Status
from opticam_dask.survey.ledger import Outcome, night_rows, update_ledger
from opticam_dask.survey.night import reduce_night
from opticam_dask.survey.outdated import by_camera, mark_outdated, outdated_rows
from opticam_dask.survey.plan import IDS, NightPlan, labels_kept, wanted
from opticam_dask.survey.publications import ids_digest, publications_of
from opticam_dask.survey.publish import Published, publish, withdraw
from opticam_dask.survey.register import night_catalogs
from opticam_dask.survey.settings import PHOTOMETRY
from opticam_dask.tables.lock import held
from opticam_dask.tables.store import dataset_root

if TYPE_CHECKING:
    from collections.abc import Callable

    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.survey.cluster import SurveyCluster
    from opticam_dask.survey.options import SurveyOptions

logger = logging.getLogger(__name__)


@dataclass
class NightWork:
    """What the nights of a run are done with, and how far it got.

    Parameters
    ----------
    out : Path
        The survey.
    options : SurveyOptions
        How nights are reduced.
    photometers : sequence of BasePhotometer
        What measures.
    digests : mapping of str to str
        Digest of each section of the settings.
    cluster : SurveyCluster
        Where it is computed.
    inventory : Inventory
        Folders and nights; kept up to date, here and on disk.
    say : callable
        Gets a line on each night.
    outputs : mapping of str to bool
        What each night writes and says besides: ``export_csv``, ``figures``, ``verbose``, as for `Survey`.
    """

    out: Path
    options: SurveyOptions
    photometers: Sequence[BasePhotometer]
    digests: Mapping[str, str]
    cluster: SurveyCluster
    inventory: Inventory
    say: Callable[[str], None]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.master = Master.load(self.out)
        self._started = time.perf_counter()

    def do(self, plans: Sequence[NightPlan]) -> dict[str, str]:
        """Do the nights in order of date; gives those that failed, with the reason."""
        self.cluster.start()  # what cannot be had costs no night
        for number, plan in enumerate(plans, 1):
            self._attempt(plan)
            self.say(f"[{number}/{len(plans)}] {describe(self.out, plan.night)}")
        self._publish_rest()
        return self.failed

    def _attempt(self, plan: NightPlan) -> None:
        """Do one night; what goes wrong costs this night alone, unless it would cost all of them."""
        self._started = time.perf_counter()
        record = self.inventory.nights[plan.night]
        want = wanted(record, self.digests)
        kept = labels_kept(record, want)
        self._note(plan.night, replace(record, status="pending", reason="interrupted"))
        try:
            self._measure(plan)
            made = {**kept, **want}
            outcome, problem = self._publish(plan.night, made)
            if not problem:
                made[IDS] = ids_digest(self.master, plan.night)
            self._settle(plan.night, "failed" if problem else "reduced", problem, made, outcome)
        except (StorageError, BusyError, SchedulerLostError):
            raise
        except (InputError, CatalogError) as error:
            self._settle(plan.night, "excluded", str(error), want)
        except Exception as error:
            logger.exception("night %s", plan.night)
            self._settle(plan.night, "failed", str(error) or repr(error), kept)

    def _measure(self, plan: NightPlan) -> None:
        """Reduce a night as far as needed, and let the master table know its stars."""
        if not plan.labels:
            return
        chosen = [each for each in self.photometers if each.label in plan.labels]
        cluster = self.cluster.start()
        reduce_night(plan.night, self.out, self.options, chosen, cluster=cluster, **self.outputs)
        catalogs = night_catalogs(self.out, plan.night, self.options.instrument, self.options.rebin_factor)
        master = self.master.register(catalogs)
        if master is not self.master:
            # whenever this stops, nights whose IDs change are known to need publishing
            self._note_stale(master)
            master.save(self.out)
            self.master = master

    def _note_stale(self, master: Master) -> None:
        """Note the nights whose published IDs are not those of a master table."""
        nights = {
            night: replace(record, made={name: each for name, each in record.made.items() if name != IDS})
            if IDS in record.made and record.made[IDS] != ids_digest(master, night)
            else record
            for night, record in self.inventory.nights.items()
        }
        if nights != self.inventory.nights:
            self.inventory = replace(self.inventory, nights=nights)
            self.inventory.save(self.out)

    def _publish(self, night: str, made: Mapping[str, str]) -> tuple[Outcome, str]:
        """Publish all light curves of a night; gives what came of it, and what could not be measured."""
        from opticam_dask.lazy.chunks import map_blocks_of_frames

        labels = [name.removeprefix(f"{PHOTOMETRY}.") for name in made if name.startswith(PHOTOMETRY)]
        # its parts are read: nobody may merge them meanwhile
        with held(nights_folder(self.out) / night, "survey"):
            jobs = publications_of(self.out, night, labels, self.master)
            done: list[Published] = self.cluster(map_blocks_of_frames(publish, jobs), f"publishing {night}")
        for label in labels:
            withdraw(dataset_root(self.out, label), night, [job.camera for job in jobs])
        rows: dict[str, int] = {}
        for one in done:
            rows[one.camera] = rows.get(one.camera, 0) + one.rows
        identified = {job.camera: len(job.ids) for job in jobs}
        return Outcome(identified=identified, rows=rows), "; ".join(sorted({x.failed for x in done} - {""}))

    def _publish_rest(self) -> None:
        """Publish nights again some of whose sources got their ID from nights that came later."""
        for night, record in sorted(self.inventory.nights.items()):
            if record.status == "reduced" and IDS not in record.made:
                self._attempt(NightPlan(night, (), "object IDs to publish"))
                self.say(f"{night}: published again, more of its sources are identified")

    def _settle(
        self, night: str, status: Status, reason: str, made: Mapping[str, str], outcome: Outcome | None = None
    ) -> None:
        """Enter what came of a night into the ledger, then note that it is settled."""
        record = self.inventory.nights[night]
        if status != "reduced":
            self.failed[night] = reason
        settled = replace(record, status=status, reason=reason, made=dict(made))
        old = outdated_rows(self.out, night, settled)
        mark_outdated(self.out, night, old)
        seconds = time.perf_counter() - self._started
        done = replace(outcome or Outcome(), seconds=seconds, outdated=by_camera(old))
        rows = night_rows(self.out, night, settled, self.options.instrument, done)
        update_ledger(self.out, {night: rows})
        note_extinctions(self.out, self.master.sightings)
        self._note(night, settled)

    def _note(self, night: str, record: NightRecord) -> None:
        self.inventory = self.inventory.with_night(night, record)
        self.inventory.save(self.out)


def describe(out: Path, night: str) -> str:
    """One line on a night, from its rows of the ledger."""
    from opticam_dask.survey.ledger import read_ledger

    ledger = read_ledger(out)
    rows = ledger[ledger["night"] == night]
    good = rows[rows["status"] == "reduced"]
    bad = rows[rows["status"] != "reduced"]
    parts = [f"{rows['used'].sum()} of {rows['found'].sum()} frames"]
    if len(good):
        parts.append(
            f"{len(good)} cameras, {good['stars'].sum()} stars, {good['identified'].sum()} identified"
        )
        parts.append(f"FWHM {good['fwhm'].median():.1f} px")
    parts += [f"{row.camera} {row.status}: {row.reason}" for row in bad.itertuples()]
    parts += [f"{row.camera} keeps {row.outdated_for}" for row in rows.itertuples() if row.outdated]
    return f"{night}: {', '.join(parts)} ({rows['seconds'].max():.1f} s)"

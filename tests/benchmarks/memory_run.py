"""Reduce a night on two workers of little memory, in a process of its own, and tell what memory each took.

``python memory_run.py DATA OUT LIMIT`` prints JSON: seconds at the end of each stage, frames, rows, fluxes,
peaks of resident memory [byte], whether the workers at the end are those of the start, and how long they were
paused for want of memory. What the nannies and the workers say of memory comes on stderr.
"""

import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

N_WORKERS = 2
STEP = 0.1  # between two looks [s]


def peak_of(pid):
    """Largest resident memory of a process so far [byte]; the kernel keeps it, no sampling can miss it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0  # a process that ended and is not yet collected has none


class Watch(threading.Thread):
    """Notes the peaks of this process and all it started, and the states of the workers."""

    def __init__(self, scheduler):
        super().__init__(daemon=True)
        self.scheduler = scheduler
        self.peaks, self.addresses = {}, set()
        self.paused = 0.0
        self.done = threading.Event()

    def run(self):
        import psutil

        me = psutil.Process()
        while not self.done.wait(STEP):
            for process in (me, *me.children(recursive=True)):
                with suppress(OSError, psutil.Error):
                    self.peaks[process.pid] = peak_of(process.pid)
            self.look()

    def look(self):
        for address, worker in list(self.scheduler.workers.items()):
            self.addresses.add(address)
            self.paused += STEP * (worker.status.name == "paused")


def main(data, out, limit):
    import dask.config

    from opticam_dask.cluster import connect

    dask.config.set({"logging": {"distributed.nanny": "info", "distributed.worker.memory": "info"}})
    with connect("local", n_workers=N_WORKERS, memory_limit=limit) as client, client.as_current():
        watch = Watch(client.cluster.scheduler)
        watch.start()
        first = client.run(os.getpid)
        told = reduce(data, out, watch, first.values())
        last = client.run(os.getpid)
        watch.done.set()
        watch.join()
    same = first == last and watch.addresses == last.keys()
    told |= {"workers": [watch.peaks[pid] for pid in last.values()], "client": watch.peaks[os.getpid()]}
    sys.stdout.write(json.dumps(told | {"same_workers": same, "paused_s": watch.paused}) + "\n")


def reduce(data, out, watch, workers):
    """Catalogue and light curves, each with the time and the workers' peaks at its end."""
    import opticam_dask as opticam

    photometer = opticam.OptimalPhotometer(local_background_estimator=opticam.DefaultLocalBackground())
    start, seconds = time.perf_counter(), {}
    with opticam.Reducer(out, data, show_plots=False, verbose=False) as reducer:
        seconds["scan"] = time.perf_counter() - start
        reducer.create_catalogs()
        seconds["catalogue"] = time.perf_counter() - start
        before = [watch.peaks.get(pid, 0) for pid in workers]
        summary = reducer.photometry(photometer)
        seconds["photometry"] = time.perf_counter() - start
        frames = len(reducer.frames)
    rows, fluxes = int(summary["rows"].sum()), int(summary["measured"].sum())
    return {
        "frames": frames,
        "rows": rows,
        "fluxes": fluxes,
        "seconds": seconds,
        "workers_at_catalogue": before,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])

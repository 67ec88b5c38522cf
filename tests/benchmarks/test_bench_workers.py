"""Two worker processes against one, and the memory of a worker in a long night against a short one."""

import resource
from pathlib import Path
from statistics import median

import pytest

import opticam_dask as opticam
from opticam_dask.cluster import connect
from opticam_dask.testing.benchmark import Comparison, alternate

PHOTOMETER = opticam.OptimalPhotometer(local_background_estimator=opticam.DefaultLocalBackground())
MIB = 2**20
TINY = (10, (120, 150), "threads")


def reduce(paths, out, **options):
    """The job: catalogue and light curves, on the active client."""
    with opticam.Reducer(out, paths, show_plots=False, verbose=False, **options) as reducer:
        reducer.create_catalogs()
        return reducer.photometry(PHOTOMETER, export_csv=False)


def reduce_on(client, paths, out, **options):
    with client.as_current():
        return reduce(paths, out, **options)


# Figures are drawn by the client, beside the workers: on two cores it is a third that wants one.
@pytest.mark.parametrize("figures", [True, False])
def test_two_workers_against_one(full, record, night, tmp_path, figures):
    n_frames, shape, place = (720, (2048, 2048), "local") if full else TINY
    paths = night(n_frames, shape, "gz")
    with connect(place, n_workers=1) as one, connect(place, n_workers=2) as two:
        number = iter(range(100))

        def job(client):
            reduce_on(client, paths, tmp_path / f"out{next(number)}", figures=figures)

        pairs = alternate(lambda: job(two), lambda: job(one), rounds=2 if full else 1)
    speedups = tuple((slow, fast) for fast, slow in pairs)
    ones, twos = (median(column) for column in zip(*speedups, strict=True))
    drawn = "and figures" if figures else "no figures"
    what = f"{n_frames} frames 2048x2048 .gz: one worker / two (catalogue, photometry, {drawn})"
    record(Comparison(9, what, ones, twos, 1.8, "s", at_least=True, rounds=speedups))


@pytest.mark.parametrize("wrapping", ["none", "gz"])
def test_processes_against_threads(full, record, night, tmp_path, wrapping):
    n_frames, shape, place = (120, (2048, 2048), "local") if full else TINY
    paths = night(n_frames, shape, wrapping)
    number = iter(range(100))
    with connect(place, n_workers=2) as processes, connect("threads", n_workers=2) as threads:

        def job(client):
            reduce_on(client, paths, tmp_path / f"out{next(number)}")

        pairs = alternate(lambda: job(processes), lambda: job(threads), rounds=3 if full else 1)
    ours, other = (median(column) for column in zip(*pairs, strict=True))
    name = {"none": ".fits", "gz": ".gz"}[wrapping]
    record(
        Comparison(
            9, f"{n_frames} frames {name}: two processes / two threads", ours, other, 1.0, "s", rounds=pairs
        )
    )


def peak_bytes():
    """Largest resident memory of this process so far [byte]."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def again(paths, folder, times):
    """The same files under so many names: their pixels are read each time."""
    folder.mkdir()
    for number in range(times):
        for path in map(Path, paths):
            (folder / f"{number:03d}_{path.name}").hardlink_to(path)
    return sorted(map(str, folder.iterdir()))


def test_memory_of_a_worker_does_not_grow_with_the_night(full, record, night, tmp_path):
    n_frames, shape, place = (200, (2048, 2048), "local") if full else TINY
    short = night(n_frames, shape, "gz")
    long = again(short, tmp_path / "long", 10 if full else 2)
    peaks = []
    for name, paths in (("short", short), ("long", long)):
        with connect(place, n_workers=1, memory_limit="1GB" if full else "auto") as client:
            summary = reduce_on(client, paths, tmp_path / name)
            assert summary["rows"].sum() % len(paths) == 0
            peaks.append(max(client.run(peak_bytes).values()) / MIB)
    what = f"peak memory of a worker, {len(long)} frames / {n_frames} of 2048x2048"
    record(Comparison(10, what, peaks[1], peaks[0], 1.1, "MiB"))
    record(Comparison(10, "the larger of them", max(peaks), 1.0, 1000.0, "MiB"))

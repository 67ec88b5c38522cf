"""Plan the reduction of a long night whose frames nobody has, in a process of its own.

``python planning_run.py FOLDER`` takes what `prepare` left in the folder, builds the graphs of both stages as
the stages themselves do, sends them nowhere, and prints what that took as JSON.
"""

import gc
import json
import pickle
import resource
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

FRAMES_PER_BLOCK = 128  # 64 MiB of 512 x 512 pixels
CAMERAS = ("1:g", "2:r", "3:i")
N_SCOUTED = 24


def prepare(folder: Path, paths: list[str], n_frames: int) -> None:
    """Write the frame index of a night, and what few real frames of the same shape show."""
    import pandas as pd

    from opticam_dask.catalog.build import build_catalog
    from opticam_dask.catalog.finder import DefaultFinder
    from opticam_dask.io.blocks import split_blocks
    from opticam_dask.io.frame_index import scan, write_frames
    from opticam_dask.testing.fakes import frame_table

    each = n_frames // len(CAMERAS)
    stem = "/data/observatory/opticam/2024-01-01/raw/camera"
    nights = [
        frame_table([f"{stem}{c[0]}/240101{c[2]}{i:09d}o.fits.gz" for i in range(each)], (64, 64), camera=c)
        for c in CAMERAS
    ]
    write_frames(pd.concat(nights, ignore_index=True), folder / "frames.parquet")
    scouted = []

    def run(tasks, what):
        results = list(tasks.compute(scheduler="synchronous"))
        if "looking for stars" in what:
            scouted.extend(results)
        return results

    few = split_blocks(scan(paths).iloc[:N_SCOUTED])
    catalog = build_catalog(few, run=run, background=None, finder=DefaultFinder.for_width(64))
    (folder / "seen.pickle").write_bytes(pickle.dumps((scouted, catalog)))


class SentError(Exception):
    """The last graph of a stage is made."""


class Sink:
    """Takes graphs as a client does, up to the network."""

    def __init__(self, scouted, count):
        self.scouted, self.count = scouted, count
        self.bytes = self.tasks = 0
        self.lock = threading.Lock()

    def __call__(self, tasks, what):
        from dask.base import collections_to_expr
        from distributed.protocol import serialize, to_serialize
        from distributed.utils import nbytes

        expression = collections_to_expr([tasks], True).optimize()
        list(expression.__dask_keys__())
        header, frames = serialize(to_serialize(expression), on_error="raise")
        with self.lock:
            self.bytes += len(pickle.dumps(header)) + sum(map(nbytes, frames))
            if self.count:
                self.tasks += len(expression.__dask_graph__())
        if "looking for stars" in what:
            return self.scouted
        if "anchor" in what:
            return [anchors(tasks.size)]
        raise SentError


def anchors(n_tasks):
    import numpy as np

    from opticam_dask.catalog.order import ANCHOR_STEP, every_kth
    from opticam_dask.catalog.tracking import ALIGNED, FRAME_ROW

    n_frames = n_tasks * FRAMES_PER_BLOCK
    positions = every_kth(np.arange(n_frames))[: n_frames // ANCHOR_STEP - 8]
    rows = np.zeros(len(positions), FRAME_ROW)
    rows["position"], rows["status"] = positions, ALIGNED
    rows["affine"] = [[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]]
    return rows


def main(folder: Path, count: bool) -> None:
    start = time.perf_counter()
    import dask.config
    import numpy as np

    from opticam_dask.catalog.model import AlignmentConfig
    from opticam_dask.instrument import OPTICAM_MX
    from opticam_dask.io.frame_index import read_frames
    from opticam_dask.photometers import OptimalPhotometer
    from opticam_dask.stages import CatalogStage, PhotometryStage
    from opticam_dask.workspace import OutputTree

    imported = time.perf_counter()
    dask.config.set({"opticam.frames-per-block": FRAMES_PER_BLOCK})
    scouted, seen = pickle.loads((folder / "seen.pickle").read_bytes())
    frames = read_frames(folder / "frames.parquet")
    stage = CatalogStage(
        OutputTree(folder / "out"), frames, np.median, None, None, threshold=5.0, instrument=OPTICAM_MX
    )
    sink = Sink(scouted, count)
    given = time.perf_counter()
    with suppress(SentError):
        stage.create(AlignmentConfig(), run=sink, say=lambda text: None, overwrite=False)
    catalogued = time.perf_counter()
    gc.collect()  # the exceptions hold on to the blocks
    catalogs = {
        camera: replace(seen, camera=camera, alignment=aligned(seen, rows))
        for camera, rows in stage.cameras().items()
    }
    ready = time.perf_counter()
    photometry = PhotometryStage(stage, catalogs, [OptimalPhotometer()])
    with suppress(SentError):
        photometry.measure(run=sink, say=lambda text: None, overwrite=False, meanwhile=lambda: None)
    done = time.perf_counter()
    figures = {
        "import_s": imported - start,
        "catalogue_s": catalogued - given,
        "photometry_s": done - ready,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "sent_bytes": sink.bytes,
        "tasks": sink.tasks,
        "blocks": sum(-(-len(rows) // FRAMES_PER_BLOCK) for rows in stage.cameras().values()),
    }
    sys.stdout.write(json.dumps(figures))


def aligned(seen, rows):
    """Alignment table of the frames, as if all were alike."""
    import numpy as np
    import pandas as pd

    first = seen.alignment.iloc[0]
    own = {name: rows[name].to_numpy() for name in ("night", "camera", "frame", "MJD")}
    alike = {name: np.full(len(rows), value) for name, value in first.items() if name not in own}
    return pd.DataFrame({name: (own | alike)[name] for name in first.index})


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--count" in sys.argv)

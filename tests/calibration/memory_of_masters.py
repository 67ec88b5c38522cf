"""Peak memory of a worker that combines many large frames; run as a script: frames, pixels a side."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from opticam_dask.calibration.combine import Combined, Job, combine
from opticam_dask.calibration.frames import FrameSet
from opticam_dask.calibration.pedestal import Pedestal
from opticam_dask.cluster import Runner, connect
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.schema import FRAME_META


class GeneratedBlock(FrameBlock):
    """Frames that are made when they are read: noise of 3 adu about 100 adu, shifted from frame to frame."""

    def frames(self):
        noise = np.random.default_rng(1).normal(100.0, 3.0, self.shape[0] * self.shape[1])
        base = np.rint(noise).astype(np.uint16).reshape(self.shape)
        for i, number in enumerate(self.meta["frame"]):
            yield i, np.roll(base, int(number) * 7919)

    def __reduce__(self):
        names = ("night", "camera", "filter", "shape", "dtype", "paths", "meta")
        return GeneratedBlock, tuple(getattr(self, name) for name in names)


def peak() -> float:
    """Most memory this process ever held [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(n_frames: int, side: int) -> None:
    meta = np.zeros(n_frames, FRAME_META)
    meta["frame"], meta["gain"], meta["read_noise"], meta["saturation"] = (
        np.arange(n_frames),
        1.0,
        3.0,
        65535.0,
    )
    block = GeneratedBlock("", "1", "", (side, side), "uint16", ("none",) * n_frames, meta)
    with tempfile.TemporaryDirectory() as folder, connect("local", n_workers=1, memory_limit="1GB") as client:
        job = Job(FrameSet("bias", "1", "1x1", 0.0, block, "generated"), Pedestal(), 4.0, Path(folder))
        before = max(client.run(peak).values())
        started = time.perf_counter()
        combine([job], Runner(client, progress=False), sys.stderr.write)
        seconds, after = time.perf_counter() - started, max(client.run(peak).values())
        mean = Combined.load(Path(folder)).mean
        sys.stdout.write(f"{before:.0f} {after:.0f} {seconds:.1f} {mean.mean():.4f} {mean.std():.4f}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

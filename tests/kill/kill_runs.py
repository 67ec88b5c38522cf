"""A small night, reduced by the command line in processes of its own, which tests watch and kill."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow.dataset as pads
import pyarrow.parquet as pq

import opticam_dask as opticam
from opticam_dask.schema import LIGHT_CURVE_KEY
from opticam_dask.simulate import CameraSetup
from opticam_dask.tables.parts import existing_parts, part_path

STAGES = ("scan", "catalogue", "photometry", "compact", "export")
LABEL = "forced_aperture_annulus"
FRAMES, STARS, CAMERAS = 24, 5, 3
ROWS = FRAMES * STARS * CAMERAS
ENVIRONMENT = {
    **os.environ,
    "DASK_OPTICAM__FRAMES_PER_BLOCK": "2",
    "DASK_OPTICAM__COMPACT_FROM": "4",
    "DASK_OPTICAM__CONNECT_TIMEOUT": "60",
}
PROGRAM = Path(sys.executable).with_name("opticam-dask")
LONGEST = 240.0  # any run takes less, on a busy machine too [s]
_MEASURED = re.compile(r": \w+: \d+ of (\d+) measurements have a flux")


def simulate(folder: Path) -> Path:
    scene = opticam.Scene(
        n_frames=FRAMES,
        shape=(97, 121),
        n_stars=STARS,
        flux_range=(2e4, 6e4),
        semimajor_sigma=2.1,
        semiminor_sigma=1.6,
        orientation=-28.0,
        min_separation_px=18.0,
        drift_px_per_hour=(300.0, -200.0),
        cameras=(
            CameraSetup(filter="g"),
            CameraSetup(filter="r", cadence_s=3.0),
            CameraSetup(filter="i"),
        ),
        compression="none",
        seed=8,
    )
    opticam.simulate_night(scene, folder)
    return folder


@dataclass
class Reduction:
    """One run of the command."""

    night: Path
    out: Path
    cluster: str | None = None
    told: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = None
    descendants: dict[int, psutil.Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.told = self.out.with_suffix(".said")

    def start(self) -> Reduction:
        where = ["--cluster", self.cluster] if self.cluster else ["--workers", "2"]
        command = [str(PROGRAM), "reduce", str(self.night), str(self.out)]
        command += ["--photometer", "aperture", "--forced", "--no-figures", *where]
        self.output = self.told.open("ab")
        self.process = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=self.output, stderr=self.output, start_new_session=True
        )
        return self

    def wait(self) -> int:
        assert self.process is not None
        try:
            return self.process.wait(LONGEST)
        finally:
            self.end()

    def end(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()

    def said(self) -> str:
        return self.told.read_text(errors="replace")

    def see(self) -> None:
        """Note the processes below the command, while it can be asked for them."""
        assert self.process is not None
        for one in below(self.process.pid):
            self.descendants[one.pid] = one

    def workers(self) -> list[psutil.Process]:
        self.see()
        return workers_among(list(self.descendants.values()))

    def until(self, stage: str, share: float, lengths: dict[str, float]) -> str:
        """Wait until a share of a stage has passed, or the stage; say where the run stands then."""
        assert self.process is not None
        wanted = STAGES.index(stage)
        while self.process.poll() is None and reached(self.out) < wanted:
            time.sleep(0.002)
        end = time.monotonic() + share * lengths[stage]
        while self.process.poll() is None and time.monotonic() < end and reached(self.out) <= wanted:
            time.sleep(0.001)
        at = reached(self.out)
        return STAGES[at] if 0 <= at < len(STAGES) else "elsewhere"


def below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers_among(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Processes that compute: those which nannies have started."""
    return [one for one in processes if "spawn_main" in " ".join(command_of(one)) and is_alive(one)]


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def gone(processes: list[psutil.Process], within: float) -> bool:
    end = time.monotonic() + within
    while any(map(is_alive, processes)):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def wait_for(what: Callable[[], object], within: float = 60.0) -> object:
    end = time.monotonic() + within
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.005)
    return found


def reached(out: Path) -> int:
    """Number of the stage that a run is in, by what is on disk; -1 before the first, 5 after the last."""
    try:
        log = (out / "opticam.log").read_text()
    except FileNotFoundError:
        return -1
    for number, sign in ((5, "CSV files in"), (4, "merged into"), (3, "measurements have a flux")):
        if sign in log:
            return number
    if (out / "cat" / "settings.json").is_file():
        return 2
    return 1 if (out / "frames.parquet").is_file() else 0


def lengths_of(run: Reduction) -> dict[str, float]:
    """Watch an undisturbed run: how long each stage takes [s]."""
    assert run.process is not None
    begins: dict[int, float] = {}
    while run.process.poll() is None:
        begins.setdefault(reached(run.out), time.monotonic())
        time.sleep(0.002)
    begins.setdefault(5, time.monotonic())
    moments = [begins.get(number, begins[5]) for number in range(6)]
    return {name: moments[i + 1] - moments[i] for i, name in enumerate(STAGES)}


def results(out: Path) -> dict[str, bytes]:
    """Every file of a reduction, but for those that tell of the run, or are drawn."""
    told = {"opticam.log", "provenance.json"}
    paths = [path for path in out.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in paths
        if path.suffix != ".pdf" and path.name not in told
    }


def different(out: Path, undisturbed: dict[str, bytes]) -> list[str]:
    found = results(out)
    return sorted(
        name for name in found.keys() | undisturbed.keys() if found.get(name) != undisturbed.get(name)
    )


def root_of(out: Path) -> Path:
    return out / "lcs" / LABEL / "light_curves"


def doubled_rows(out: Path) -> int:
    rows = pads.dataset(root_of(out), partitioning="hive").to_table(columns=list(LIGHT_CURVE_KEY))
    assert rows.num_rows == ROWS
    return ROWS - rows.group_by(list(LIGHT_CURVE_KEY)).aggregate([]).num_rows


def rows_on_disk(out: Path) -> int:
    root = root_of(out)
    return sum(pq.read_metadata(part_path(root, key)).num_rows for key in existing_parts(root))


def rows_measured(log: str) -> int:
    return sum(int(number) for number in _MEASURED.findall(log))


def inodes(out: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root_of(out).rglob("*.parquet")}


@contextmanager
def cluster_elsewhere(folder: Path, port: int | None = None) -> Iterator[dict[str, object]]:
    """A scheduler and two workers, each a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    address = f"tcp://127.0.0.1:{port}"
    host = ["--host", "127.0.0.1", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT}
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "dask", "scheduler", *host, "--port", str(port)],
        start_new_session=True,
        **quiet,
    )
    options = [
        "--nworkers",
        "2",
        "--nthreads",
        "1",
        "--death-timeout",
        "60",
        "--local-directory",
        str(folder),
    ]
    workers = subprocess.Popen(
        [sys.executable, "-m", "dask", "worker", address, *host, *options], start_new_session=True, **quiet
    )
    try:
        yield {"address": address, "scheduler": scheduler, "workers": workers, "port": port}
    finally:
        for process in (workers, scheduler):
            every = [*below(process.pid)]
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for one in every:
                if is_alive(one):
                    one.kill()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def moments_of(victim: str, number: int, offset: int) -> list[tuple[str, float]]:
    """Stages and shares of them, drawn at random but the same every time; every stage gets its turn."""
    rng = random.Random(f"{victim} {number}")
    return [(STAGES[(offset + i) % len(STAGES)], rng.uniform(0.0, 0.7)) for i in range(number)]


def note(line: dict[str, object]) -> None:
    """Keep what a moment gave where somebody asked for it."""
    path = os.environ.get("OPTICAM_KILL_NOTES")
    if path:
        with Path(path).open("a") as notes:
            notes.write(json.dumps(line) + "\n")


def kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue

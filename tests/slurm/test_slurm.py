"""Reductions on a real SLURM; ``tests/slurm/setup.sh`` starts one on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import opticam_dask as opticam
from opticam_dask.simulate import CameraSetup

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(240)]

SCRIPTS = Path(__file__).parent / "scripts"
OPTICAM = Path(sys.executable).with_name("opticam-dask")
YAML = """
jobqueue:
  slurm:
    cores: 1
    memory: 1GB
    interface: lo
    walltime: "00:10:00"
    name: opticam-test
    log-directory: {logs}
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a user's shell has: SLURM's and dask's configuration, and the command in the PATH."""
    folder = tmp_path_factory.mktemp("dask")
    (folder / "jobqueue.yaml").write_text(YAML.format(logs=folder / "logs"))
    conf = Path(os.environ.get("OPTICAM_SLURM", "/tmp/opticam-slurm")) / "slurm.conf"
    environment = {
        **os.environ,
        "DASK_CONFIG": str(folder),
        "DASK_OPTICAM__FRAMES_PER_BLOCK": "1",
        "PATH": f"{OPTICAM.parent}{os.pathsep}{os.environ['PATH']}",
        "INTERFACE": "lo",
    }
    if "SLURM_CONF" not in environment and conf.is_file():
        environment["SLURM_CONF"] = str(conf)
    ask = shutil.which("sinfo")
    if ask is None:
        pytest.skip("no SLURM is installed; run tests/slurm/setup.sh")
    asked = subprocess.run([ask, "--noheader"], env=environment, capture_output=True, text=True)
    if asked.returncode:
        pytest.skip(f"no SLURM controller answers ({asked.stderr.strip()}); run tests/slurm/setup.sh")
    return environment


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=30,
        shape=(149, 181),
        n_stars=9,
        semimajor_sigma=2.2,
        semiminor_sigma=1.6,
        orientation=37.0,
        cameras=(CameraSetup(filter="g", cadence_s=2.0), CameraSetup(filter="r", cadence_s=3.0)),
        drift_px_per_hour=(400.0, -250.0),
        seed=5,
    )
    opticam.simulate_night(scene, folder)
    return folder


@pytest.fixture(scope="module")
def here(
    night: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Tables of a run on this machine."""
    out = tmp_path_factory.mktemp("here") / "out"
    subprocess.run([OPTICAM, "reduce", night, out, "--workers", "1"], env=environment, check=True)
    return tables(out)


@pytest.fixture
def jobs(environment: dict[str, str]) -> Iterator[Callable[..., list[str]]]:
    """List the jobs in the queue, or those in one state; afterwards none is left."""

    def queue(*options: str) -> list[str]:
        command = ["squeue", "--noheader", "--format=%i", *options]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.split()

    yield queue
    if left := queue():
        subprocess.run(["scancel", *left], env=environment, check=True)


def tables(out: Path) -> dict[str, bytes]:
    """Every table of a run as it is on disk."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}
    assert any("light_curves" in name for name in found)
    return found


def until(condition: Callable[[], object], seconds: float = 240) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def started(night: Path, out: Path, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    command = [str(OPTICAM), "reduce", str(night), str(out), "--cluster", "slurm", "--workers", "2", *options]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_two_jobs_at_once_give_the_bits_of_this_machine_and_none_stays(
    night: Path,
    here: dict[str, bytes],
    environment: dict[str, str],
    jobs: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    with started(night, tmp_path / "out", environment) as run:
        assert until(lambda: len(jobs("--states=RUNNING")) == 2 or run.poll() is not None)
        assert run.poll() is None
        said, _ = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert "slurm: jobs: 2, worker processes in each: 1" in said
    assert until(lambda: not jobs(), 10)
    assert tables(tmp_path / "out") == here


def test_jobs_reduce_the_nights_of_a_survey_and_its_client_none(
    night: Path, environment: dict[str, str], jobs: Callable[..., list[str]], tmp_path: Path
) -> None:
    command = [str(OPTICAM), "survey", str(night), "--forced", "--no-figures"]
    here, there, workers = tmp_path / "here", tmp_path / "there", set[int]()
    subprocess.run([*command, here, "--cluster", "threads"], env=environment, check=True)
    elsewhere = [*command, str(there), "--cluster", "slurm", "--workers", "2"]
    with (tmp_path / "said").open("w") as said:
        run = psutil.Popen(elsewhere, env=environment, stdout=said, stderr=subprocess.STDOUT)
        while run.poll() is None:
            workers |= local_workers(run)
            time.sleep(0.1)
    assert run.returncode == 0, (tmp_path / "said").read_text()
    assert workers == set()
    assert until(lambda: not jobs(), 10)
    ours, theirs = tables(here / "lcs"), tables(there / "lcs")
    assert ours == theirs


def local_workers(client: psutil.Process) -> set[int]:
    """Worker processes that a client has started beside it."""
    found = set()
    for child in client.children(recursive=True):
        with suppress(psutil.Error):
            if "multiprocessing" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def test_a_cancelled_job_changes_nothing(
    night: Path,
    here: dict[str, bytes],
    environment: dict[str, str],
    jobs: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    with started(night, tmp_path / "out", environment) as run:
        assert until(lambda: any((tmp_path / "out").rglob("light_curves/**/*.parquet")))
        running = jobs("--states=RUNNING")
        subprocess.run(["scancel", running[0]], env=environment, check=True)
        assert run.poll() is None
        said, _ = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert until(lambda: not jobs(), 10)
    assert tables(tmp_path / "out") == here


def test_all_jobs_cancelled_are_asked_for_again(
    night: Path,
    here: dict[str, bytes],
    environment: dict[str, str],
    jobs: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    soon = {**environment, "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "2s"}
    with started(night, tmp_path / "out", soon) as run:
        assert until(lambda: any((tmp_path / "out").rglob("light_curves/**/*.parquet")))
        subprocess.run(["scancel", *jobs()], env=environment, check=True)
        assert run.poll() is None
        said, _ = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert tables(tmp_path / "out") == here


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_jobs_go_with_their_client(
    night: Path,
    environment: dict[str, str],
    jobs: Callable[..., list[str]],
    tmp_path: Path,
    how: int,
    code: int,
) -> None:
    soon = {**environment, "DASK_JOBQUEUE__SLURM__DEATH_TIMEOUT": "5"}
    with started(night, tmp_path / "out", soon) as run:
        assert until(lambda: any((tmp_path / "out").rglob("light_curves/**/*.parquet")))
        run.send_signal(how)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == code, said
    assert until(lambda: not jobs(), 5 if how == signal.SIGINT else 30)


def test_a_run_that_fails_leaves_no_job(
    environment: dict[str, str], jobs: Callable[..., list[str]], tmp_path: Path
) -> None:
    opticam.simulate_night(opticam.Scene(n_frames=4, shape=(64, 72), n_stars=0, seed=3), tmp_path / "dark")
    with started(tmp_path / "dark", tmp_path / "out", environment) as run:
        assert until(jobs)
        said, _ = run.communicate(timeout=120)
    assert (run.returncode, said.splitlines()[-1][:6]) == (1, "error:")
    assert until(lambda: not jobs(), 10)


def test_a_queue_that_refuses_is_one_clear_line(
    night: Path, environment: dict[str, str], jobs: Callable[..., list[str]], tmp_path: Path
) -> None:
    nowhere = {**environment, "DASK_JOBQUEUE__SLURM__QUEUE": "nowhere"}
    with started(night, tmp_path / "out", nowhere) as run:
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "error: cluster 'slurm': the job was refused: sbatch: error:" in said
    assert "partition" in said.splitlines()[-1]
    assert jobs() == []


@pytest.mark.parametrize("script", ["client_in_the_job.sh", "client_on_the_login_node.sh"])
def test_the_documented_job_scripts(
    script: str,
    night: Path,
    here: dict[str, bytes],
    environment: dict[str, str],
    jobs: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    command = ["sbatch", "--wait", "--output=job.log", str(SCRIPTS / script), str(night), "out"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, timeout=180)
    assert done.returncode == 0, (tmp_path / "job.log").read_text()
    assert tables(tmp_path / "out") == here
    assert until(lambda: not jobs(), 15)

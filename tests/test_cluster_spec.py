"""What may be asked of each kind of cluster, and how the rest is refused."""

from __future__ import annotations

import importlib.util
from typing import Any

import click
import dask
import pytest
from click.testing import CliRunner

from opticam_dask.cli.options import cluster_options, config_option
from opticam_dask.cluster import jobqueue
from opticam_dask.cluster_spec import JOBQUEUE, LOCAL, RUNNING, THREADS, ClusterSpec, parse_workers, spec_of
from opticam_dask.errors import ClusterError


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (None, LOCAL),
        ("local", LOCAL),
        ("threads", THREADS),
        ("tls://node7:8786", RUNNING),
        ("scheduler.json", RUNNING),
        ("slurm", JOBQUEUE),
        ("sge", JOBQUEUE),
    ],
)
def test_a_place_has_a_kind(place: str | None, kind: str) -> None:
    assert ClusterSpec(place=place, workers=2).kind == kind


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"place": "tcp://a:1", "workers": (1, 4)}, r"'tcp://a:1' runs already.*workers as MIN:MAX"),
        ({"place": "s.json", "threads": 2}, "runs already, so threads.*--nthreads"),
        ({"place": "s.json", "memory": "2GB"}, "runs already, so memory.*--memory-limit"),
        ({"place": "threads", "workers": (1, 4)}, "'threads' has a fixed size"),
        ({"place": "slurm"}, "'slurm': say how many workers"),
        ({"place": "pbs", "workers": 2, "memory": "auto"}, "'pbs': memory 'auto'"),
        (
            {"place": "local", "job_options": {"queue": "long"}},
            "job_options are for batch queues.*not for local",
        ),
        ({"workers": 0}, "at least one worker"),
        ({"workers": (0, 0)}, "at least one worker"),
        ({"threads": 0}, "at least one worker and thread, not 1 and 0"),
        ({"workers": (5, 2)}, "5:2: give MIN:MAX"),
        ({"memory": "much"}, "memory limit 'much'"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_in_one_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ClusterError, match=message) as error:
        ClusterSpec(**asked)
    assert "\n" not in str(error.value)


def test_keywords_complete_a_spec_and_do_not_contradict_it() -> None:
    assert spec_of(ClusterSpec(threads=2), workers=(1, 3), memory=None).limits == (1, 3)
    assert spec_of("threads", workers=4) == ClusterSpec(place="threads", workers=4)
    with pytest.raises(ClusterError, match="workers is asked for twice: 2 and 3"):
        spec_of(ClusterSpec(workers=2), workers=3)


@pytest.mark.parametrize(("text", "workers"), [("7", 7), ("2:40", (2, 40)), ("0:3", (0, 3))])
def test_workers_are_a_number_or_a_range(text: str, workers: Any) -> None:
    assert parse_workers(text) == workers


def asked_for(*arguments: str) -> Any:
    """What a command gets."""

    @click.command()
    @cluster_options
    @config_option
    def command(cluster: ClusterSpec | None) -> None:
        asked.append(cluster)

    asked: list[ClusterSpec | None] = []
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    return asked[0] if done.exit_code == 0 else done.output


def test_a_command_gets_all_options_as_one(tmp_path: Any) -> None:
    assert asked_for() is None
    options = ("--workers", "2:8", "--threads", "2", "--memory", "3GB", "--dashboard", "--cluster", "slurm")
    assert asked_for(*options) == ClusterSpec(
        place="slurm", workers=(2, 8), threads=2, memory="3GB", dashboard=True
    )
    assert "such as 8, or a range" in asked_for("--workers", "many")
    (tmp_path / "here.toml").write_text('cluster = "pbs"\nworkers = 4\n')
    assert asked_for("--config", str(tmp_path / "here.toml")) == ClusterSpec(place="pbs", workers=4)


YAML: dict[str, Any] = {
    "jobqueue.slurm.cores": 8,
    "jobqueue.slurm.processes": 4,
    "jobqueue.slurm.memory": "16GB",
    "jobqueue.slurm.queue": "night",
    "jobqueue.slurm.walltime": "03:00:00",
    "jobqueue.slurm.job-script-prologue": ["module load python", "export OMP_NUM_THREADS=2"],
    "jobqueue.slurm.worker-extra-args": ["--resources", "GPU=1"],
    "jobqueue.slurm.job-extra-directives": ["--qos=fast"],
    "jobqueue.slurm.scheduler-options": {"host": "127.0.0.1", "port": 0},
}


def job_script(spec: ClusterSpec, **yaml: Any) -> str:
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("dask-jobqueue is not installed")
    slurm = jobqueue._package("slurm").slurm
    with dask.config.set({**YAML, **yaml}):
        options = jobqueue._options(spec)
        options.pop("scheduler_options")
        return str(slurm.SLURMJob("tcp://10.0.0.1:4", name="w", **options).job_script())


def test_a_job_is_what_the_users_yaml_says_and_ours_added() -> None:
    script = job_script(ClusterSpec(place="slurm", workers=8))
    for line in (
        "#SBATCH -p night",
        "#SBATCH -t 03:00:00",
        "#SBATCH --qos=fast",
        "#SBATCH --cpus-per-task=8",
    ):
        assert line in script
    assert (
        script.index("export OMP_NUM_THREADS=1")
        < script.index("export DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL=100ms")
        < script.index("module load")
        < script.index("NUM_THREADS=2")
    )
    for argument in (
        "--nworkers 4",
        "--nthreads 2",
        "--memory-limit 3.73GiB",
        "--resources GPU=1",
        "--preload opticam_dask.preload",
        "--dashboard-address 127.0.0.1:0",
        "--death-timeout 60",
    ):
        assert argument in script


def test_sizes_asked_for_are_those_of_a_worker() -> None:
    script = job_script(ClusterSpec(place="slurm", workers=8, threads=3, memory="2GB"))
    assert "--cpus-per-task=12" in script
    assert "--nthreads 3" in script
    assert "--memory-limit 1.86GiB" in script


def test_job_options_come_before_the_yaml() -> None:
    options = {"queue": "long", "worker_extra_args": ["--no-dashboard"]}
    script = job_script(ClusterSpec(place="slurm", workers=8, job_options=options))
    assert "#SBATCH -p long" in script
    assert "--no-dashboard --preload" in script
    assert "--dashboard-address" not in script

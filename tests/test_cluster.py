import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError as FutureCancelled

import dask
import dask.array as da
import numpy as np
import psutil
import pytest
from dask.utils import parse_bytes
from distributed.comm import CommClosedError

from opticam_dask import config
from opticam_dask.cluster import Runner, connect, run_tasks
from opticam_dask.cluster.local import kept_in_memory
from opticam_dask.errors import ClusterError, InputError, OpticamError, SchedulerLostError
from opticam_dask.kernel_cache import in_task
from opticam_dask.runner import active_client


def tasks_of(function, n):
    """One object per block: function(i) for i < n."""
    blocks = da.from_array(np.arange(n).astype(object), chunks=1)
    wrapped = _Each(function)
    return blocks.map_blocks(wrapped, dtype=object, meta=np.empty(0, object))


class _Each:
    def __init__(self, function):
        self.function = function

    def __call__(self, block):
        out = np.empty(1, object)
        out[0] = self.function(block.item())
        return out


def gone(pid, timeout=10):
    """Whether a process ends in time; one that its parent has yet to bury has ended."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def listening(process):
    return [c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN]


@pytest.mark.cluster
def test_results_come_in_order_and_nothing_runs_on_the_client(cluster):
    values = run_tasks(
        cluster, tasks_of(lambda i: (i, os.getpid(), np.full(3, i)), 40), "count", progress=False
    )
    assert [value[0] for value in values] == list(range(40))
    assert [value[2].tolist() for value in values] == [[i] * 3 for i in range(40)]
    workers = set(cluster.run(os.getpid).values())
    assert {value[1] for value in values} == workers
    assert os.getpid() not in workers


@pytest.mark.cluster
def test_one_task_a_block_and_nothing_kept_by_the_workers(cluster):
    # the log is of limited length, and may be full of what other tests did
    cluster.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_log.clear())
    run_tasks(cluster, tasks_of(lambda i: i, 30), "count", progress=False)
    seen = cluster.run_on_scheduler(
        lambda dask_scheduler: {entry[0] for entry in dask_scheduler.transition_log if entry[2] == "memory"}
    )
    assert 30 <= len(seen) <= 60
    for _ in range(100):
        held = cluster.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        if held == 0:
            break
        time.sleep(0.05)
    assert held == 0


@pytest.mark.cluster
def test_a_failing_block_is_named_after_its_retries(cluster, tmp_path):
    def fails(i):
        if i == 3:
            (tmp_path / f"try-{time.time_ns()}").touch()
            raise InputError("frame 7: no such star")
        return i

    with pytest.raises(OpticamError, match=r"measuring: block 4 of 6: frame 7: no such star") as error:
        run_tasks(cluster, tasks_of(fails, 6), "measuring", progress=False)
    assert isinstance(error.value.__cause__, InputError)
    assert len(list(tmp_path.iterdir())) == 1 + config.retries()


@pytest.mark.cluster
def test_a_passing_failure_is_tried_again(cluster, tmp_path):
    def fails_once(i):
        mark = tmp_path / str(i)
        if not mark.exists():
            mark.touch()
            raise OSError("the file server is away")
        return i

    assert run_tasks(cluster, tasks_of(fails_once, 4), "read", progress=False) == [0, 1, 2, 3]


@pytest.mark.cluster
def test_a_killed_worker_costs_nothing_but_time(cluster, tmp_path):
    def dies_once(i):
        mark = tmp_path / "died"
        if i == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    assert run_tasks(cluster, tasks_of(dies_once, 8), "survive", progress=False) == list(range(8))
    cluster.wait_for_workers(2, timeout=30)


@pytest.mark.parametrize(
    "noticed",
    [
        CommClosedError("in <ConnectionPool.gather>: OSError: [Errno 113] No route to host"),
        OSError("Timed out trying to connect to tcp://10.0.0.7:8786 after 30 s"),
        FutureCancelled("lost-connection"),
    ],
    ids=["under way", "not to be had", "given up"],
)
def test_a_scheduler_out_of_reach_is_one_clear_line_however_it_is_noticed(monkeypatch, noticed):
    def gather(futures):
        raise noticed

    with connect("threads") as client:
        monkeypatch.setattr(client, "gather", gather)
        with pytest.raises(
            SchedulerLostError, match=r"count: the connection .* was lost; run again"
        ) as error:
            run_tasks(client, tasks_of(lambda i: i, 3), "count", progress=False)
    assert error.value.__cause__ is noticed


@pytest.mark.cluster
def test_workers_are_single_threaded_processes_with_a_limit_on_loopback(cluster):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    for threads in cluster.run(lambda names: [os.environ[name] for name in names], names).values():
        assert threads == ["1"] * 4
    info = cluster.scheduler_info(n_workers=-1)["workers"].values()
    assert {(worker["nthreads"], worker["memory_limit"]) for worker in info} == {(1, 1_500_000_000)}
    me = psutil.Process()
    ips = {ip for process in [me, *me.children(recursive=True)] for ip in listening(process)}
    assert ips == {"127.0.0.1"}


@pytest.mark.cluster
def test_settings_of_the_client_reach_the_workers_it_starts_and_none_outlives_it():
    with dask.config.set({"opticam.block-bytes": "3MiB"}), connect("local", n_workers=1) as client:
        assert list(client.run(config.block_bytes).values()) == [3 * 2**20]
        pids = set(client.run(os.getpid).values())
        nannies = {psutil.Process(pid).ppid() for pid in pids}
    assert all(gone(pid) for pid in pids | nannies)


SCRIPT = """
import os
from opticam_dask.cluster import connect
print("started", flush=True)
with connect(n_workers=1) as client:
    print(*[*client.run(os.getpid).values()], flush=True)
    {then}
"""


@pytest.mark.cluster
def test_a_script_without_a_main_guard_starts_once_and_says_nothing_else(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(then="print(client.submit(lambda: 6 * 7).result())"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.split()
    assert (done.returncode, done.stderr, lines[0], lines[2:]) == (0, "", "started", ["42"])
    assert gone(int(lines[1]))


@pytest.mark.cluster
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_die_with_their_client(tmp_path, how):
    (tmp_path / "script.py").write_text(SCRIPT.format(then="import time; time.sleep(60)"))
    client = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with client:
        assert client.stdout.readline() == "started\n"
        worker = int(client.stdout.readline())
        nanny = psutil.Process(worker).ppid()
        client.send_signal(how)
        # not only when they give up looking for their scheduler
        assert gone(worker, timeout=5)
        assert gone(nanny, timeout=5)


@pytest.mark.cluster
def test_workers_have_what_tasks_need_before_the_first_comes():
    with connect("local", n_workers=1, memory_limit="800MB") as client:
        states = client.run(_prepared, 240)
        tasks = client.submit(in_task).result()
        kept = client.run(lambda: dask.config.get("distributed.worker.memory.target"))
    assert list(states.values()) == [(True, False, True)]
    # Only threads known to run tasks wait for kernels that another process compiles.
    assert tasks
    assert not in_task()
    # 100 MB of results: the rest of 800 MB is taken by what a worker is and does.
    assert list(kept.values()) == [pytest.approx(0.1)]


@pytest.mark.parametrize(
    ("asked", "limit", "share"),
    [
        (0.6, 1e9, 0.2),
        (0.6, 64e9, 0.6),
        (0.3, 4e9, 0.3),
        (0.6, 2e8, 0.1),
        (False, 1e9, False),
        (0.6, 0, False),
    ],
)
def test_results_wait_on_disk_where_a_worker_needs_its_memory_itself(asked, limit, share):
    with dask.config.set({"distributed.worker.memory.target": asked}):
        assert kept_in_memory(int(limit)) == pytest.approx(share)


def _prepared(patience):
    """Whether stages are imported, Earth orientation may come from the network, and kernels are loaded."""
    deadline = time.monotonic() + patience
    while any(thread.name == "opticam-kernels" for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    from astropy.utils import iers

    modules = [module for name, module in sys.modules.items() if name.startswith("opticam_dask.kernels.")]
    loaded = [item for module in modules for item in vars(module).values() if compiled(item)]
    return "opticam_dask.stages" in sys.modules, iers.conf.auto_download, len(loaded) > 10


def compiled(item):
    return bool(getattr(item, "nopython_signatures", ()))


@pytest.mark.cluster
def test_the_number_of_workers_follows_the_work():
    with connect("local", n_workers=(0, 2), memory_limit="600MB") as client:
        assert client.scheduler_info()["workers"] == {}
        pids = run_tasks(client, tasks_of(lambda i: os.getpid(), 6), "grow", progress=False)
        assert os.getpid() not in pids


@pytest.mark.cluster
def test_a_worker_killed_with_its_guardian_is_replaced():
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        connect("local", n_workers=1, memory_limit="600MB") as client,
    ):
        (worker,) = client.run(os.getpid).values()
        psutil.Process(psutil.Process(worker).ppid()).kill()
        assert run_tasks(client, tasks_of(lambda i: i, 2), "survive", progress=False) == [0, 1]


def test_two_clusters_are_each_their_owners_and_nobodys_default():
    with connect("threads", n_workers=1) as first:
        with connect("threads", n_workers=1) as second:
            assert active_client() is None
            assert Runner(second, progress=False)(tasks_of(lambda i: i, 2), "second") == [0, 1]
        assert Runner(first, progress=False)(tasks_of(lambda i: i, 2), "first") == [0, 1]


@pytest.mark.cluster
def test_an_address_and_a_scheduler_file_reach_a_running_scheduler(cluster, tmp_path):
    address = cluster.scheduler.address
    path = tmp_path / "scheduler.json"
    path.write_text(json.dumps({"address": address, "workers": {}}))
    for name in (address, str(path)):
        with connect(name, n_workers=2) as client:
            assert client.scheduler.address == address
    assert len(cluster.scheduler_info(n_workers=-1)["workers"]) == 2


@pytest.mark.cluster
def test_an_active_client_is_used_and_left_open(cluster):
    with cluster.as_current(), connect() as client:
        assert client is cluster
    assert cluster.status == "running"


def test_threads_run_here_and_close():
    with connect("threads", n_workers=2, memory_limit="300MB") as client:
        assert Runner(client, progress=False)(tasks_of(lambda i: os.getpid(), 3), "here") == [os.getpid()] * 3
        assert Runner(client)(tasks_of(lambda i: i, 3)[:0], "nothing") == []
        assert sum(client.nthreads().values()) == 2
        assert set(listening(psutil.Process())) == {"127.0.0.1"}
    assert client.status == "closed"


def test_the_dashboard_is_served_on_loopback_when_asked_for():
    pytest.importorskip("bokeh")
    with connect("threads", n_workers=1, dashboard=True) as client:
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        assert set(listening(psutil.Process())) == {"127.0.0.1"}


def test_a_dashboard_without_bokeh_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ClusterError, match="dashboard needs bokeh"), connect("threads", dashboard=True):
        pass


def test_the_bar_shows_what_is_done_and_how_fast(capsys):
    def slow(i):
        time.sleep(0.3)
        return i

    with connect("threads", n_workers=1) as client:
        Runner(client, progress=True)(tasks_of(slow, 3), "counting stars")
    shown = capsys.readouterr().err
    assert re.search(r"counting stars: +\d+%.* [12]/3 .*<.*(block/s|s/block)", shown)


@pytest.mark.parametrize(
    ("cluster_name", "options", "message"),
    [
        ("tcp://127.0.0.1:9", {}, "no scheduler could be reached"),
        ("nowhere://x", {}, "no scheduler could be reached"),
        ("no-such-file.json", {}, "give local, threads, a scheduler address"),
        ("local", {"n_workers": 0}, "at least one worker"),
        ("local", {"memory_limit": "much"}, "memory limit 'much'"),
    ],
)
def test_a_cluster_that_cannot_be_had_is_one_clear_line(cluster_name, options, message):
    with (
        dask.config.set({"opticam.connect-timeout": 0.5}),
        pytest.raises(ClusterError, match=message) as error,
        connect(cluster_name, **options),
    ):
        pass
    assert "\n" not in str(error.value)


def test_a_batch_queue_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with (
        pytest.raises(ClusterError, match=r"pip install 'opticam-dask\[hpc\]'"),
        connect("slurm", n_workers=2),
    ):
        pass


def test_a_scheduler_file_that_is_none_is_one_clear_line(tmp_path):
    (tmp_path / "scheduler.json").write_text("{")
    with (
        pytest.raises(ClusterError, match="is not a scheduler file"),
        connect(str(tmp_path / "scheduler.json")),
    ):
        pass


def test_engine_settings_are_read_from_dask_and_its_environment():
    assert config.block_bytes() == 128 * 2**20
    with dask.config.set({"opticam.block-bytes": "1MiB", "opticam.retries": 0}):
        assert (config.block_bytes(), config.retries()) == (2**20, 0)
    code = "from opticam_dask import config; print(config.block_bytes(), config.export_csv_group())"
    environment = {
        **os.environ,
        "DASK_OPTICAM__BLOCK_BYTES": "32MiB",
        "DASK_OPTICAM__EXPORT_CSV_GROUP": "7",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(parse_bytes("32MiB")), "7"]

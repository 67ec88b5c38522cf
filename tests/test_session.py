"""A session starts its cluster when it is needed or in the background, says what fails, and stops it."""

import gc
import subprocess
import sys
import threading

import psutil
import pytest
from distributed import Client

from opticam_dask.errors import ClusterError
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.session import Session


def doubled(number):
    return 2 * number


def tasks(n=3):
    return map_blocks_of_frames(doubled, list(range(n)))


@pytest.fixture
def session():
    with Session("threads", n_workers=1, progress=False) as session:
        yield session


def test_results_are_in_order_and_the_cluster_starts_once(session):
    first = session.begin()
    assert session(tasks(), "doubling") == [0, 2, 4]
    assert session.begin() is first


@pytest.mark.cluster
@pytest.mark.parametrize("compiled", [True, False])
def test_a_first_run_says_that_kernels_are_compiled(compiled, tmp_path, monkeypatch, capsys):
    known = tmp_path / "some.kernels"
    if compiled:
        known.touch()
    monkeypatch.setattr("opticam_dask.kernel_cache.known_kernels", lambda _: known)
    with Session("local", n_workers=1, progress=True) as session:
        session.begin().result()
    assert ("kernels are compiled" in capsys.readouterr().out) == (not compiled)


def test_nothing_to_do_starts_nothing(session):
    assert session(tasks(n=0), "nothing") == []
    assert session._opened is None


def test_a_closed_session_starts_again(session):
    before = session.begin()
    assert session(tasks(), "doubling") == [0, 2, 4]
    session.close()
    session.close()
    assert session(tasks(), "doubling") == [0, 2, 4]
    assert session.begin() is not before


def test_closing_while_the_cluster_starts_leaves_none_behind(session):
    before = set(threading.enumerate())
    starting = session.begin()
    session.close()
    assert starting.done()
    assert not {thread for thread in set(threading.enumerate()) - before if "opticam" in thread.name}


def test_a_session_that_nobody_closes_is_collected_where_nothing_may_wait_and_stops_all_the_same():
    before, kept, collected = (
        set(threading.enumerate()),
        [Session("threads", progress=False)],
        threading.Event(),
    )
    assert kept[0](tasks(), "doubling") == [0, 2, 4]
    client = kept[0].begin().result().client

    def collect():
        kept.clear()
        gc.collect()
        collected.set()

    # in the event loop that stopping the cluster needs
    client.loop.add_callback(collect)
    assert collected.wait(10)
    for thread in set(threading.enumerate()) - before:
        if "opticam" in thread.name:
            thread.join(20)
            assert not thread.is_alive()
    assert client.status == "closed"


@pytest.mark.cluster
def test_a_process_that_closes_nothing_ends_with_its_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(FORGETFUL)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr == ""
    (worker,) = map(int, done.stdout.split())
    # one that nobody buries has ended
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE


FORGETFUL = """
import os
from opticam_dask.session import Session

if __name__ == "__main__":
    session = Session("local", n_workers=1, progress=False)
    print(*session.begin().result().client.run(os.getpid).values())
"""


def test_what_went_wrong_in_the_background_is_raised_when_the_cluster_is_needed():
    session = Session("tcp:/nowhere", progress=False)
    session.begin()
    for _ in range(2):
        with pytest.raises(ClusterError, match="tcp:/nowhere"):
            session(tasks(), "doubling")


def test_a_client_active_in_the_callers_thread_alone_is_used_and_left_open():
    with Client(
        processes=False,
        n_workers=1,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        set_as_default=False,
    ) as client:
        with client.as_current(), Session(progress=False) as session:
            assert session(tasks(), "doubling") == [0, 2, 4]
            assert session.begin().result().client is client
        assert client.status == "running"

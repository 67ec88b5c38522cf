"""A session starts its cluster when it is needed or in the background, says what fails, and stops it."""

import threading

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
    assert session._starting is None


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

"""Who can reach a cluster: loopback only by default, and with TLS only those who hold a certificate."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Client, Security

from opticam_dask.cluster import connect

pytestmark = pytest.mark.cluster


def certificate(folder: Path, name: str) -> dict[str, str]:
    """Make a certificate that signs itself, and dask's settings that use it for every role."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, cert = str(folder / f"{name}.key"), str(folder / f"{name}.pem")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    roles = {
        f"distributed.comm.tls.{role}.{part}": path
        for role in ("scheduler", "worker", "client")
        for part, path in (("key", key), ("cert", cert))
    }
    return {"distributed.comm.tls.ca-file": cert, **roles}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ours")
    return {"distributed.comm.require-encryption": True, **certificate(folder, "ours")}


@pytest.fixture(scope="module")
def secured(ours: dict[str, Any]) -> Iterator[str]:
    """Address of a scheduler with TLS."""
    with dask.config.set(ours), connect("local", n_workers=1, memory_limit="600MB") as client:
        assert client.submit(os.getpid).result() != os.getpid()
        yield str(client.scheduler_info()["address"])


def test_with_tls_configured_all_talk_tls(secured: str, ours: dict[str, Any]) -> None:
    assert secured.startswith("tls://127.0.0.1:")
    with dask.config.set(ours), connect(secured, n_workers=1) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        (worker,) = client.scheduler_info(n_workers=-1)["workers"].values()
        assert worker["nanny"].startswith("tls://")


def test_who_has_no_certificate_is_refused(secured: str, tmp_path: Path) -> None:
    theirs = certificate(tmp_path, "theirs")
    for address, settings in [(secured.replace("tls", "tcp"), {}), (secured, theirs)]:
        with dask.config.set(settings), pytest.raises(OSError):
            Client(address, security=Security(require_encryption=bool(settings)), timeout=2)


def test_only_loopback_listens() -> None:
    """As `ss` sees it, for this process and all it has started, with everything on."""
    ss = shutil.which("ss")
    if ss is None:
        pytest.skip("ss (iproute2) is not installed")
    pytest.importorskip("bokeh")
    me = psutil.Process()
    before = listeners(ss)
    with connect("local", n_workers=2, memory_limit="600MB", dashboard=True):
        pids = {me.pid, *(child.pid for child in me.children(recursive=True))}
        ours = {(place, pid) for place, pid in listeners(ss) - before if pid in pids}
    # scheduler here; nanny and worker of each of two
    assert len({pid for _, pid in ours}) == 5
    assert {place.rpartition(":")[0] for place, _ in ours} <= {"127.0.0.1", "[::1]"}


def listeners(ss: str) -> set[tuple[str, int]]:
    """Address and process of every listener of this machine."""
    shown = subprocess.run([ss, "-ltnpH"], check=True, capture_output=True, text=True).stdout
    return {
        (line.split()[3], int(pid)) for line in shown.splitlines() for pid in re.findall(r"pid=(\d+)", line)
    }

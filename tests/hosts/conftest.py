"""Hosts that share a folder and a network, and nothing else: network namespaces on one machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

NAMES = ("client", "head", "north", "south")
PORT = 8786
# A cable pulled is noticed after so long; distributed waits 30 s, and asks for 11 s at least.
PATIENCE = "12s"
# A host's own view of the machine: its name, and neither the folders of other hosts nor shared memory.
ENTER = (
    'hostname "$1"; shift; while [ "$1" != -- ]; do mount -t tmpfs none "$1"; shift; done; shift; exec "$@"'
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.hosts)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _wait_for(what: Callable[[], object], seconds: float = 200.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


class Host:
    """A host with a name, an address, and folders of its own.

    ``share`` is the one folder that it has in common with others.
    """

    def __init__(self, name: str, number: int, base: Path, network: str) -> None:
        self.name, self.address = name, f"10.77.0.{number}"
        self.share, self.home = base / "share", base / name
        self.space, self._network, self._port = f"{network}-{name}", network, f"p-{name}"
        self._others = [str(base / other) for other in NAMES if other != name]
        self._running: list[subprocess.Popen[str]] = []
        for folder in (self.home, self.home / "tmp", self.home / "dask"):
            folder.mkdir()

    def connect(self) -> None:
        """Give the host its end of a cable, the other end of which is in the switch."""
        ip("netns", "add", self.space)
        ip("-n", self.space, "link", "set", "lo", "up")
        peer = ("type", "veth", "peer", "name", self._port, "netns", self._network)
        ip("-n", self.space, "link", "add", "eth0", *peer)
        ip("-n", self.space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.space, "link", "set", "eth0", "up")
        ip("-n", self._network, "link", "set", self._port, "master", "switch", "up")

    def cut(self) -> None:
        """Cut the cable: processes live on, what they send is lost, and nobody is told."""
        ip("-n", self._network, "link", "set", self._port, "down")

    def mend(self) -> None:
        """Mend the cable."""
        ip("-n", self._network, "link", "set", self._port, "up")

    def command(self, *words: object) -> tuple[list[str], dict[str, str]]:
        """Command line and environment that run something on this host."""
        inside = ["sh", "-c", ENTER, "sh", self.name, "/dev/shm", *self._others, "--", *map(str, words)]
        own = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "DASK_TEMPORARY_DIRECTORY": str(self.home / "dask"),
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": PATIENCE,
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": PATIENCE,
            "DASK_OPTICAM__FRAMES_PER_BLOCK": "1",
        }
        return ["ip", "netns", "exec", self.space, "unshare", "--uts", *inside], own

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Run a command in the background; its messages go to ``<command>.log``."""
        command, own = self.command(*words)
        with (self.home / f"{Path(str(words[0])).name}-{len(self._running)}.log").open("w") as log:
            process = subprocess.Popen(
                command, env=own, cwd=self.home, stdout=log, stderr=log, text=True, start_new_session=True
            )
        self._running.append(process)
        return process

    def messages(self) -> str:
        """What the last command in the background said."""
        return max(self.home.glob("*.log"), key=lambda log: log.stat().st_mtime_ns).read_text()

    def run(self, *words: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command, own = self.command(*words)
        return subprocess.run(
            command, env=own, cwd=self.home, capture_output=True, text=True, timeout=timeout, check=False
        )

    def close(self) -> None:
        """End what runs here, and pull the host out."""
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        subprocess.run(["ip", "netns", "del", self.space], check=False, capture_output=True)


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Host]]:
    """Hosts by name: a client, a head with the scheduler, and two with a worker each, not yet started."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))):
        pytest.skip("network namespaces need root, ip and unshare")
    base, network = tmp_path_factory.mktemp("site"), f"oc{os.getpid()}"
    (base / "share").mkdir()
    with ExitStack() as stack:
        ip("netns", "add", network)
        stack.callback(subprocess.run, ["ip", "netns", "del", network], check=False, capture_output=True)
        ip("-n", network, "link", "add", "switch", "type", "bridge")
        ip("-n", network, "link", "set", "switch", "up")
        made = {name: Host(name, number, base, network) for number, name in enumerate(NAMES, 1)}
        for host in made.values():
            stack.callback(host.close)
            host.connect()
        yield made


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., None]:
    """Wait until something is true: ``wait_for(what)``."""
    return _wait_for


@pytest.fixture(scope="session")
def address(hosts: dict[str, Host]) -> str:
    """Address of a scheduler on the head, which both workers have joined."""
    head = hosts["head"]
    file = head.share / "scheduler.json"
    places = ("--host", head.address, "--port", PORT, "--no-dashboard", "--scheduler-file", file)
    head.start("dask", "scheduler", *places)
    _wait_for(file.exists)
    for name in ("north", "south"):
        start_worker(hosts[name])
    found = str(json.loads(file.read_text())["address"])
    assert found == f"tcp://{head.address}:{PORT}"
    return found


def start_worker(host: Host) -> subprocess.Popen[str]:
    """Worker of one thread that finds the scheduler by its file."""
    options = ("--nthreads", 1, "--host", host.address, "--no-dashboard", "--name", host.name)
    preload = ("--preload", "opticam_dask.preload")
    file = ("--scheduler-file", host.share / "scheduler.json")
    return host.start("dask", "worker", *file, *options, *preload)

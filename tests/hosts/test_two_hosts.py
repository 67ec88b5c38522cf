"""Workers on two other hosts give what one machine gives, to the last bit, whatever the network does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

import nbformat
import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.simulate import CameraSetup
from opticam_dask.tables.parts import existing_parts

JOB = Path(__file__).with_name("job.py")
N_FRAMES = 20
# The module beside the script or notebook: no host but the client's has it.
BESIDE = """
import numpy as np

def quartiles(data):
    low, middle, high = np.quantile(data, (0.25, 0.5, 0.75))
    return float(middle), float(high - low) / 1.349
"""
CELL = """
def level(data, position, semimajor_axis, semiminor_axis, orientation):
    import socket
    (SHARE / "seen" / socket.gethostname()).touch()
    return beside.quartiles(np.asarray(data) + OFFSET)
"""
CELLS = (
    """
from pathlib import Path
import numpy as np
import opticam_dask as opticam
import beside
SHARE, OFFSET = Path({share!r}), 3.0
""",
    CELL,
    """
reducer = opticam.Reducer({out!r}, SHARE / "data", cluster={cluster!r}, verbose=False, show_plots=False)
reducer.create_catalogs(max_catalog_sources=6)
photometer = opticam.AperturePhotometer(forced=True, local_background_estimator=level)
reducer.photometry(photometer, export_csv=False)
reducer.close()
""",
)


@pytest.fixture(scope="session")
def share(hosts: Any) -> Path:
    """The common folder, with a night in it."""
    share: Path = hosts["client"].share
    scene = opticam.Scene(
        n_frames=N_FRAMES,
        shape=(121, 143),
        n_stars=6,
        flux_range=(5e3, 5e4),
        min_separation_px=15.0,
        semimajor_sigma=2.2,
        semiminor_sigma=1.5,
        orientation=37.0,
        drift_px_per_hour=(3000.0, -2000.0),
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        pointing=(83.6, 22.0),
        seed=8,
    )
    opticam.simulate_night(scene, share / "data")
    return share


@pytest.fixture(scope="session")
def client(hosts: Any) -> Any:
    """The user's own host."""
    (hosts["client"].home / "beside.py").write_text(BESIDE)
    shutil.copy(JOB, hosts["client"].home)
    return hosts["client"]


@pytest.fixture
def seen(share: Path) -> Iterator[Callable[[], set[str]]]:
    """What the job's estimator left; nobody is held up at the start, nor at the end."""
    for folder in ("seen", "hold"):
        (share / folder).mkdir()
    yield lambda: {path.name for path in (share / "seen").iterdir()}
    for folder in ("seen", "hold"):
        shutil.rmtree(share / folder)


@pytest.fixture(scope="session")
def undisturbed(client: Any, share: Path) -> dict[str, bytes]:
    """Parts of the job as one machine makes them."""
    for folder in ("seen", "hold"):
        (share / folder).mkdir()
    done = client.run("python", "job.py", "threads", share / "data", share / "undisturbed")
    for folder in ("seen", "hold"):
        shutil.rmtree(share / folder)
    assert done.returncode == 0, done.stderr
    return parts(share / "undisturbed")


def parts(out: Path) -> dict[str, bytes]:
    """Bytes of every file of the light curves, by path."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.glob("lcs/*/light_curves/*/*/*")}
    assert found
    return found


def check_rows(out: Path) -> None:
    """Every source of every frame is there once, with a flux."""
    rows = opticam.open_light_curves(out).compute()
    assert not rows.duplicated(["camera", "source", "frame"]).any()
    assert rows.groupby("camera")["frame"].nunique().tolist() == [N_FRAMES, N_FRAMES]
    assert rows["flux"].notna().all()


def test_the_hosts_share_nothing_but_a_folder(hosts: Any, share: Path) -> None:
    (hosts["north"].home / "mine").touch()
    look = "import socket, sys, pathlib; print(socket.gethostname(), pathlib.Path(sys.argv[1]).exists())"
    for name, host in hosts.items():
        told = host.run("python", "-c", look, hosts["north"].home / "mine").stdout.split()
        assert told == [name, str(name == "north")]
        assert host.run("ls", share / "data").stdout
    assert hosts["south"].run("python", "-c", "import beside").returncode == 1
    assert "10.77.0" not in subprocess.run(["ip", "addr"], capture_output=True, text=True).stdout


@pytest.mark.parametrize("by", ["address", "file"])
def test_reduce_gives_the_bits_of_one_machine(client: Any, share: Path, address: str, by: str) -> None:
    cluster = address if by == "address" else share / "scheduler.json"
    for place, out in ((cluster, share / f"by-{by}"), ("threads", share / f"threads-{by}")):
        command = ("opticam-dask", "reduce", share / "data", out, "--cluster", place, "--no-figures")
        done = client.run(*command)
        assert done.returncode == 0, done.stderr
    assert parts(share / f"by-{by}") == parts(share / f"threads-{by}")
    alignment = [pd.read_parquet(share / f"{place}-{by}/alignment.parquet") for place in ("by", "threads")]
    pd.testing.assert_frame_equal(*alignment)
    check_rows(share / f"by-{by}")


def test_an_estimator_of_a_notebook_cell_and_a_module_beside_it(
    hosts: Any, client: Any, share: Path, address: str, seen: Callable[[], set[str]]
) -> None:
    kinds = {"hosts": (address, {"north", "south"}), "one": ("threads", {"client"})}
    for name, (cluster, expected) in kinds.items():
        out = share / f"notebook-{name}"
        values = {"share": str(share), "cluster": cluster, "out": str(out)}
        texts = [text if text is CELL else text.format(**values) for text in CELLS]
        cells = [nbformat.v4.new_code_cell(text) for text in texts]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), client.home / f"{name}.ipynb")
        done = client.run("jupyter", "nbconvert", "--to", "notebook", "--execute", f"{name}.ipynb")
        assert done.returncode == 0, done.stderr[-3000:]
        assert expected <= seen() <= expected | {"client"}
        for host in seen():
            (share / "seen" / host).unlink()
    assert parts(share / "notebook-hosts") == parts(share / "notebook-one")
    check_rows(share / "notebook-hosts")
    assert opticam.open_light_curves(share / "notebook-hosts").compute()["bkg"].between(95, 115).all()


def measured(out: Path) -> int:
    """Frames of both cameras that are on disk, in parts of any size."""
    return sum(stop - start for _, _, start, stop in existing_parts(dataset(out)))


def dataset(out: Path) -> Path:
    return out / "lcs/forced_aperture_annulus/light_curves"


def test_a_worker_host_that_is_cut_off_costs_time_only(
    hosts: Any,
    client: Any,
    share: Path,
    address: str,
    undisturbed: dict[str, bytes],
    seen: Callable[[], set[str]],
    wait_for: Callable[..., None],
) -> None:
    out, held = share / "cut", share / "hold/south"
    held.touch()
    job = client.start("python", "job.py", address, share / "data", out)
    wait_for(lambda: "south held" in seen() or job.poll() is not None)
    hosts["south"].cut()
    # The other host measures what the lost one had; then the lost one awakes, and ends what it was at.
    wait_for(lambda: measured(out) == 2 * N_FRAMES or job.poll() is not None)
    held.unlink()
    wait_for(lambda: job.poll() is not None)
    assert job.returncode == 0, client.messages()
    wait_for(lambda: "south released" in seen())
    sleep(1.0)
    assert parts(out) == undisturbed
    check_rows(out)
    hosts["south"].mend()
    sleep(1.0)
    assert parts(out) == undisturbed


def test_a_client_host_that_is_cut_off_leaves_what_is_done(
    hosts: Any,
    client: Any,
    share: Path,
    address: str,
    undisturbed: dict[str, bytes],
    seen: Callable[[], set[str]],
    wait_for: Callable[..., None],
) -> None:
    out = share / "lonely"
    job = client.start("python", "job.py", address, share / "data", out)
    wait_for(lambda: measured(out) > 0 or job.poll() is not None)
    for name in ("north", "south"):
        (share / "hold" / name).touch()
    wait_for(lambda: "north held" in seen() or job.poll() is not None)
    client.cut()
    wait_for(lambda: job.poll() is not None)
    assert job.returncode == 1
    assert "connection to the dask scheduler was lost; run again" in client.messages()
    client.mend()
    for held in (share / "hold").iterdir():
        held.unlink()
    wait_for(lambda: "north released" in seen())
    sleep(1.0)
    old = existing_parts(dataset(out))
    done = client.run("python", "job.py", address, share / "data", out)
    assert done.returncode == 0, done.stderr
    assert 0 < len(old) < 2 * N_FRAMES
    assert done.stdout == f"{2 * N_FRAMES - len(old)} blocks\n"
    assert parts(out) == undisturbed

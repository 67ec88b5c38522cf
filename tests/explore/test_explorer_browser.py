"""The explorer in a running Jupyter server: moved, clicked and counted from outside."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import opticam_dask as opticam
from opticam_dask.simulate import CameraSetup

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE = 180_000  # ms: the machine may be busy
OPEN = """
import sys
from pathlib import Path

LOG = Path("opened.txt").absolute()
LOG.touch()

def note(event, args):
    if event == "open" and isinstance(args[0], str) and "/data/" in args[0]:
        with LOG.open("a") as log:
            log.write(args[0] + "\\n")

sys.addaudithook(note)  # whoever opens a frame in this process, by whatever way

from opticam_dask.explore import CubeExplorer

explorer = CubeExplorer("out")
"""
TELL = """
import json

frames = explorer.model.frames(explorer.camera)
panel = explorer.view.image.ax
stars = panel.transData.transform(frames.sources(explorer.index).xy).tolist()
curve = explorer.view.curve.ax
Path("state.json").write_text(json.dumps({
    "camera": explorer.camera, "index": explorer.index, "source": explorer.source, "stars": stars,
    "frames": explorer.frames_read, "parts": explorer.parts_read, "title": curve.get_title(),
    "points": [line.get_ydata().tolist() for c in curve.containers for line in c.lines[:1]],
}))
print("told")
"""
# sums of the red channel left and right of the middle of the figure
PIXELS = """() => {
    const canvas = document.querySelector(".jupyter-matplotlib-canvas-container canvas")
    const half = Math.floor(canvas.width / 2), pen = canvas.getContext("2d")
    const sum = x => {
        const data = pen.getImageData(x, 0, half, canvas.height).data
        let hash = 0
        for (let i = 0; i < data.length; i += 4) hash = (hash * 31 + data[i]) % 4294967291
        return hash
    }
    return [canvas.width, canvas.height, sum(0), sum(half)]
}"""


class Lab(NamedTuple):
    url: str
    folder: Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nbformat = pytest.importorskip("nbformat")
    folder = tmp_path_factory.mktemp("lab")
    scene = opticam.Scene(
        n_frames=24,
        shape=(151, 173),
        n_stars=5,
        flux_range=(2e4, 2e5),
        min_separation_px=30.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        pointing=(83.6, 22.0),
        seed=8,
    )
    opticam.simulate_night(scene, folder / "data")
    with opticam.Reducer(
        folder / "out", folder / "data", verbose=False, show_plots=False, cluster="threads"
    ) as reducer:
        reducer.create_catalogs()
        reducer.photometry(opticam.OptimalPhotometer(forced=True), export_csv=False)
    cells = [nbformat.v4.new_code_cell(text.strip()) for text in (OPEN, TELL, "explorer")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "night.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[Lab]:
    """A server of its own on loopback, with a token, and settings of nobody."""
    pytest.importorskip("jupyterlab")
    pytest.importorskip("ipympl")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    own = {name: str(folder / ".own" / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    environ = {**os.environ, **{f"JUPYTER_{name}_DIR": path for name, path in own.items()}}
    environ |= {"IPYTHONDIR": str(folder / ".own" / "ipython"), "JUPYTER_TOKEN": token}
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command += ["--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=folder)
        try:
            wait_for_server(f"http://127.0.0.1:{port}/api", server)
            yield Lab(f"http://127.0.0.1:{port}/doc/tree/night.ipynb?token={token}", folder)
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_for_server(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(360):
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("no answer from the server")


@pytest.fixture
def page(lab: Lab) -> Iterator[tuple[Any, list[str]]]:
    sync = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=list(QUIET), timeout=PATIENCE)
        page = chromium.new_page(viewport={"width": 1400, "height": 1100})
        page.set_default_timeout(PATIENCE)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        page.on("request", lambda each: wrong.append(each.url) if is_outside(each.url) else None)
        yield page, wrong
        chromium.close()


def is_outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:"))


def opened(folder: Path) -> list[str]:
    """Frames opened by the kernel, in order."""
    return [Path(line).name for line in (folder / "opened.txt").read_text().splitlines()]


def state(page: Any, folder: Path) -> dict[str, Any]:
    """Run the cell that tells what the explorer shows."""
    told = folder / "state.json"
    told.unlink(missing_ok=True)
    page.locator(".jp-CodeCell").nth(1).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    for _ in range(600):
        if told.exists() and told.read_text().endswith("}"):
            return dict(json.loads(told.read_text()))
        page.wait_for_timeout(100)
    raise AssertionError("the cell did not run")


def changed(page: Any, before: list[int], part: int) -> list[int]:
    """Wait until a half of the figure looks different and has settled."""
    last, same = before, 0
    for _ in range(900):
        page.wait_for_timeout(200)
        now = page.evaluate(PIXELS)
        same = same + 1 if now == last else 0
        last = now
        if now[part] != before[part] and same >= 3:
            return list(now)
    raise AssertionError("the figure did not change")


def names(folder: Path, camera: str, indices: list[int]) -> list[str]:
    cube = opticam.open_observation(folder / "data")[camera]
    return [Path(str(path)).name for path in cube["path"].to_numpy()[indices]]


@pytest.mark.browser
@pytest.mark.timeout(1200)
def test_sliders_show_frames_that_alone_are_read_and_a_click_shows_a_curve(
    page: tuple[Any, list[str]], lab: Lab, tmp_path: Path
) -> None:
    tab, wrong = page
    tab.goto(lab.url)
    tab.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    tab.wait_for_timeout(1000)
    tab.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    tab.wait_for_selector(".jupyter-matplotlib-canvas-container canvas")
    first = changed(tab, [0, 0, 0, 0], 2)
    shown = names(lab.folder, "1:g", [0])
    assert opened(lab.folder) == shown

    # the time slider, by keys: every stop is a frame shown
    sliders = tab.locator(".jp-OutputArea-output .noUi-handle")
    sliders.nth(1).focus()
    tab.keyboard.press("ArrowRight")
    second = changed(tab, first, 2)
    tab.keyboard.press("ArrowRight")
    third = changed(tab, second, 2)
    assert third[2] != first[2]
    shown += names(lab.folder, "1:g", [1, 2])
    assert opened(lab.folder) == shown

    # by its number: the frames between are not read
    readout = tab.locator(".jp-OutputArea-output .widget-slider .widget-readout").nth(1)
    readout.fill("17")
    readout.press("Enter")
    fourth = changed(tab, third, 2)
    shown += names(lab.folder, "1:g", [17])
    assert opened(lab.folder) == shown

    # back to one that was seen: nothing is read again
    readout.fill("1")
    readout.press("Enter")
    fifth = changed(tab, fourth, 2)
    assert opened(lab.folder) == shown
    tab.screenshot(path=tmp_path / "frame.png")

    # a star: its curve, and cutouts of eight frames, of which 0 and 17 were not both seen before
    before = state(tab, lab.folder)
    assert (before["camera"], before["index"], before["source"], before["points"]) == ("1:g", 1, 0, [])
    box = tab.locator(".jupyter-matplotlib-canvas-container canvas").first.bounding_box()
    x, y = before["stars"][1]
    tab.mouse.click(box["x"] + x, box["y"] + box["height"] - y)
    starred = changed(tab, fifth, 3)
    now = state(tab, lab.folder)
    curve = opticam.light_curve(lab.folder / "out", camera="1:g", source=2)
    assert now["source"] == 2
    assert "source 2" in now["title"]
    assert now["points"] == [curve["flux"].tolist()]
    cut = [0, 3, 7, 10, 13, 16, 20, 23]
    assert sorted(opened(lab.folder)) == sorted(shown + names(lab.folder, "1:g", [i for i in cut if i]))
    assert (now["frames"], now["parts"]) == (4, 7)
    tab.screenshot(path=tmp_path / "star.png")

    # the camera slider: the other camera at the same moment
    read = opened(lab.folder)
    sliders.nth(0).focus()
    tab.keyboard.press("ArrowRight")
    changed(tab, starred, 2)
    assert opened(lab.folder) == [*read, *names(lab.folder, "2:r", [1])]
    assert state(tab, lab.folder)["camera"] == "2:r"
    tab.screenshot(path=tmp_path / "camera.png")
    assert not wrong

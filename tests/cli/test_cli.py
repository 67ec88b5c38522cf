"""The command line: help, configuration, exit codes, one-line errors."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from tqdm import tqdm

from opticam_dask.cli import COMMANDS, INTERRUPTED, main
from opticam_dask.progress import progress_bar
from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables.parts import write_part


@pytest.fixture
def opticam(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["opticam-dask", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    values: dict[str, Any] = {name: [0.0, 0.0, 0.0] for name in LIGHT_CURVES.names}
    for camera in ("1:g", "2:r"):
        values |= {
            "night": ["2024-01-01"] * 3,
            "camera": [camera] * 3,
            "filter": [camera[-1]] * 3,
            "source": [1, 1, 2],
            "frame": [0, 1, 0],
            "BMJD": [60310.1, 60310.2, 60310.1],
            "MJD": [60310.1, 60310.2, 60310.1],
            "flux": [10.5, 11.5, 3.0],
            "flux_err": [1.0, 1.0, 1.0],
            "flags": [0, 0, 0],
        }
        table = pa.table([pa.array(values[f.name], f.type) for f in LIGHT_CURVES], schema=LIGHT_CURVES)
        write_part(table, tmp_path / "out/lcs/optimal/light_curves", ("2024-01-01", camera, 0, 2), {})
    return tmp_path / "out"


def test_every_command_has_help_with_an_example(opticam: Any) -> None:
    code, out, _ = opticam("--help")
    assert code == 0
    for name in COMMANDS:
        assert name in out
        code, said, _ = opticam(name, "--help")
        assert code == 0
        assert "Example" in said
        assert f"opticam-dask {name}" in said


def test_a_wrong_option_is_said_in_one_line(opticam: Any) -> None:
    code, _, err = opticam("reduce", "a", "b", "--photometer", "psf")
    assert code == 2
    assert "psf" in err
    assert "Traceback" not in err


def test_configuration_file_sets_options_and_refuses_unknown_ones(opticam: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("photometer = 'psf'")
    bad.write_text("treshold = 4.0")
    assert opticam("reduce", "a", "b", "--config", good)[0] == 2
    code, _, err = opticam("reduce", "a", "b", "--config", bad)
    assert code == 2
    assert "treshold" in err
    assert "threshold" in err


def test_configuration_file_spells_options_as_the_command_line_does(opticam: Any, tmp_path: Path) -> None:
    config = tmp_path / "night.toml"
    config.write_text("instrument = 'no such thing'")
    code, _, err = opticam("scan", tmp_path, "--config", config)
    assert code == 1
    assert "no such thing: neither a file nor a built-in instrument" in err
    config.write_text(
        "frames = 2\nshape = '48x56'\nstars = 2\ncompression = 'none'\nset = ['cameras=[\"g\"]']"
    )
    code, out, err = opticam("simulate", tmp_path / "night", "--config", config)
    assert code == 0, err
    assert "2 frames" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_configuration_file(opticam: Any, tmp_path: Path, command: str) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text("no-such-option = 1")
    code, _, err = opticam(command, "--config", config)
    assert code == 2
    assert "no-such-option" in err


def test_light_curve_prints_saves_and_draws(opticam: Any, curves: Path, tmp_path: Path) -> None:
    code, out, _ = opticam("light-curve", curves, "--source", 1, "--camera", "1:g")
    assert code == 0
    assert out.splitlines()[0].startswith("night,camera,filter,source,frame,BMJD")
    assert len(out.splitlines()) == 3
    saved, drawn = tmp_path / "star.csv", tmp_path / "star.png"
    code, _, _ = opticam("light-curve", curves, "--source", 1, "--csv", saved, "--plot", drawn)
    assert code == 0
    assert pd.read_csv(saved)["flux"].tolist() == [10.5, 11.5, 10.5, 11.5]
    assert drawn.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--source", 9), "9"),
        (("--source", 1, "--camera", "3:z"), "3:z"),
        (("--source", 1, "--plot", "a.bmp"), ".png"),
    ],
)
def test_light_curve_that_is_not_there(opticam: Any, curves: Path, arguments: Any, words: str) -> None:
    code, _, err = opticam("light-curve", curves, *arguments)
    assert code != 0
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("option", ["--csv", "--plot"])
def test_light_curve_that_cannot_be_written(opticam: Any, curves: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    code, _, err = opticam("light-curve", curves, "--source", 1, option, tmp_path / "file" / "star.png")
    assert code == 1
    assert err.startswith("error: ")
    assert "star.png: cannot be written" in err
    assert len(err.splitlines()) == 1


def test_simulate_then_scan(opticam: Any, tmp_path: Path) -> None:
    code, out, err = opticam(
        "simulate", tmp_path / "night", "--frames", 3, "--shape", "64x80", "--stars", 3, "--set", "seed=4"
    )
    assert code == 0, err
    assert "9 frames" in out
    code, out, _ = opticam("scan", tmp_path / "night")
    assert code == 0
    assert "3 1:g images" in out


def test_scan_shows_how_far_it_is(opticam: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opticam("simulate", tmp_path / "night", "--frames", 2, "--shape", "48x56", "--stars", 2)
    bar = partial(tqdm, mininterval=0.0)
    monkeypatch.setattr("opticam_dask.cli.scan.tqdm", lambda **options: bar(**{**options, "delay": 0.0}))
    code, out, err = opticam("scan", tmp_path / "night")
    assert code == 0
    assert "2 3:i images" in out
    assert "6/6" in err
    assert "file/s" in err


def test_simulate_shows_how_far_it_is(opticam: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opticam_dask.simulate.progress.progress_bar", _bar_at_once)
    arguments = ("--frames", 2, "--shape", "48x56", "--stars", 2)
    code, _, err = opticam("simulate", tmp_path / "night", *arguments)
    assert code == 0
    assert "6/6" in err
    assert "image/s" in err


def _bar_at_once(*what: Any, delay_s: float, **how: Any) -> Any:
    return progress_bar(*what, **how)


def test_simulate_names_the_unknown_parameter(opticam: Any, tmp_path: Path) -> None:
    code, _, err = opticam("simulate", tmp_path / "night", "--set", "sigma=3")
    assert code == 1
    assert "sigma" in err
    assert not (tmp_path / "night").exists()


def test_interrupt_has_its_own_exit_code(opticam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("opticam_dask.observation.check_data", interrupt)
    code, _, err = opticam("scan", "somewhere")
    assert code == INTERRUPTED
    assert "interrupted" in err


def test_a_scan_that_finds_no_usable_frame_has_not_done_its_job(opticam: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.fits").write_text("no frame")
    code, out, _ = opticam("scan", tmp_path)
    assert code == 1
    assert "No frame can be used" in out


def test_scan_on_a_cluster_says_the_same(opticam: Any, tmp_path: Path) -> None:
    night = tmp_path / "night"
    # More files than one batch of headers holds.
    opticam("simulate", night, "--frames", 50, "--shape", "40x48", "--stars", 0)
    here = opticam("scan", night)[1]
    there = opticam("scan", night, "--cluster", "threads")[1]
    assert "50 1:g images" in here
    assert there == here


def test_examples_keep_their_lines(opticam: Any) -> None:
    said = opticam("simulate", "--help")[1]
    examples = [line for line in said.splitlines() if line.strip().startswith("opticam-dask simulate night")]
    assert len(examples) == 4
    assert "\\b" not in said

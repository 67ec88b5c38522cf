"""``opticam-dask simulate``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from opticam_dask.cli.options import config_option
from opticam_dask.errors import InputError

EPILOG = """\b
Examples:
  opticam-dask simulate night1 --frames 300 --stars 60 --set semimajor_sigma=4.0 --set semiminor_sigma=2.5
  opticam-dask simulate night2 --set 'cameras=[{filter="g", cadence_s=2.0}, "r"]' --compression fz
  opticam-dask simulate night3 --set 'clouds=[{start=40, stop=60, extinction_mag=1.0}]'
  opticam-dask simulate night4 --calibration 20 --set bias=100 --set bias_structure=3 --set prnu=0.01
"""


@click.command("simulate", epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--frames", "n_frames", type=click.IntRange(min=1), help="Frames per camera [100].")
@click.option("--stars", "n_stars", type=click.IntRange(min=0), help="Number of stars [20].")
@click.option("--shape", metavar="ROWSxCOLUMNS", help="Size of a frame [512x512].")
@click.option("--seed", type=int, help="Seed [123].")
@click.option("--compression", type=click.Choice(["none", "gz", "fz"]), help="Of the files [gz].")
@click.option(
    "--scene",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file with any of the scene's parameters; options here come on top.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any parameter of the scene, the value as in TOML; may be repeated.",
)
@click.option(
    "--calibration",
    type=click.IntRange(min=1),
    metavar="N",
    help="Write N bias frames, dark frames and flat fields per camera too, into OUT/calibration.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Threads [one a core].")
@click.option("--overwrite", is_flag=True, help="Replace frames that are there.")
@config_option
def command(
    out: Path,
    scene: Path | None,
    settings: tuple[str, ...],
    calibration: int | None,
    workers: int | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Simulate a night of several cameras into OUT, with a table of the true positions and fluxes.

    The same seed gives the same files, whatever the number of workers. Every parameter of the scene can be
    given with --set or in a file: PSF width, ellipticity and angle (semimajor_sigma, semiminor_sigma,
    orientation), drift_px_per_hour, rotation_deg_per_hour, seeing_change, clouds, hot_pixels, cosmic_rays,
    saturation, sky_gradient, cameras with their own cadence, and more: see `opticam_dask.Scene`.
    """
    from opticam_dask.simulate import Scene, simulate_calibration
    from opticam_dask.simulate.progress import simulate_with_bar

    values = _toml(scene.read_text(), str(scene)) if scene else {}
    values |= {key: value for key, value in options.items() if value is not None}
    if isinstance(values.get("shape"), str):
        values["shape"] = _shape(values["shape"])
    for setting in settings:
        values |= _toml(setting, f"--set {setting}")
    made = Scene.from_mapping(values)
    night = simulate_with_bar(made, out, overwrite=overwrite, workers=workers, delay_s=0.5)
    click.echo(f"{len(night)} frames in {out}; the truth is in {night.truth}")
    if calibration:
        folder, n = out / "calibration", calibration
        frames = simulate_calibration(
            made, folder, n_bias=n, n_dark=n, n_flat=n, overwrite=overwrite, workers=workers
        )
        click.echo(f"{len(frames)} calibration frames in {folder}")


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: {error}") from error


def _shape(text: str) -> list[int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdigit() and columns.isdigit()):
        raise InputError(f"--shape must be ROWSxCOLUMNS, such as 512x512, not {text!r}")
    return [int(rows), int(columns)]

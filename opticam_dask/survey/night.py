"""One night of a survey: an ordinary reduction into a folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from opticam_dask.errors import CatalogError, InputError
from opticam_dask.survey.arrivals import nights_folder

if TYPE_CHECKING:
    from distributed import Client

    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.survey.options import SurveyOptions

UNUSABLE = (InputError, CatalogError)
"""Errors that these frames with these settings give every time."""


class NightFiles(Sequence[str]):
    """Paths of a night's files; as text it is short, for logs and messages.

    Parameters
    ----------
    night : str
        The night.
    paths : sequence of str
        The files.
    """

    def __init__(self, night: str, paths: Sequence[str]) -> None:
        self.night, self._paths = night, list(paths)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._paths[index]

    def __len__(self) -> int:
        return len(self._paths)

    def __str__(self) -> str:
        return f"night {self.night} ({len(self)} files)"


def reduce_night(
    night: str,
    out: Path,
    options: SurveyOptions,
    photometers: Sequence[BasePhotometer],
    *,
    cluster: Client,
    export_csv: bool = False,
    figures: bool | None = None,
    verbose: bool = False,
) -> None:
    """Reduce the files that the frame index of a night lists.

    What stands there and still holds is not made again; what was made with other settings, or from other
    frames, is replaced: whether that may be is decided before.

    Parameters
    ----------
    night : str
        The night.
    out : Path
        The survey.
    options : SurveyOptions
        How to reduce.
    photometers : sequence of BasePhotometer
        What measures the light curves.
    cluster : distributed.Client
        Where to compute.
    export_csv : bool
        Whether to write one CSV file per source too.
    figures : bool, optional
        Whether to draw figures of the night, as for `Reducer`.
    verbose : bool
        Whether to print what the reduction says; its log gets it in any case.

    Raises
    ------
    OpticamError
        If the night gives no light curves.
    """
    from opticam_dask.io.frame_index import read_frames
    from opticam_dask.reducer import Reducer

    folder = nights_folder(out) / night
    files = NightFiles(night, read_frames(folder / "frames.parquet")["path"].unique().tolist())
    arguments: dict[str, Any] = options.reducer_arguments(out)
    arguments |= {"cluster": cluster, "figures": figures, "verbose": verbose, "show_plots": False}
    with Reducer(folder, files, **arguments) as reducer:
        reducer.create_catalogs(**options.catalog_arguments(), overwrite=True)
        reducer.photometry(photometers, overwrite=True, export_csv=export_csv)

"""Exceptions of opticam_dask: each message is one line that names the file, the frame and the remedy."""

from __future__ import annotations


class OpticamError(Exception):
    """Base of every error this package raises on purpose; the CLI prints it as one line."""


class InputError(OpticamError, ValueError):
    """The input cannot be used: no folder, no FITS file, no usable frame, a wrong argument."""


class HeaderError(InputError):
    """A header lacks, or garbles, something that cannot be assumed."""


class InstrumentError(InputError):
    """An instrument definition contradicts itself or its file cannot be read."""


class FrameReadError(OpticamError, OSError):
    """The pixels of one frame cannot be read.

    Parameters
    ----------
    path : str
        File of the frame.
    detail : str
        What was expected and what was found.
    hdu, plane : int
        Place of the frame inside the file.
    """

    def __init__(self, path: str, detail: str, *, hdu: int = 0, plane: int = 0) -> None:
        super().__init__(path, detail, hdu, plane)
        self.path, self.detail, self.hdu, self.plane = path, detail, hdu, plane

    def __reduce__(self) -> tuple[object, ...]:
        return _frame_read_error, (self.path, self.detail, self.hdu, self.plane)

    def __str__(self) -> str:
        return f"{self.path} [hdu {self.hdu}, plane {self.plane}]: {self.detail}"


def _frame_read_error(path: str, detail: str, hdu: int, plane: int) -> FrameReadError:
    return FrameReadError(path, detail, hdu=hdu, plane=plane)


class StorageError(InputError):
    """Results cannot be written: no space left, a read-only file system, a folder of another's."""


class BusyError(OpticamError):
    """Another run is at work on the same results."""


class CatalogError(OpticamError):
    """No catalogue can be made for a camera, or an old one does not fit the frames."""


class SettingsChangedError(OpticamError):
    """Results made with other settings stand where new ones would go."""


class ClusterError(OpticamError):
    """The dask cluster asked for cannot be reached or started."""


class SchedulerLostError(ClusterError):
    """The connection to the dask scheduler broke: nothing more can be computed, what is done is on disk."""


class BlockFailedError(OpticamError):
    """A block of frames failed on all its tries, by no fault that its message would have told on purpose."""


class WorkerKilledError(BlockFailedError, ClusterError):
    """The worker of a block died again and again."""


class MissingPackageError(OpticamError, ImportError):
    """An optional package is needed; the message holds the command that installs it."""

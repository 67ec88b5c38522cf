"""Send a user's function to workers that cannot import it."""

from __future__ import annotations

import hashlib
import inspect
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from opticam_dask.errors import InputError

_INSTALLED = ("site-packages", "dist-packages")
# cloudpickle's registry of modules is one for the whole process.
_REGISTRY = threading.Lock()


class Shipped:
    """A function (or any object) as bytes that hold all it needs but installed packages.

    Calling it calls the function; it pickles, compares and hashes by its bytes, and is unpickled once in each
    process.

    Parameters
    ----------
    payload : bytes
        What `by_value` made.
    name : str
        Name for messages and labels.
    """

    def __init__(self, payload: bytes, name: str) -> None:
        self.payload, self.name = payload, name
        self.__name__ = name

    def load(self) -> Any:
        """Get the function itself, unpickled once in this process."""
        return _load(self.payload)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.load()(*args, **kwargs)

    @property
    def signature(self) -> inspect.Signature:
        """Signature of the function."""
        return inspect.signature(self.load())

    @property
    def __signature__(self) -> inspect.Signature:
        return self.signature

    def __reduce__(self) -> tuple[type[Shipped], tuple[bytes, str]]:
        return Shipped, (self.payload, self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shipped) and self.payload == other.payload

    def __hash__(self) -> int:
        return hash(self.payload)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "Shipped", hashlib.sha256(self.payload).hexdigest()

    def __repr__(self) -> str:
        return f"Shipped({self.name})"


def by_value(obj: Any) -> Shipped:
    """Wrap a function so that it runs on any worker as it is here.

    It may come from a notebook cell, a script, a lambda, a closure or a module beside the script, and may be
    an instance of a class defined there. Modules that are not installed travel with it, if they are imported
    by now; one imported only inside the function's body must be importable on the workers.

    Parameters
    ----------
    obj : callable or any object
        What to send; a `Shipped` is returned as it is.

    Returns
    -------
    Shipped

    Raises
    ------
    InputError
        If it holds something that cannot leave this process, such as an open file.
    """
    if isinstance(obj, Shipped):
        return obj
    try:
        with _user_modules_by_value():
            payload = cloudpickle.dumps(obj)
    except Exception as error:  # pickling runs the user's own code: anything may come out of it
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{_name(obj)} cannot be sent to the workers: {reason}; let it open files and the like "
            "inside its own body"
        ) from error
    return Shipped(payload, _name(obj))


@lru_cache(maxsize=128)
def _load(payload: bytes) -> Any:
    return cloudpickle.loads(payload)


def _name(obj: Any) -> str:
    inner = getattr(obj, "func", obj)  # functools.partial
    name = getattr(inner, "__name__", type(inner).__name__)
    return "function" if name == "<lambda>" else str(name)


@contextmanager
def _user_modules_by_value() -> Iterator[None]:
    with _REGISTRY:
        known = cloudpickle.list_registry_pickle_by_value()
        modules = [module for module in _user_modules() if module.__name__ not in known]
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)


def _user_modules() -> list[ModuleType]:
    """List the imported modules that workers may not have: Python files outside every installation."""
    return [
        module
        # another thread may be importing: a copy is made at one go, a list of the items is not
        for name, module in sys.modules.copy().items()
        if name != "__main__"
        and isinstance(module, ModuleType)
        and module.__name__ == name
        and _is_users(module)
    ]


def _is_users(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return False
    # By its folder: there are thousands of modules, and installers may link single files from elsewhere.
    return _outside_installations(Path(file).parent)


@cache
def _outside_installations(folder: Path) -> bool:
    path = folder.resolve()
    if any(part in _INSTALLED for part in path.parts):
        return False
    return not any(path.is_relative_to(each) for each in _installation())


@lru_cache(maxsize=1)
def _installation() -> tuple[Path, ...]:
    """Folders of the standard library, of installed packages, and of this package."""
    folders = {Path(folder).resolve() for name, folder in sysconfig.get_paths().items() if "lib" in name}
    return (*folders, Path(__file__).resolve().parent)

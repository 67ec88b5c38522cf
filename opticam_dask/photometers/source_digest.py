"""Digest of a user's function: changes when what it computes may change, not from process to process."""

from __future__ import annotations

import functools
import hashlib
import inspect
import pickle
import sys
import sysconfig
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

_VALUES = (tuple, frozenset, np.ndarray, np.generic, types.CodeType)  # may be shared or not: same meaning
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))


def identity(function: Any) -> dict[str, str]:
    """Name and digest of a callable.

    Parameters
    ----------
    function : callable
        Function, lambda, partial, bound method, or object with ``__call__``.

    Returns
    -------
    dict
        ``name``, and ``digest``: SHA-256 of its byte code, constants, defaults, closure, the global values it
        names, and for objects of their classes and attributes.
    """
    code = "\n".join(_describe(function, []))
    return {"name": qualified_name(function), "digest": hashlib.sha256(code.encode()).hexdigest()}


def qualified_name(thing: Any) -> str:
    """Dotted name of a function or class, or of the class of an object."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{getattr(named, '__module__', '?')}.{named.__qualname__}"


def _describe(thing: Any, seen: list[Any]) -> list[str]:
    """Lines that tell ``thing`` from others; ``seen`` holds what has been described, against cycles."""
    if isinstance(thing, _PLAIN):
        return [repr(thing)]
    if isinstance(thing, types.ModuleType):
        return [f"module {thing.__name__} {getattr(thing, '__version__', '')}"]
    if not isinstance(thing, _VALUES):
        for index, other in enumerate(seen):
            if other is thing:
                return [f"see {index}"]
        seen.append(thing)
    for kinds, describe in _KINDS:
        if isinstance(thing, kinds):
            return [type(thing).__name__, *describe(thing, seen)]
    return _object(thing, seen)


def _many(things: Any, seen: list[Any]) -> list[str]:
    return [line for thing in things for line in _describe(thing, seen)]


def _mapping(thing: Any, seen: list[Any]) -> list[str]:
    ordered = sorted(thing.items(), key=lambda item: repr(item[0]))
    return [line for key, value in ordered for line in (repr(key), *_describe(value, seen))]


def _unordered(thing: Any, seen: list[Any]) -> list[str]:
    return _many(sorted(thing, key=repr), seen)


def _array(thing: Any, seen: list[Any]) -> list[str]:
    if thing.dtype.hasobject:
        return _many(thing.ravel().tolist(), seen)
    data = hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()
    return [f"{thing.dtype} {thing.shape} {data} {getattr(thing, 'unit', '')}"]


def _function(thing: Any, seen: list[Any]) -> list[str]:
    if _is_installed(thing):
        return [qualified_name(thing), *_version(thing)]
    cells = dict(inspect.getclosurevars(thing).nonlocals)
    named = {name: thing.__globals__[name] for name in _names(thing.__code__) if name in thing.__globals__}
    parts = (thing.__defaults__, thing.__kwdefaults__, cells, named)
    return [*_code(thing.__code__, seen), *_many(parts, seen)]


def _code(thing: types.CodeType, seen: list[Any]) -> list[str]:
    """Byte code without file names and line numbers."""
    return [
        thing.co_code.hex(),
        *map(repr, (thing.co_names, thing.co_varnames)),
        *_many(thing.co_consts, seen),
    ]


def _names(code: types.CodeType) -> list[str]:
    """Names used by the code and by functions defined within it, sorted."""
    inner = [name for const in code.co_consts if isinstance(const, types.CodeType) for name in _names(const)]
    return sorted({*code.co_names, *inner})


def _method(thing: Any, seen: list[Any]) -> list[str]:
    return _many((thing.__func__, thing.__self__), seen)


def _partial(thing: Any, seen: list[Any]) -> list[str]:
    return _many((thing.func, thing.args, thing.keywords), seen)


def _class(thing: type, seen: list[Any]) -> list[str]:
    if _is_installed(thing):
        return [qualified_name(thing), *_version(thing)]
    skipped = {"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__slotnames__"}
    body = {
        name: value
        for name, value in vars(thing).items()
        if name not in skipped and not name.startswith(("_abc_", "__abstract", "__static"))
    }
    return [thing.__qualname__, *_many(thing.__bases__, seen), *_mapping(body, seen)]


def _wrapped(thing: Any, seen: list[Any]) -> list[str]:
    return _describe(thing.__func__, seen)


def _property(thing: property, seen: list[Any]) -> list[str]:
    return _many((thing.fget, thing.fset), seen)


def _object(thing: Any, seen: list[Any]) -> list[str]:
    """Anything else: what it wraps, or its own stable text, or its class and attributes."""
    if hasattr(thing, "py_func"):  # compiled by numba
        return _describe(thing.py_func, seen)
    text = repr(thing) if _is_installed(type(thing)) else " at 0x"
    if "..." in text:  # abridged
        return [qualified_name(thing), hashlib.sha256(pickle.dumps(thing, protocol=5)).hexdigest()]
    if " at 0x" not in text:
        return [qualified_name(thing), text]
    attributes = getattr(thing, "__dict__", {})
    slots = {
        name: getattr(thing, name) for name in getattr(type(thing), "__slots__", ()) if hasattr(thing, name)
    }
    return [*_describe(type(thing), seen), *_mapping({**attributes, **slots}, seen)]


def _is_installed(thing: Any) -> bool:
    """Whether it comes from an installed package rather than from the user."""
    return bool(_version(thing))


def _version(thing: Any) -> list[str]:
    package = str(getattr(thing, "__module__", "") or "").partition(".")[0]
    if package in {"builtins", *sys.stdlib_module_names} - {"__main__"}:
        return [f"python {sys.version_info.major}.{sys.version_info.minor}"]
    version = _package_version(package)
    return [f"{package} {version}"] if version else []


@functools.cache
def _package_version(package: str) -> str:
    """Version of a package in site-packages, or of this one; empty for modules of the user's own."""
    from importlib.metadata import PackageNotFoundError, version

    places = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    if package != __name__.partition(".")[0] and not file.startswith(places):
        return ""
    try:
        return version(package)
    except PackageNotFoundError:
        # a distribution by another name than its package's: all of them must be looked through
        names = _distributions().get(package, [])
        return version(names[0]) if names else ""


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Distributions that each top-level package comes from."""
    from importlib.metadata import packages_distributions

    return packages_distributions()


_KINDS: tuple[tuple[Any, Any], ...] = (
    ((list, tuple), _many),
    ((set, frozenset), _unordered),
    (dict, _mapping),
    ((np.ndarray, np.generic), _array),
    (types.FunctionType, _function),
    (types.CodeType, _code),
    (types.MethodType, _method),
    (functools.partial, _partial),
    ((staticmethod, classmethod), _wrapped),
    (property, _property),
    (type, _class),
)

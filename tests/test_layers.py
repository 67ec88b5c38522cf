"""Imports point down only; ruff's banned-api keeps dask out of the kernels, this keeps the rooms in order."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "opticam_dask"

RANKS = {
    "errors": 0,
    "types": 0,
    "schema": 0,
    "config": 0,
    "compiled": 0,
    "progress": 0,
    "cluster_spec": 1,
    "kernels": 1,
    "instrument": 3,
    "shipping": 2,
    "lazy": 3,
    "io": 3,
    "tables": 3,
    "simulate": 3,
    "testing": 3,
    "workspace": 3,
    "calibration": 4,
    "catalog": 4,
    "photometers": 4,
    "matching": 4,
    "plotting": 4,
    "analysis": 4,
    "runner": 3,
    "cluster": 4,
    "session": 5,
    "kernel_cache": 4,
    "rehearsal": 7,
    "preload": 7,
    "leash": 3,
    "differential": 5,
    "stages": 5,
    "observation": 5,
    "report": 7,
    "inspection": 6,
    "explore": 6,
    "follow": 6,
    "reducer": 6,
    "survey": 7,
    "ingestion": 6,
    "demo": 7,
    "validation": 7,
    "cli": 8,
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("opticam_dask"):
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("opticam_dask.")}
    return found & set(RANKS)


def test_every_room_has_a_rank() -> None:
    assert {room(path) for path in modules()} == set(RANKS)


def test_the_readme_maps_every_room_and_none_that_is_gone() -> None:
    readme = (PACKAGE.parent / "README.md").read_text()
    code = readme.partition("## Map of the code")[2].partition("\n## ")[0]
    cells = "".join(line.split("|")[1] for line in code.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([\w/]+?)(?:/|\.py)`", cells))
    assert {name for name in named if "/" not in name} == set(RANKS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    above = {name for name in imports(path) if RANKS[name] > RANKS[room(path)]}
    assert not above, f"{path.name} imports from above: {above}"

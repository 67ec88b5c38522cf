"""Compiled kernels: kept by the state of all their sources, wherever one may write."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from opticam_dask import compiled


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a kernel, in place of ours."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(compiled, "_PACKAGE", tmp_path / "package")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    (tmp_path / "package" / "kernels").mkdir(parents=True)
    (tmp_path / "package" / "kernels" / "one.py").write_text("x = 1\n")
    compiled.keep_compiled_code.cache_clear()
    yield tmp_path / "package"
    compiled.keep_compiled_code.cache_clear()


def test_a_changed_source_has_another_folder(package):
    first = compiled.keep_compiled_code()
    assert first.parent == package / "kernels" / "__pycache__"
    assert str(first) == numba.config.CACHE_DIR
    compiled.keep_compiled_code.cache_clear()
    assert compiled.keep_compiled_code() == first
    (package / "kernels" / "one.py").write_text("x = 2\n")
    compiled.keep_compiled_code.cache_clear()
    assert compiled.keep_compiled_code() != first


def test_what_the_user_says_holds(package, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    assert compiled.keep_compiled_code().parent == tmp_path / "mine"


def test_a_package_that_cannot_be_written_to_has_its_code_at_home(package, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "_is_writable", lambda folder: "package" not in folder.parts)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert compiled.keep_compiled_code().parent == tmp_path / "home" / "opticam-dask"
    compiled.keep_compiled_code.cache_clear()
    monkeypatch.setattr(compiled, "_is_writable", lambda folder: False)
    assert compiled.keep_compiled_code().parent.name == f"opticam-numba-{os.getuid()}"


def test_kernels_are_kept_there(tmp_path):
    script = "from opticam_dask.kernels.clipping import median_of_sorted as f; print(f.stats.cache_path)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert Path(said.strip()).parent == tmp_path / f"opticam-{compiled._digest()}"

"""Nothing is fetched: a run with the network shut, no cache, and tables that astropy thinks old."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("offline_run.py")


@pytest.mark.cluster
def test_a_run_asks_no_other_machine(tmp_path):
    config, cache = tmp_path / "config" / "astropy", tmp_path / "cache" / "astropy"
    config.mkdir(parents=True)
    cache.mkdir(parents=True)
    # No table reaches thousands of days beyond today: left alone, astropy would look for newer ones.
    (config / "astropy.cfg").write_text("[utils.iers.iers]\nauto_max_age = -4000.0\n")
    places = {
        "XDG_CONFIG_HOME": str(config.parent),
        "XDG_CACHE_HOME": str(cache.parent),
        "HOME": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        env={**os.environ, **places, "ASTROPY_CACHE_DIR": str(cache), "ASTROPY_CONFIG_DIR": str(config)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert len(told["tried"]) == 3
    for where, (tried, guarded) in told["tried"].items():
        assert guarded, f"the doors of {where} are open"
        assert tried == [], f"{where} tried to reach {tried}"
    assert told["rows"] == 2 * 5 * 6
    assert told["fluxes"] > 50
    assert told["bmjd"]
    assert told["span"] == pytest.approx(6.0, abs=0.01)  # six frames, and the leap second between them
    assert list(cache.rglob("*.dat")) == []

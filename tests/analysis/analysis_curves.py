"""Light curves with a known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from opticam_dask.analysis import LightCurve

FREQUENCY = 0.135
PERIOD = 1 / FREQUENCY
EPOCH = 60310.0


def curve(seconds, flux, err=0.01, **names) -> LightCurve:
    """Light curve with equal errors."""
    seconds = np.asarray(seconds, dtype=float)
    return LightCurve(seconds=seconds, flux=flux, flux_err=np.full(len(seconds), err), epoch=EPOCH, **names)


def sine(seconds, phase=0.0, *, amplitude=0.03, err=0.01, seed=0, camera="", lag=0.0) -> LightCurve:
    """Noisy sine at 0.135 Hz, `lag` seconds late."""
    seconds = np.asarray(seconds, dtype=float)
    noise = err * np.random.default_rng(seed).standard_normal(len(seconds))
    angle = 2 * np.pi * FREQUENCY * (seconds - lag) + phase
    return curve(seconds, 1 + amplitude * np.sin(angle) + noise, err, camera=camera)


def uneven(n=500, seed=0, step=1.0, gap=(150, 200)) -> np.ndarray:
    """Times with jitter of a tenth of a step and a gap."""
    times = step * (np.arange(n) + 0.1 * np.random.default_rng(seed).uniform(-1, 1, n))
    return np.delete(times, slice(*gap)) if gap else times


def table(n=40, seed=0) -> pd.DataFrame:
    """Rows as `opticam_dask.light_curve` gives them, with one of each trap."""
    rng = np.random.default_rng(seed)
    days = EPOCH + 0.2 + np.arange(n) / 86_400
    rows = pd.DataFrame(
        {
            "night": "2024-01-01",
            "camera": "1:g",
            "source": 2,
            "BMJD": days,
            "MJD": days + 0.001,
            "flux": 1000 + rng.normal(0, 10, n),
            "flux_err": 10.0,
            "bkg": 100.0,
            "x": rng.normal(50, 1, n),
            "y": rng.normal(60, 1, n),
            "fwhm": 3.5,
            "airmass": np.linspace(1.2, 1.1, n),
            "exposure": 1.0,
            "flags": 0,
        }
    )
    return rows

"""Tables of nights and of comparison stars, from what the workers report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opticam_dask.differential.join import Joined
from opticam_dask.differential.night import NightStars, StarSummary
from opticam_dask.differential.relative import Written

if TYPE_CHECKING:
    import pandas as pd


def comparisons_table(judged: Sequence[NightStars], joined: Mapping[str, Joined]) -> pd.DataFrame:
    """Say what became of each candidate; see `opticam_dask.tables.relative.comparison_stars`."""
    import pandas as pd

    rows = [_comparison_row(night, star, joined[night.camera]) for night in judged for star in night.stars]
    return pd.DataFrame(rows, columns=list(_COMPARISON_TYPES)).astype(_COMPARISON_TYPES)


_COMPARISON_TYPES = {
    **dict.fromkeys(("night", "camera"), "str"),
    "source": "int32",
    "star": "str",
    "used": "bool",
    "reason": "str",
    **dict.fromkeys(
        ("flux", "flux_err", "weight", "rms", "expected", "typical", "excess", "drift"), "float64"
    ),
    **dict.fromkeys(("fast_sigma", "slow_sigma"), "float64"),
    "n_frames": "int64",
}


def _comparison_row(night: NightStars, star: StarSummary, joined: Joined) -> dict[str, Any]:
    dropped = joined.dropped.get(star.name, "") if star.used else ""
    return {
        "night": night.night,
        "camera": night.camera,
        "source": star.source,
        "star": star.name,
        "used": star.used and not dropped,
        "reason": star.reason or dropped,
        "flux": star.mean,
        "flux_err": star.mean_err,
        "weight": 0.0 if dropped else star.share,
        "rms": star.rms,
        "expected": star.expected,
        "typical": star.typical,
        "excess": star.excess,
        "drift": star.drift,
        "fast_sigma": star.fast,
        "slow_sigma": star.slow,
        "n_frames": star.n_frames,
    }


def nights_table(
    judged: Sequence[NightStars], joined: Mapping[str, Joined], written: Sequence[Written]
) -> pd.DataFrame:
    """List nights and their zero points; see `opticam_dask.tables.relative.relative_nights`."""
    import pandas as pd

    done = {(one.night, one.camera): one for one in written}
    rows = []
    for night in judged:
        scale = joined[night.camera]
        one = done.get((night.night, night.camera), Written(night.night, night.camera, 0, 0))
        rows.append(
            {
                "night": night.night,
                "camera": night.camera,
                "source": night.source,
                "n_frames": one.rows,
                "n_measured": one.measured,
                "n_comparisons": len(scale.used(night)),
                "zero_point": scale.zero_point.get(night.night, float("nan")),
                "zero_point_err": scale.zero_point_err.get(night.night, float("nan")),
                "reason": night.reason
                or one.reason
                or ("" if scale.used(night) else "no comparison star is left"),
            }
        )
    return pd.DataFrame(rows)

"""The axis of a light curve names the unit that the dataset is in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from opticam_dask.plotting.light_curves import light_curve_figure
from opticam_dask.schema import light_curve_schema
from opticam_dask.tables.parts import write_part
from opticam_dask.tables.store import flux_unit, light_curve


@pytest.mark.parametrize("unit", ["adu", "electron"])
def test_the_unit_comes_from_the_dataset(tmp_path: Path, unit: str) -> None:
    schema = light_curve_schema(unit)
    values: dict[str, Any] = {name: [0, 0] for name in schema.names}
    values |= {"night": ["2024-01-01"] * 2, "camera": ["1:g"] * 2, "filter": ["g"] * 2, "source": [1, 1]}
    values |= {"frame": [0, 1], "BMJD": [60310.1, 60310.2], "MJD": [60310.1, 60310.2], "flux": [5.0, 6.0]}
    table = pa.table([pa.array(values[f.name], f.type) for f in schema], schema=schema)
    root = tmp_path / "lcs/optimal/light_curves"
    assert flux_unit(root) == "adu"
    write_part(table, root, ("2024-01-01", "1:g", 0, 2), {})
    assert flux_unit(root) == unit
    curve: pd.DataFrame = light_curve(tmp_path, camera="1:g", source=1)
    (ax,) = light_curve_figure({"1:g": curve}, unit=flux_unit(root)).axes
    assert ax.get_ylabel() == f"flux [{unit}]"

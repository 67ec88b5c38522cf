"""Catalogues that real reductions make of a simulated survey are matched star by star."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from opticam_dask import Reducer
from opticam_dask.catalog.store import load_catalogs
from opticam_dask.io.frame_index import accepted, read_frames
from opticam_dask.matching import Master, NightCatalog
from opticam_dask.simulate.survey import SimulatedSurvey, simulate_survey


def reduced(survey: SimulatedSurvey, night: str, field: int, out: Path) -> list[tuple[NightCatalog, dict]]:
    """Catalogues of a night, each with the star of its sources by the truth of the reference frame."""
    data = survey.directory / night
    with Reducer(out, data, cluster="threads", verbose=False, show_plots=False) as reducer:
        reducer.create_catalogs()
    frames, truth = accepted(read_frames(out / "frames.parquet")), pd.read_parquet(survey.truth(night))
    found = []
    for camera, catalog in load_catalogs(out).items():
        key = (frames["camera"] == camera) & (frames["frame"] == catalog.reference_frame[2])
        row = frames[key].iloc[0]
        stars = truth[truth["file"] == Path(row["path"]).name]
        source, flux = (np.asarray(catalog.table[name]) for name in ("source", "psf_flux"))
        table = {"source": source, "x": catalog.xy[:, 0], "y": catalog.xy[:, 1], "flux": flux}
        one = NightCatalog(night, camera, camera[2:], table, catalog.stacked_image.shape, binning=4.0)
        true = {}
        for number, place in zip(source.tolist(), catalog.xy, strict=True):
            distance = np.hypot(*(stars[["x", "y"]].to_numpy() - place).T)
            near = int(distance.argmin())
            is_star = distance[near] < 2.0
            key = (night, camera, number)
            true[key] = (field, int(stars["star"].iloc[near])) if is_star else key
        found.append((one, true))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thirty_nights_of_three_cameras(tmp_path, pair_counts, partition):
    survey = simulate_survey(tmp_path / "data", 30)
    found = [
        item
        for night, field in zip(survey.nights, survey.fields, strict=True)
        for item in reduced(survey, night, field, tmp_path / "out" / night)
    ]
    catalogs, truth = [one for one, _ in found], {k: v for _, true in found for k, v in true.items()}
    assert len(catalogs) == 89
    master = Master.empty().register(catalogs)
    right, belong, put = pair_counts(master, truth)
    assert right / belong >= 0.99
    assert right / put >= 0.99
    assert len(master.fields) == 2

    later = Master.empty()
    for number in np.random.default_rng(1).permutation(30):
        before = later
        later = later.register([one for one in catalogs if one.night == survey.nights[number]])
        for night, camera in zip(before.catalogs["night"], before.catalogs["camera"], strict=True):
            assert before.ids(night, camera).items() <= later.ids(night, camera).items()
    assert partition(later) == partition(master)

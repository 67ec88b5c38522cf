"""Simulated catalogues, and how well a master table tells their stars apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from opticam_dask.matching import Master, NightCatalog
from opticam_dask.simulate.star_lists import SkyModel, StarList, star_lists


@dataclass(frozen=True)
class Survey:
    """Star lists, and which star field each shows."""

    lists: tuple[StarList, ...]
    fields: tuple[int, ...]

    @property
    def catalogs(self) -> list[NightCatalog]:
        return [
            NightCatalog(one.night, one.camera, one.filter, one.table, one.shape, binning=one.binning)
            for one in self.lists
        ]

    @property
    def truth(self) -> dict[tuple[str, str, int], tuple[object, ...]]:
        """Star of each source; what is no star is alone."""
        out: dict[tuple[str, str, int], tuple[object, ...]] = {}
        for field, one in zip(self.fields, self.lists, strict=True):
            for source, star in zip(one.table["source"].tolist(), one.star.tolist(), strict=True):
                key = (one.night, one.camera, source)
                out[key] = (field, star) if star else key
        return out

    def night(self, number: int) -> list[NightCatalog]:
        nights = sorted({one.night for one in self.lists})
        return [catalog for catalog in self.catalogs if catalog.night == nights[number]]


def make_survey(
    model: SkyModel,
    other: SkyModel | None = None,
    *,
    nights: int = 8,
    cloudy: Sequence[int] = (),
    elsewhere: Sequence[int] = (),
    faintest: float = 4e3,
) -> Survey:
    """Nights of a model; half way the telescope changes sides; some nights show the other field."""
    lists, fields = [], []
    for number in range(nights):
        away = number in elsewhere and other is not None
        sky = other if away and other is not None else model
        for one in star_lists(
            sky,
            f"2024-03-{number + 1:02d}",
            flipped=number >= nights // 2,
            faintest=faintest if number in cloudy else 0.0,
            number=number,
        ):
            lists.append(one)
            fields.append(2 if away else 1)
    return Survey(tuple(lists), tuple(fields))


def partition(master: Master) -> frozenset[frozenset[tuple[str, str, int]]]:
    """Sources of each star, whatever it is called; sources without a star are left out."""
    same, groups = master.same_star().to_dict(), {}
    for row in master.sightings.itertuples(index=False):
        if row.object_id:
            groups.setdefault(same[row.object_id], set()).add((row.night, row.camera, row.source))
    return frozenset(frozenset(group) for group in groups.values())


def pair_counts(
    master: Master, truth: dict[tuple[str, str, int], tuple[object, ...]]
) -> tuple[int, int, int]:
    """Pairs of sightings: rightly put together, that belong together, that were put together."""
    same = master.same_star().to_dict()
    found = {
        (row.night, row.camera, row.source): same[row.object_id] if row.object_id else None
        for row in master.sightings.itertuples(index=False)
    }
    pairs = [(truth[key], found[key]) for key in found if key in truth]
    right = Counter(pair for pair in pairs if pair[1] is not None)
    belong = Counter(star for star, _ in pairs)
    put = Counter(name for _, name in pairs if name is not None)
    n_right, n_belong, n_put = (sum(n * (n - 1) // 2 for n in c.values()) for c in (right, belong, put))
    return n_right, n_belong, n_put


@pytest.fixture(name="make_survey")
def make_survey_fixture() -> Callable[..., Survey]:
    return make_survey


@pytest.fixture(name="partition")
def partition_fixture() -> Callable[..., object]:
    return partition


@pytest.fixture(name="pair_counts")
def pair_counts_fixture() -> Callable[..., tuple[int, int, int]]:
    return pair_counts


@pytest.fixture(scope="session")
def plain_survey() -> Survey:
    """Eight nights of one field, one cloudy; one night of another field."""
    return make_survey(SkyModel(seed=5), SkyModel(seed=5, field=1), cloudy=[1], elsewhere=[2], nights=8)


@pytest.fixture(scope="session")
def plain_master(plain_survey: Survey) -> Master:
    return Master.empty().register(plain_survey.catalogs)

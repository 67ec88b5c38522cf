"""The same star has one ID in every night and camera, whatever the order."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from opticam_dask.errors import InputError
from opticam_dask.matching import Master, NightCatalog
from opticam_dask.simulate.star_lists import SkyModel


def with_columns(catalog: NightCatalog, **columns: object) -> NightCatalog:
    return dataclasses.replace(catalog, table={**catalog.table, **columns})


def part(catalog: NightCatalog, chosen: object) -> NightCatalog:
    table = {name: np.asarray(column)[chosen] for name, column in catalog.table.items()}
    return dataclasses.replace(catalog, table=table)


def ids_of(master: Master) -> dict[tuple[str, str, int], str]:
    rows = master.sightings
    keys = zip(rows["night"], rows["camera"], rows["source"], strict=True)
    return dict(zip(keys, rows["object_id"], strict=True))


def test_every_star_is_told_from_the_others(plain_survey, plain_master, pair_counts):
    right, belong, put = pair_counts(plain_master, plain_survey.truth)
    assert right / belong >= 0.99
    assert right / put >= 0.99
    assert set(plain_master.catalogs["status"]) <= {"matched", "reference", "pending"}


def test_another_field_is_a_field_of_its_own(plain_master):
    fields = plain_master.catalogs.groupby("night")["field_id"].agg(lambda ids: sorted(set(ids) - {""}))
    assert fields["2024-03-03"] == ["F002"]
    assert all(ids in ([], ["F001"]) for night, ids in fields.items() if night != "2024-03-03")
    assert plain_master.fields["n_nights"].tolist()[1] == 1


def test_ids_have_their_form_and_are_unique_in_a_catalogue(plain_master):
    known = plain_master.sightings[plain_master.sightings["object_id"] != ""]
    assert all(re.fullmatch(r"F\d{3}-\d{4}", name) for name in known["object_id"])
    assert not known.duplicated(["night", "camera", "object_id"]).any()
    assert plain_master.objects["object_id"].is_unique


@pytest.mark.parametrize("seed", range(3))
def test_order_within_a_call_changes_nothing(plain_survey, plain_master, seed):
    catalogs = plain_survey.catalogs
    shuffled = [catalogs[n] for n in np.random.default_rng(seed).permutation(len(catalogs))]
    again = Master.empty().register(shuffled)
    for name in ("fields", "catalogs", "objects", "sightings"):
        assert getattr(again, name).equals(getattr(plain_master, name))


@pytest.mark.parametrize("seed", range(4))
def test_nights_one_by_one_in_any_order_give_the_same_stars(plain_survey, plain_master, partition, seed):
    order = np.random.default_rng(seed).permutation(8)
    master = Master.empty()
    for night in order:
        before = ids_of(master)
        master = master.register(plain_survey.night(night))
        after = ids_of(master)
        assert all(after[key] == name for key, name in before.items() if name)
    assert partition(master) == partition(plain_master)


def test_a_night_added_later_changes_no_id(plain_survey, plain_master, partition):
    early = Master.empty().register([c for n in range(7) for c in plain_survey.night(n)])
    late = early.register(plain_survey.night(7))
    before, after = ids_of(early), ids_of(late)
    assert {key: after[key] for key, name in before.items() if name} == {
        key: name for key, name in before.items() if name
    }
    assert partition(late) == partition(plain_master)


def test_registering_again_changes_nothing(plain_survey, plain_master):
    assert plain_master.register(plain_survey.catalogs) is plain_master


def test_ids_of_a_catalogue(plain_survey, plain_master):
    catalog = plain_survey.catalogs[0]
    ids = plain_master.ids(catalog.night, catalog.camera)
    assert set(ids) <= set(catalog.source.tolist())
    assert plain_master.ids("2030-01-01", "1:g") == {}


def test_a_changed_catalogue_is_matched_anew_and_stars_keep_their_ids(plain_survey, plain_master):
    old = plain_survey.night(4)[0]
    before = plain_master.ids(*old.key)
    turned = with_columns(old, source=old.source[::-1].copy())
    after = plain_master.register([turned]).ids(*old.key)
    renumbered = dict(zip(old.source.tolist(), turned.source.tolist(), strict=True))
    assert {renumbered[source]: name for source, name in before.items()} == after


def test_a_poor_night_waits_until_its_field_is_known(plain_survey):
    poor = part(plain_survey.night(0)[0], slice(0, 5))
    master = Master.empty().register([poor])
    row = master.catalogs.iloc[0]
    assert (row["status"], row["field_id"]) == ("pending", "")
    assert "5 sources" in row["reason"]
    assert master.ids(*poor.key) == {}
    later = master.register([c for n in (3, 4) for c in plain_survey.night(n)])
    assert set(later.ids(*poor.key)) == set(poor.source.tolist())
    assert (later.catalogs["status"] != "pending").all()


def test_a_sparse_field_begins_with_its_second_night(plain_survey):
    bright = [part(plain_survey.night(n)[0], plain_survey.night(n)[0].flux > 0) for n in (0, 3)]
    stars = [dict(zip(one.star.tolist(), range(99), strict=False)) for one in plain_survey.lists]
    both = sorted(set(stars[0]) & set(stars[9]))[:5]
    few = [part(bright[0], [stars[0][s] for s in both]), part(bright[1], [stars[9][s] for s in both])]
    first = Master.empty().register(few[:1])
    assert first.ids(*few[0].key) == {}
    second = first.register(few[1:])
    assert len(second.ids(*few[0].key)) == 5
    assert sorted(second.ids(*few[0].key).values()) == sorted(second.ids(*few[1].key).values())


def test_nothing_is_guessed_from_two_stars(plain_survey, plain_master):
    catalog = plain_survey.night(4)[1]
    two = dataclasses.replace(part(catalog, slice(0, 2)), night="2024-05-01")
    master = plain_master.register([two])
    assert master.ids(*two.key) == {}
    reasons = master.sightings.loc[master.sightings["night"] == "2024-05-01", "reason"]
    assert (reasons != "").all()


def test_an_empty_catalogue_is_pending(plain_survey, plain_master):
    empty = dataclasses.replace(part(plain_survey.night(4)[1], slice(0, 0)), night="2024-05-02")
    master = plain_master.register([empty])
    assert master.catalogs["status"].tolist()[-1] == "pending"
    assert master.register([empty]) is master
    assert Master.empty().register([empty]).sightings.empty


def test_fields_found_to_be_one_are_joined_and_no_id_changes(partition):
    rng = np.random.default_rng(11)
    stars = rng.uniform([0, 0], [380, 150], (60, 2))

    def view(night: str, left: float, width: float = 190.0) -> NightCatalog:
        inside = (stars[:, 0] > left) & (stars[:, 0] < left + width)
        xy = stars[inside] - [left, 0] + rng.normal(0, 0.05, (int(inside.sum()), 2))
        table = {"source": np.flatnonzero(inside) + 1, "x": xy[:, 0], "y": xy[:, 1]}
        return NightCatalog(
            night, "1:g", "g", {**table, "flux": 1e5 / (1.0 + np.flatnonzero(inside))}, (150, int(width))
        )

    west, east, bridge = view("2024-01-01", 0), view("2024-01-02", 185), view("2024-01-03", 95)
    apart = Master.empty().register([west]).register([east])
    assert apart.fields["field_id"].tolist() == ["F001", "F002"]
    joined = apart.register([bridge])
    assert joined.fields["joined_to"].tolist() == ["", "F001"]
    for one in (west, east):
        assert joined.ids(*one.key) == apart.ids(*one.key)
    at_once = Master.empty().register([bridge, east, west])
    assert at_once.fields["field_id"].tolist() == ["F001"]
    assert partition(joined) == partition(at_once)
    assert (joined.sightings["separation"].dropna() < 0.5).all()
    later = joined.register([view("2024-01-04", 120)])
    assert len(partition(later)) == len(partition(joined))


def test_a_wcs_matches_what_asterisms_cannot(plain_survey):
    scale, stars = 0.56 / 3600.0, np.array([[30.0, 40.0], [150.0, 100.0], [90.0, 20.0], [60.0, 130.0]])

    def view(night: str, shift: float) -> NightCatalog:
        xy = stars + shift
        ra = 210.0 - scale * (stars[:, 0] - 95.0) / np.cos(np.deg2rad(-30.0))
        table = {"source": np.arange(1, 5), "x": xy[:, 0], "y": xy[:, 1], "flux": np.arange(9.0, 5.0, -1.0)}
        return NightCatalog(
            night, "1:g", "g", {**table, "ra": ra, "dec": -30.0 + scale * stars[:, 1]}, (150, 190)
        )

    one = Master.empty().register([view("2024-01-01", 0.0)])
    assert one.catalogs["status"].tolist() == ["reference"]
    both = one.register([part(view("2024-01-02", 7.0), slice(0, 3))])
    assert both.ids("2024-01-02", "1:g") == {n: f"F001-000{n}" for n in (1, 2, 3)}
    assert np.allclose(both.objects["dec"], -30.0 + scale * stars[:, 1], atol=1e-6)
    assert np.allclose(both.objects["ra"], view("x", 0).sky[:, 0], atol=1e-6)


def test_a_source_between_two_stars_is_neither(plain_survey, plain_master):
    catalog = plain_survey.night(5)[0]
    moved = catalog.xy.copy()
    moved[0] += [2.5, 0.0]  # too far to be the star, too near to be another
    changed = dataclasses.replace(with_columns(catalog, x=moved[:, 0], y=moved[:, 1]), night="2024-05-03")
    master = plain_master.register([changed])
    assert int(catalog.source[0]) not in master.ids(*changed.key)
    row = master.sightings[(master.sightings["night"] == "2024-05-03") & (master.sightings["source"] == 1)]
    assert "too near to F001-" in row["reason"].iloc[0]


def test_another_binning_is_the_same_field(plain_survey, plain_master):
    catalog = plain_survey.night(5)[0]
    half = with_columns(catalog, x=(catalog.xy[:, 0] - 0.5) / 2, y=(catalog.xy[:, 1] - 0.5) / 2)
    half = dataclasses.replace(half, night="2024-05-04", shape=(75, 95), binning=2.0)
    master = plain_master.register([half])
    before = plain_master.ids(*catalog.key)
    assert {s: before[s] for s in master.ids(*half.key)} == master.ids(*half.key)
    assert len(master.ids(*half.key)) >= len(before) - 1


def test_residuals_are_those_of_the_positions(plain_master):
    known = plain_master.sightings[plain_master.sightings["object_id"] != ""]
    assert 0.1 < np.sqrt(np.mean(known["separation"] ** 2)) < 0.35
    assert np.allclose(np.hypot(known["dx"], known["dy"]), known["separation"])
    mean = known.groupby("object_id")[["dx", "dy"]].mean()
    assert np.abs(mean.to_numpy()).max() < 1e-9


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": [1, 1]}, "twice"),
        ({"x": [np.nan, 1.0]}, "not finite"),
    ],
)
def test_bad_catalogues_are_refused(columns, message):
    table = {"source": [1, 2], "x": [1.0, 2.0], "y": [1.0, 2.0], "flux": [2.0, 1.0], **columns}
    with pytest.raises(InputError, match=message):
        NightCatalog("2024-01-01", "1:g", "g", table, (10, 10))


def test_a_missing_column_and_a_doubled_catalogue_are_named(plain_survey):
    with pytest.raises(InputError, match="no column flux"):
        NightCatalog("2024-01-01", "1:g", "g", {"source": [1], "x": [1.0], "y": [1.0]}, (10, 10))
    catalog = plain_survey.catalogs[0]
    with pytest.raises(InputError, match="2024-03-01 1:g is there twice"):
        Master.empty().register([catalog, catalog])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conditions", "least"),
    [
        ({}, (0.99, 0.999)),
        ({"missing": 0.2, "false_sources": 3.0}, (0.95, 0.99)),
        ({"n_stars": 60, "missing": 0.2, "false_sources": 3.0}, (0.98, 0.99)),
        ({"n_stars": 12, "missing": 0.2, "false_sources": 3.0}, (0.7, 0.99)),
        ({"noise_px": 0.4, "missing": 0.1, "false_sources": 1.0}, (0.93, 0.99)),
        ({"shape": (500, 512), "pointing_px": 30.0}, (0.97, 0.999)),
        ({"n_stars": 5}, (0.4, 0.999)),
    ],
    ids=["easy", "false and missing", "dense", "few", "noisy", "large", "very few"],
)
def test_completeness_and_purity_over_many_fields(make_survey, pair_counts, conditions, least):
    total = np.zeros(3)
    for seed in range(12):
        sky = [SkyModel(seed=100 + seed, field=field, **conditions) for field in (0, 1)]
        survey = make_survey(*sky, nights=6, cloudy=[1], elsewhere=[4], faintest=3e3)
        total += pair_counts(Master.empty().register(survey.catalogs), survey.truth)
    assert total[0] / total[1] >= least[0]
    assert total[0] / total[2] >= least[1]

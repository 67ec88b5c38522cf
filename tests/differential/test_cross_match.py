"""Sources found again in another camera that is turned, mirrored, scaled, and sees other stars."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

from opticam_dask.catalog.model import CameraCatalog
from opticam_dask.differential import DifferentialPhotometer
from opticam_dask.differential.cross_match import cross_match, field_transform, matched_ids
from opticam_dask.errors import CatalogError, InputError
from opticam_dask.tables.relative import relative_light_curve
from opticam_dask.types import PsfModel


def catalog(camera, xy, **columns):
    table = QTable({"source": np.arange(1, len(xy) + 1), "x": xy[:, 0], "y": xy[:, 1], **columns})
    return CameraCatalog(camera, table, PsfModel(1.5, 1.5, 0.0), np.zeros((2, 2)), None, ("", camera, 0))


def other_view(xy, *, angle, scale, mirrored, seed):
    """Places in another camera, in another order, with noise, stars missing and others instead."""
    random = np.random.default_rng(seed)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = xy @ (scale * turn @ np.diag([-1.0 if mirrored else 1.0, 1.0])).T + [310.0, -42.0]
    places = places + random.normal(scale=0.3, size=places.shape)
    order = random.permutation(len(xy))[: len(xy) - 2]
    false = random.uniform(places.min(axis=0), places.max(axis=0), (2, 2))
    return np.vstack([places[order], false]), order


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (1.9, 0.6), (3.1, 1.7)])
def test_sources_are_found_however_the_camera_looks(angle, scale, mirrored):
    xy = np.random.default_rng(3).uniform(10.0, 500.0, (13, 2))
    there, order = other_view(xy, angle=angle, scale=scale, mirrored=mirrored, seed=4)
    match = cross_match(catalog("1:g", xy), catalog("2:r", there))
    assert match.pairs == {int(i) + 1: k + 1 for k, i in enumerate(order)}


def test_over_many_fields_nothing_wrong_is_ever_said():
    refused = 0
    for seed in range(12):
        random = np.random.default_rng(seed)
        xy = random.uniform(10.0, 500.0, (int(random.integers(6, 15)), 2))
        there, order = other_view(xy, angle=seed, scale=0.8, mirrored=bool(seed % 2), seed=seed)
        try:
            match = cross_match(catalog("1:g", xy), catalog("2:r", there))
        except CatalogError:
            refused += 1
            continue
        true = {int(i) + 1: k + 1 for k, i in enumerate(order)}
        assert true.items() <= match.pairs.items()
    assert refused <= 2


def test_unrelated_fields_are_refused():
    for seed in range(4):
        random = np.random.default_rng(seed)
        with pytest.raises(CatalogError, match="1:g and 2:r"):
            cross_match(
                catalog("1:g", random.uniform(0, 500, (14, 2))),
                catalog("2:r", random.uniform(0, 500, (14, 2))),
            )


def test_a_pattern_that_fits_in_two_ways_is_refused():
    angle = 2 * np.pi * np.arange(6) / 6
    ring = 200.0 + 100.0 * np.column_stack([np.cos(angle), np.sin(angle)])
    with pytest.raises(CatalogError, match="several ways"):
        field_transform(ring, ring + 30.0)


def test_coordinates_are_used_where_both_have_them():
    random = np.random.default_rng(1)
    sky = np.array([0.01, 60.0]) + random.uniform(-0.05, 0.05, (8, 2))
    order = random.permutation(8)
    one, two = (
        catalog(
            name, random.uniform(0, 500, (8, 2)), ra=(places[:, 0] % 360) * u.deg, dec=places[:, 1] * u.deg
        )
        for name, places in (("1:g", sky), ("2:r", sky[order]))
    )
    match = cross_match(one, two)
    assert match.pairs == {int(i) + 1: k + 1 for k, i in enumerate(order)}
    assert "sky" in match.how


def test_a_star_without_counterpart_is_named():
    xy = np.random.default_rng(3).uniform(10.0, 500.0, (13, 2))
    match = cross_match(catalog("1:g", xy), catalog("2:r", xy[[0, 2, 3, 4, 5, 6, 7, 8]]))
    assert matched_ids(match, 1, [2, 3], "1:g", "2:r") == (1, [2], [2])
    with pytest.raises(CatalogError, match="source 2 of 1:g has no counterpart in the catalogue of 2:r"):
        matched_ids(match, 2, [1], "1:g", "2:r")
    with pytest.raises(CatalogError, match="source 2 of 1:g"):
        matched_ids(match, 1, [2], "1:g", "2:r")


@pytest.fixture
def two_cameras(night_of_stars, write_night, tmp_path):
    """Star 2 dips, in both cameras; in the other it is source 6 of a mirrored field."""
    dip = 1.0 - 0.3 * (np.arange(200) > 100)
    flux, error, _ = night_of_stars(n_frames=200, factors={1: dip})
    order = np.array([4, 2, 0, 5, 3, 1, 6])
    write_night(tmp_path, flux, error, camera="1:g")
    write_night(tmp_path, flux[order], error[order], camera="2:r")
    photometer = DifferentialPhotometer(tmp_path, show_plots=False, verbose=False)
    xy = np.random.default_rng(8).uniform(20.0, 480.0, (7, 2))
    photometer.catalogs = {
        "1:g": catalog("1:g", xy),
        "2:r": catalog("2:r", (xy * [-0.9, 0.9] + [500.0, 7.0])[order]),
    }
    return photometer, tmp_path


@pytest.mark.parametrize("comparisons", ["auto", [1, 3]])
def test_the_same_star_is_taken_in_other_cameras(two_cameras, comparisons):
    photometer, out = two_cameras
    name = photometer.write_relative_light_curves("1:g", 2, comparisons, match_other_cameras=True)
    one, other = (relative_light_curve(out, name, camera=camera) for camera in ("1:g", "2:r"))
    assert set(other["source"]) == {6}
    np.testing.assert_allclose(
        one["rel_flux"], other["rel_flux"], rtol=1e-3 if comparisons == "auto" else 1e-12
    )
    assert "1:g target 2 is 2:r source 6" in (out / "opticam.log").read_text()


def test_a_camera_that_cannot_be_matched_is_left_out_and_named(two_cameras):
    photometer, out = two_cameras
    photometer.catalogs["2:r"] = catalog("2:r", np.random.default_rng(99).uniform(0, 500, (7, 2)))
    name = photometer.write_relative_light_curves("1:g", 2, match_other_cameras=True)
    assert "warning: 2:r is left out: the catalogues of 1:g and 2:r" in (out / "opticam.log").read_text()
    with pytest.raises(InputError, match="no camera"):
        relative_light_curve(out, name, camera="2:r")

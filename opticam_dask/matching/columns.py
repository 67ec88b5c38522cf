"""Columns of the master source table: the only place they are spelt."""

from __future__ import annotations

import pyarrow as pa

from opticam_dask.schema import Column, arrow_schema

_f8, _i4, _i8, _s, _b = pa.float64(), pa.int32(), pa.int64(), pa.string(), pa.bool_()

AFFINE_NAMES = ("a11", "a12", "a13", "a21", "a22", "a23")
SKY_NAMES = ("s11", "s12", "s13", "s21", "s22", "s23")
JOIN_NAMES = ("j11", "j12", "j13", "j21", "j22", "j23")


def _affine(names: tuple[str, ...], units: tuple[str, str], what: str) -> tuple[Column, ...]:
    axes = ("x from x", "x from y", "x offset", "y from x", "y from y", "y offset")
    return tuple(
        Column(name, _f8, units[1] if "offset" in axis else units[0], f"{what}: {axis}")
        for name, axis in zip(names, axes, strict=True)
    )


CATALOG_COLUMNS: tuple[Column, ...] = (
    Column("night", _s, "", "local date of the evening"),
    Column("camera", _s, "", "'<arm>:<filter>'"),
    Column("filter", _s, "", "filter"),
    Column("status", _s, "", "reference, matched or pending"),
    Column("field_id", _s, "", "field the catalogue belongs to; empty if pending"),
    Column("reason", _s, "", "why a catalogue is pending; empty if not"),
    Column("n_sources", _i4, "", "sources of the catalogue"),
    Column("n_matched", _i4, "", "sources that agree with objects of the field known then"),
    Column("residual", _f8, "pixel", "rms distance of these after the transform, in pixels of the field"),
    Column("log_nfa", _f8, "", "log10 of the number of such matches that chance would give; NaN if none"),
    Column("ny", _i4, "pixel", "rows of the catalogue's image"),
    Column("nx", _i4, "pixel", "columns of the catalogue's image"),
    Column("binning", _f8, "", "detector pixels per pixel and axis; NaN if unknown"),
    Column("pixel_scale", _f8, "arcsec / pixel", "scale of the image; NaN if unknown"),
    Column("ra", _f8, "deg", "right ascension of the pointing; NaN if unknown"),
    Column("dec", _f8, "deg", "declination of the pointing; NaN if unknown"),
    *_affine(AFFINE_NAMES, ("", "pixel"), "transform from the catalogue into the field"),
)

SIGHTING_COLUMNS: tuple[Column, ...] = (
    Column("night", _s, "", "local date of the evening"),
    Column("camera", _s, "", "'<arm>:<filter>'"),
    Column("filter", _s, "", "filter"),
    Column("source", _i4, "", "source ID in the camera's catalogue of the night"),
    Column("object_id", _s, "", "the star, for all nights and cameras; empty if not known which it is"),
    Column("field_id", _s, "", "field of the catalogue; empty while it is pending"),
    Column("reason", _s, "", "why there is no object_id; empty if there is one"),
    Column("x", _f8, "pixel", "column in the catalogue's image"),
    Column("y", _f8, "pixel", "row in the catalogue's image"),
    Column("flux", _f8, "adu", "flux of the catalogue"),
    Column("blended", _b, "", "the source is more than one star on the stack"),
    Column("ra", _f8, "deg", "right ascension by the frames' WCS; NaN if there is none"),
    Column("dec", _f8, "deg", "declination by the frames' WCS; NaN if there is none"),
    Column("field_x", _f8, "pixel", "place in the field along x; NaN while pending"),
    Column("field_y", _f8, "pixel", "place in the field along y; NaN while pending"),
    Column("dx", _f8, "pixel", "place in the field less that of the object, along x; NaN without object"),
    Column("dy", _f8, "pixel", "the same along y"),
    Column("separation", _f8, "pixel", "length of (dx, dy)"),
)

OBJECT_COLUMNS: tuple[Column, ...] = (
    Column("object_id", _s, "", "'<field>-<number>'; never changes and is never used again"),
    Column("field_id", _s, "", "field whose coordinates x and y are"),
    Column("same_as", _s, "", "ID that stands for the star if it turned out to have several; else empty"),
    Column("x", _f8, "pixel", "mean place in the field along x"),
    Column("y", _f8, "pixel", "mean place in the field along y"),
    Column("scatter", _f8, "pixel", "rms distance of the sightings from it; NaN for a single one"),
    Column("ra", _f8, "deg", "right ascension; NaN if no catalogue of the field has a WCS"),
    Column("dec", _f8, "deg", "declination"),
    Column("n_sightings", _i4, "", "catalogues that hold it"),
    Column("n_nights", _i4, "", "nights that hold it"),
    Column("n_cameras", _i4, "", "cameras that hold it"),
    Column("first_night", _s, "", "earliest night that holds it"),
    Column("last_night", _s, "", "latest night that holds it"),
)

FIELD_COLUMNS: tuple[Column, ...] = (
    Column("field_id", _s, "", "'F' and a number"),
    Column("night", _s, "", "night of the catalogue whose pixels are the field's coordinates"),
    Column("camera", _s, "", "its camera"),
    Column("ny", _i4, "pixel", "rows of its image"),
    Column("nx", _i4, "pixel", "columns of its image"),
    Column("binning", _f8, "", "its detector pixels per pixel and axis; NaN if unknown"),
    Column("pixel_scale", _f8, "arcsec / pixel", "its scale; NaN if unknown"),
    Column("n_nights", _i4, "", "nights matched to the field"),
    Column("n_catalogs", _i4, "", "catalogues matched to the field"),
    Column("n_objects", _i4, "", "objects of the field"),
    Column("ra", _f8, "deg", "right ascension of the tangent point; NaN if no catalogue has a WCS"),
    Column("dec", _f8, "deg", "declination of the tangent point"),
    *_affine(SKY_NAMES, ("deg / pixel", "deg"), "from the field to the tangent plane (+x is east)"),
    Column("joined_to", _s, "", "field this turned out to be part of; empty if none"),
    *_affine(JOIN_NAMES, ("", "pixel"), "transform from the field into the one it is joined to"),
)

CATALOGS = arrow_schema(CATALOG_COLUMNS)
SIGHTINGS = arrow_schema(SIGHTING_COLUMNS)
OBJECTS = arrow_schema(OBJECT_COLUMNS)
FIELDS = arrow_schema(FIELD_COLUMNS)

MAGNITUDE_PREFIX = "mag_"


def magnitude_column(name: str) -> pa.Field:
    """Arrow field of an objects' mean magnitude in a filter, column ``mag_<filter>``."""
    band = name.removeprefix(MAGNITUDE_PREFIX)
    return Column(
        name, _f8, "mag", f"median of -2.5 log10(flux / adu) in {band}, as measured; NaN if not seen in it"
    ).field

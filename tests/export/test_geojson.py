"""Regions as polygons: exact to the pixel, simple rings, valid to another reader, in the image's own pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from shapely import contains_xy, is_valid_reason
from shapely.geometry import shape

from dala.explanation.threshold import threshold
from dala.export.geojson import geojson, polygons
from dala.gate import Gate
from dala.gate.checks import Reason
from dala.opinion import NOTICE, Explanation, Opinion, explain, opinion_of
from tests.helpers.generated import examples


def ring_area(ring: list[list[float]]) -> float:
    """Shoelace area of a closed ring, positive if it runs clockwise as seen with y downwards."""
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def at(rows: list[str]) -> np.ndarray:
    return np.array([[one == "#" for one in row] for row in rows])


def test_one_pixel_is_a_square() -> None:
    assert polygons(at([".#"]), (2.0, 10.0)) == [[[[10, 0], [20, 0], [20, 2], [10, 2], [10, 0]]]]


def test_straight_edges_have_corners_only() -> None:
    assert polygons(at(["###", "###"]), (1, 1)) == [[[[0, 0], [3, 0], [3, 2], [0, 2], [0, 0]]]]


def test_a_hole_is_the_second_ring() -> None:
    ((outer, hole),) = polygons(at(["###", "#.#", "###"]), (1, 1))
    assert ring_area(outer) == 9 and ring_area(hole) == -1
    assert sorted(map(tuple, hole[:-1])) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_pixels_that_touch_at_a_corner_are_two_polygons() -> None:
    assert [[ring_area(ring) for ring in rings] for rings in polygons(at(["#.", ".#"]), (1, 1))] == [[1], [1]]


def test_a_ring_that_closes_at_a_corner_keeps_its_hole() -> None:
    # The part meets itself at the middle of the image: one simple outer ring and a hole, not a figure of eight.
    ((outer, hole),) = polygons(at(["##.", "#.#", "###"]), (1, 1))
    assert (ring_area(outer), ring_area(hole)) == (8, -1)
    # Two gaps that touch at a corner are two holes.
    ((outer, *holes),) = polygons(at(["####", "#.##", "##.#", "####"]), (1, 1))
    assert ring_area(outer) == 16 and [ring_area(hole) for hole in holes] == [-1, -1]


@pytest.mark.slow
@examples(150)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 0.9))
def test_polygons_hold_the_pixels_and_nothing_else(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    found = polygons(mask, (1, 1))
    area = 0.0
    for rings in found:
        for number, ring in enumerate(rings):
            assert ring[0] == ring[-1] and len({tuple(point) for point in ring}) == len(ring) - 1  # simple
            assert (ring_area(ring) > 0) == (number == 0)
            area += ring_area(ring)
    assert area == mask.sum()
    for y in range(height):
        for x in range(width):
            middle = (x + 0.5, y + 0.5)
            inside = sum(
                all((cv2.pointPolygonTest(np.float32(ring), middle, False) > 0) == (number == 0)
                    for number, ring in enumerate(rings))
                for rings in found
            )  # fmt: skip
            assert inside == int(mask[y, x])


@examples(150)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0.1, 0.9))
def test_another_reader_takes_the_polygons(seed: int, height: int, width: int, share: float) -> None:
    """GEOS, a port of the library (JTS) by which QuPath reads geometries, and as strict."""
    mask = np.random.default_rng(seed).random((height, width)) < share
    read = shape({"type": "MultiPolygon", "coordinates": polygons(mask, (1.5, 2.25))})
    assert is_valid_reason(read) == "Valid Geometry"
    assert read.area == pytest.approx(mask.sum() * 1.5 * 2.25)
    y, x = np.mgrid[:height, :width]
    np.testing.assert_array_equal(contains_xy(read, (x + 0.5) * 2.25, (y + 0.5) * 1.5), mask)


def rings_of(geometry: dict[str, Any]) -> list[list[list[float]]]:
    parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    assert geometry["type"] == "Polygon" or len(parts) > 1  # QuPath takes no MultiPolygon of one
    return [ring for rings in parts for ring in rings]


def test_geojson_has_the_regions_of_the_screen(opinion: Opinion, explanation: Explanation) -> None:
    found = json.loads(geojson(opinion, explanation))
    regions = explanation.regions.regions
    assert found["type"] == "FeatureCollection" and len(found["features"]) == len(regions) > 0
    assert found["notice"] == NOTICE and not found["outside_competence"]
    whole = opinion.patch.width * opinion.patch.height
    for number, (feature, region) in enumerate(zip(found["features"], regions, strict=True), start=1):
        rings = rings_of(feature["geometry"])
        assert sum(ring_area(ring) for ring in rings) / whole == pytest.approx(region.area)
        points = np.array([point for ring in rings for point in ring])
        left, top, right, bottom = region.box
        assert (points.min(0) >= (left, top)).all() and (points.max(0) <= (right, bottom)).all()
        said = feature["properties"]
        assert (said["objectType"], said["name"]) == ("annotation", f"{number}: towards malignant")
        assert said["classification"] == {"name": "DT Grad-CAM malignant", "color": [213, 94, 0]}
        assert said["measurements"]["Area (% of the image)"] == pytest.approx(100 * region.area)


@pytest.mark.slow
def test_a_image_larger_than_the_screen_has_regions_in_its_own_pixels(opinion: Opinion) -> None:
    pixels = cv2.resize(opinion.patch.pixels, (1201, 997), interpolation=cv2.INTER_AREA)
    large = opinion_of(replace(opinion.patch, pixels=pixels), opinion.model)
    found = explain(large, "malignant", "percentile", 70.0)
    assert found.field.shape[1] == 768
    features = json.loads(geojson(large, found))["features"]
    area = sum(ring_area(ring) for feature in features for ring in rings_of(feature["geometry"]))
    scale = 1201 / 768 * 997 / found.field.shape[0]
    assert area == pytest.approx(np.count_nonzero(found.regions.mask) * scale, rel=1e-12)


def test_two_parts_that_touch_at_a_corner_are_one_annotation(opinion: Opinion, explanation: Explanation) -> None:
    height, width = explanation.field.shape
    field = np.full((height, width), -1, dtype=np.float32)
    field[:80, :80] = field[80:160, 80:160] = 1
    touching = replace(explanation, field=field, regions=threshold(field, "fixed", 0.5))
    (feature,) = json.loads(geojson(opinion, touching))["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert sum(ring_area(ring) for ring in rings_of(feature["geometry"])) == pytest.approx(
        2 * 80 * 80 * opinion.patch.width * opinion.patch.height / (height * width)
    )


def test_annotations_of_a_strange_image_say_so(opinion: Opinion, explanation: Explanation) -> None:
    strange = replace(opinion, gate=Gate(Reason("unfamiliar", "This image is strange."), 9.0, 0.0))
    found = json.loads(geojson(strange, explanation))
    assert found["outside_competence"]
    assert all(
        one["properties"]["name"].endswith("towards malignant, outside the model's competence")
        for one in found["features"]
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_of_a_turned_image_lie_on_the_stored_one(
    orientation: int, opinion: Opinion, explanation: Explanation
) -> None:
    """Each region's pixels in the stored image, by the polygon, are those of the mask turned back by Pillow."""
    turned = replace(opinion, patch=replace(opinion.patch, turned=orientation))
    told = json.loads(geojson(turned, explanation))
    assert told["orientation"] == orientation
    height, width = explanation.field.shape
    mask = Image.fromarray(explanation.regions.mask)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that undo what exif_transpose does
    stored = np.asarray(mask.transpose(Image.Transpose(back[orientation])) if orientation > 1 else mask)
    block = Image.Exif()
    block[274] = orientation
    image = Image.fromarray(stored)
    image.info["exif"] = block.tobytes()
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), explanation.regions.mask)
    across, down = (
        (opinion.patch.width / width, opinion.patch.height / height)
        if orientation < 5
        else (opinion.patch.height / height, opinion.patch.width / width)
    )
    x, y = np.meshgrid((np.arange(stored.shape[1]) + 0.5) * across, (np.arange(stored.shape[0]) + 0.5) * down)
    covered = np.zeros(stored.shape, bool)
    for feature in told["features"]:
        covered |= contains_xy(shape(feature["geometry"]), x, y)
    np.testing.assert_array_equal(covered, stored)

"""Regions as polygons along the edges of their pixels, and as the GeoJSON that QuPath opens."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.export.records import prediction_record, square_um
from dala.intake.patch import Patch
from dala.opinion import NOTICE, Explanation, Opinion

POSITIVE, OTHER = [213, 94, 0], [0, 114, 178]  # Okabe and Ito's vermilion and blue


def polygons(
    region: NDArray[np.bool_], scale: tuple[float, float], corner: tuple[int, int] = (0, 0)
) -> list[list[list[list[float]]]]:
    """The outlines of a mask (H, W) along its pixels' edges, as GeoJSON's MultiPolygon coordinates.

    scale: patch pixels per mask pixel (y, x). corner: where the mask begins in a larger one (y, x). Each part that is
    one by its edges is a polygon, its outer ring first and then its holes; parts that touch at a corner only are
    polygons of their own, so that every ring is simple. The shoelace area of all rings is the mask's area times the
    scale, exactly.
    """
    count, parts = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    padded = np.pad(parts, 1)
    inside = padded[1:-1, 1:-1] > 0
    found: dict[int, list[list[list[float]]]] = {label: [] for label in range(1, count)}
    top, left = corner
    # Directed edges with the region at their right hand, as seen with y downwards: clockwise around a part.
    following: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for rows, columns, start, end in (
        (slice(0, -2), slice(1, -1), (0, 0), (1, 0)),  # nothing above: along the top, to the right
        (slice(1, -1), slice(2, None), (1, 0), (1, 1)),  # nothing right of it: down
        (slice(2, None), slice(1, -1), (1, 1), (0, 1)),  # nothing below: to the left
        (slice(1, -1), slice(0, -2), (0, 1), (0, 0)),  # nothing left of it: up
    ):
        for y, x in np.argwhere(inside & (padded[rows, columns] == 0)).tolist():
            label, x, y = int(parts[y, x]), x + left, y + top
            following.setdefault((label, x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    while following:
        label, x, y = next(iter(following))
        ring, direction = [(x, y)], (0, 0)
        while True:
            ends = following[(label, *ring[-1])]
            # Where a part meets itself at a corner, turn left: that keeps to the same gap, and every ring simple.
            here = ring[-1]
            end = max(ends, key=lambda to: _turn(direction, (to[0] - here[0], to[1] - here[1])))
            ends.remove(end)
            if not ends:
                del following[(label, *here)]
            direction = (end[0] - here[0], end[1] - here[1])
            if end == ring[0]:
                break
            ring.append(end)
        corners = [
            point
            for before, point, after in zip([ring[-1], *ring[:-1]], ring, [*ring[1:], ring[0]], strict=True)
            if (point[0] - before[0]) * (after[1] - point[1]) != (point[1] - before[1]) * (after[0] - point[0])
        ]
        scaled = [[x * scale[1], y * scale[0]] for x, y in [*corners, corners[0]]]
        # A part's first edge in reading order is on its outer ring, which therefore comes first.
        found[label].append(scaled)
    return [rings for rings in found.values()]


def _turn(coming: tuple[int, int], going: tuple[int, int]) -> int:
    """0 for a right turn as seen with y downwards, 1 straight on, 2 left."""
    return 1 - (coming[0] * going[1] - coming[1] * going[0])


def _as_stored(point: list[float], patch: Patch) -> list[float]:
    """A point (x, y) of the upright image in the stored one, by the EXIF orientation (EXIF 2.3, tag 274)."""
    x, y = point
    width, height = patch.width, patch.height
    return {
        2: [width - x, y],
        3: [width - x, height - y],
        4: [x, height - y],
        5: [y, x],
        6: [y, width - x],
        7: [height - y, width - x],
        8: [height - y, x],
    }.get(patch.turned, point)


def geojson(opinion: Opinion, explanation: Explanation) -> str:
    """The regions as a FeatureCollection in pixels of the stored file, an annotation each, for QuPath from 0.4 on.

    QuPath opens a file as it is stored. Where the image was turned upright for its EXIF orientation, the regions are
    turned back; `orientation` says so, and 1 that nothing was turned.
    A region of one part is a Polygon, which is how QuPath itself writes it; one whose parts touch at corners only is a
    MultiPolygon. Areas are in um2 too where the scale is known. QuPath ignores the members beside the features, so that
    an image outside the model's competence is named so in every annotation too.
    """
    height, width = explanation.field.shape
    scale = (opinion.patch.height / height, opinion.patch.width / width)
    target, whole = explanation.target, square_um(opinion)
    outside = not opinion.gate.inside
    mark = ", outside the model's competence" if outside else ""
    colour = POSITIVE if target == opinion.model.card.fields["positive"] else OTHER
    mask = explanation.regions.mask.astype(np.uint8)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    features: list[dict[str, Any]] = []
    for number, region in enumerate(explanation.regions.regions, start=1):
        x, y = region.contours[0][0]
        label = labels[y, x]
        left, top, wide, high = boxes[label, :4].tolist()  # all other pixels need not be looked at
        cut = labels[top : top + high, left : left + wide] == label
        parts = [
            [[_as_stored(point, opinion.patch) for point in ring] for ring in part]
            for part in polygons(cut, scale, (top, left))
        ]
        geometry = (
            {"type": "Polygon", "coordinates": parts[0]}
            if len(parts) == 1
            else {"type": "MultiPolygon", "coordinates": parts}
        )
        features.append(
            {
                "type": "Feature",
                "geometry": geometry,
                "properties": {
                    "objectType": "annotation",
                    "name": f"{number}: towards {target}{mark}",
                    "classification": {"name": f"DT Grad-CAM {target}", "color": colour},
                    "measurements": {
                        "Area (% of the image)": 100 * region.area,
                        **({} if whole is None else {"Area (um^2)": whole * region.area}),
                        "Evidence (% of the positive)": 100 * region.evidence,
                        "Threshold (raw map units)": explanation.regions.threshold,
                    },
                },
            }
        )
    record = prediction_record(opinion)
    collection = {
        "type": "FeatureCollection",
        "notice": NOTICE,
        "outside_competence": outside,
        "orientation": opinion.patch.turned,
        "pixel_size": record["pixel_size"],
        "laboratory": opinion.gate.laboratory,
        "site": record["site"],
        "verdict": record["verdict"],
        "verdict_reason": record["verdict_reason"],
        "features": features,
    }
    return json.dumps(collection, ensure_ascii=False, allow_nan=False) + "\n"

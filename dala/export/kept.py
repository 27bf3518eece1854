"""An opinion as it is kept: its record, the words beside it and its raw maps, which are read back from it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from dala import __version__
from dala.explanation.gradcam import Lattice, SignedMap
from dala.export.records import Record, explanation_record
from dala.export.worth import beside_the_verdict
from dala.opinion import Explanation, Opinion

THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 144, 85  # of the longer side, pixels
MAPS = "maps"
DIGITS = 9  # a float32 in so many digits is itself again


def kept_record(opinion: Opinion, explanation: Explanation) -> Record:
    """`explanation_record` without the file's name, with `worth`, the sentences beside the verdict; `positive`, the
    class that the probability is of; `version` of dala; and `maps`, the raw values (rows of numbers) by class, without
    those that are the negative of the first."""
    maps: dict[str, Any] = {}
    for name, one in opinion.maps.items():
        first = next(iter(maps), None)
        if first is None or not np.array_equal(one.values, -opinion.maps[first].values):
            maps[name] = [[float(f"{value:.{DIGITS}g}") for value in row] for row in one.values.tolist()]
    return {
        **explanation_record(opinion, explanation),
        "file": None,
        "worth": beside_the_verdict(opinion),
        "positive": opinion.model.card.fields["positive"],
        "classes": list(opinion.prediction.classes),
        "version": __version__,
        MAPS: maps,
    }


def maps_of(record: Record) -> dict[str, SignedMap]:
    """The raw maps of a kept record by class, as they were; empty where it holds none or what it holds is no map."""
    try:
        kept, facts = record[MAPS], record["map"]
        box = None if facts["box"] is None else tuple(facts["box"])
        lattice = facts["lattice"]
        found = {
            name: SignedMap(
                np.asarray(values, np.float32),
                name,
                box,
                None if lattice is None else Lattice(tuple(lattice["first"]), tuple(lattice["pitch"])),
            )
            for name, values in kept.items()
        }
        first = next(iter(found.values()))
        mirrors = {name: SignedMap(-first.values, name, first.box, first.lattice) for name in record["classes"]}
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
        return {}
    return {name: found.get(name, mirror) for name, mirror in mirrors.items()}


def thumbnail(image: np.ndarray) -> bytes:
    """A small JPEG of an image (H, W, 3) uint8 RGB."""
    height, width = image.shape[:2]
    shrink = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), options)[1].tobytes()

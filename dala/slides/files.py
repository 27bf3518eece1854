"""The files of a scan: tables, map and reports, written from its rows; `scan.json` last, which says that all are there.

    fields.csv          a row a field
    fields.geojson.gz   the fields as tiles with measurements, for QuPath from 0.4 on
    regions.geojson     connected malignant fields as annotations, for QuPath
    map.png             the slide, small, with every field in the colour of its state
    report.pdf, .json   what was found and by what, for people and for programs (report.schema.json)
    scan.json           what was scanned, by what, and the sha256 of the other files

No name of the slide is in any of them, and nothing of its label, macro, barcode or description.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

from dala import __version__
from dala.explanation.render import encode_png
from dala.export.geojson import OTHER, POSITIVE
from dala.files import json_text, write_bytes, write_json
from dala.opinion import NOTICE
from dala.slides.drawing import COLOURS, draw_map
from dala.slides.findings import Findings
from dala.slides.reader import Overview
from dala.slides.report import report_pdf
from dala.slides.rows import MALIGNANT, ROWS, Row

FIELDS, TILES, REGIONS = "fields.csv", "fields.geojson.gz", "regions.geojson"
MAP, PDF, REPORT, SCAN = "map.png", "report.pdf", "report.json", "scan.json"
COLUMNS = (
    *("column", "row", "left", "top", "right", "bottom", "tissue"),
    *("state", "probability_malignant", "reason", "distance", "laboratory"),
)


def write_all(folder: Path, findings: Findings, overview: Overview, mm2: float | None, day: date) -> list[Path]:
    """Write every file; `mm2`: of tissue. `scan.json` goes first and comes last. Raises OSError as writing does.

    The same rows give the same bytes, but for the day.
    """
    (folder / SCAN).unlink(missing_ok=True)
    content = report(findings, mm2, day)
    drawn = draw_map(findings, overview)
    made = {
        FIELDS: table(findings).encode(),
        TILES: gzip.compress(tiles(findings).encode(), mtime=0),
        REGIONS: regions(findings).encode(),
        MAP: encode_png(drawn),
        REPORT: json_text(content).encode(),
        PDF: report_pdf(content, drawn),
    }
    for name, data in made.items():
        write_bytes(folder / name, data)
    rows = (folder / ROWS).read_bytes() if (folder / ROWS).exists() else b""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in {ROWS: rows, **made}.items()}
    write_json(
        folder / SCAN,
        {
            "schema": 1,
            "complete": findings.whole,
            "version": __version__,
            **{key: content[key] for key in ("slide", "weights", "counts", "notice")},
            "files": digests,
        },
    )
    return [folder / name for name in (*made, SCAN)]


def table(findings: Findings) -> str:
    """The fields as CSV (RFC 4180), in the order of the plan; a field without a verdict has no probability."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for row in findings.rows:
        told = (row.tissue, row.state, row.probability, row.reason, row.distance, row.laboratory)
        writer.writerow((row.column, row.row, *row.box, *told))
    return file.getvalue()


def tiles(findings: Findings) -> str:
    """The fields as QuPath's tiles, a rectangle each, in pixels of level 0."""
    return _collection(findings, [_tile(row, findings) for row in findings.rows])


def regions(findings: Findings) -> str:
    """The regions as QuPath's annotations, those of one field too."""
    features = []
    for region in findings.regions:
        several = len(region.outline) > 1
        geometry = {"type": "MultiPolygon" if several else "Polygon",
                    "coordinates": region.outline if several else region.outline[0]}  # fmt: skip
        measured = {
            "Fields": len(region.fields),
            "Area (mm^2)": round(region.mm2, 4),
            "Probability of malignant, highest": region.highest,
            "Probability of malignant, mean": region.mean,
        }
        name = f"{region.number}: {'fields' if len(region.fields) > 1 else 'a field'} called malignant"
        features.append(_feature(geometry, "annotation", name, MALIGNANT, measured))
    return _collection(findings, features)


def _tile(row: Row, findings: Findings) -> dict[str, Any]:
    left, top, right, bottom = findings.grid.cell(row.column, row.row)
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    measured = {"Tissue (share)": row.tissue}
    if row.probability is not None:
        measured["Probability of malignant"] = row.probability
    if row.distance is not None:
        measured["Out-of-distribution score"] = row.distance
    name = f"{row.state}: {row.reason}" if row.reason else row.state
    return _feature({"type": "Polygon", "coordinates": [ring]}, "tile", name, row.state, measured)


def _feature(geometry: dict[str, Any], kind: str, name: str, state: str, measured: dict[str, float]) -> dict[str, Any]:
    colour = {MALIGNANT: POSITIVE, "benign": OTHER}.get(state, list(COLOURS[state]))
    properties = {
        "objectType": kind,
        "name": name,
        "classification": {"name": f"DALA {state}", "color": colour},
        "measurements": measured,
    }
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _collection(findings: Findings, features: list[dict[str, Any]]) -> str:
    content = {
        "type": "FeatureCollection",
        "notice": NOTICE,
        "complete": findings.whole,
        "um": findings.header["um"],
        "features": features,
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


def report(findings: Findings, mm2: float | None, day: date) -> dict[str, Any]:
    """What was found, by what and on what, ready for JSON; report.schema.json describes it."""
    header, expected = findings.header, findings.expected
    return {
        "schema": 1,
        "date": day.isoformat(),
        "version": __version__,
        "complete": findings.whole,
        "slide": {
            "fingerprint": header["slide"],
            "format": header["format"],
            "width": header["size"][0],
            "height": header["size"][1],
            "um": {**header["um"], "told": findings.told},
            "tissue_mm2": None if mm2 is None else round(mm2, 3),
            "fields": header["fields"],
        },
        "weights": {key: header[key] for key in ("weights", "weights_sha256", "site", "engine")},
        "counts": findings.counts,
        "verdict": None,
        "mostly_outside": findings.outside,
        "expected_false_alarms": None
        if expected is None
        else {"value": round(expected.value, 1), "low": round(expected.low, 1), "high": round(expected.high, 1)},
        "regions": [_region(region) for region in findings.groups],
        "single_fields": [_region(region) for region in findings.singles],
        "sentences": list(findings.sentences),
        "notice": NOTICE,
    }


def _region(region: Any) -> dict[str, Any]:
    return {
        "number": region.number,
        "fields": [list(at) for at in region.fields],
        "box": list(region.box),
        "mm2": round(region.mm2, 4),
        "highest": region.highest,
        "mean": region.mean,
    }

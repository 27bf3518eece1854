"""The records of many images as a table: CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PureWindowsPath
from typing import TextIO

from dala.export.records import Record
from dala.intake.image import who_is
from dala.opinion import NOTICE

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def columns(classes: Sequence[str]) -> list[str]:
    """The columns of the table in CSV."""
    return [
        *("file", "sha256", "status", "reason", "verdict", "verdict_reason", "prediction", "not_sure"),
        *(f"probability_{name}" for name in classes),
        *("calibrated", "pixel_rows_um", "pixel_columns_um", "pixel_size_source", "laboratory"),
        *("gate_distance", "weights", "site", "ms", "notice"),
    ]


def write_csv(records: Iterable[Record], classes: Sequence[str], file: TextIO) -> None:
    """Write records as CSV (RFC 4180, with a header) into a text file opened with newline=""; keeps none of them.

    A text that begins like a formula, in letters of any width and behind any spaces, gets an apostrophe before it, for
    a spreadsheet would run what a file's name says.
    """
    writer = csv.writer(file)
    writer.writerow(columns(classes))
    for record in records:
        shares = record["probabilities"] or {}
        gate, size = record["gate"] or {}, record["pixel_size"] or {}
        told = ("file", "sha256", "status", "reason", "verdict", "verdict_reason", "prediction", "not_sure")
        row = [
            *(record[key] for key in told),
            *(shares.get(name) for name in classes),
            record["calibrated"],
            *(size.get(key) for key in ("rows", "columns", "source")),
            gate.get("laboratory"),
            *(gate.get("distance"), record["weights"], (record["site"] or {}).get("name"), record["ms"], NOTICE),
        ]
        writer.writerow(harmless(value) for value in row)


def harmless(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    # Full-width and small forms of these signs are the signs themselves to a spreadsheet of an Eastern language.
    begins = unicodedata.normalize("NFKC", value.lstrip(" \N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}")[:1])
    return f"'{value}" if value.startswith(FORMULA) or begins.startswith(FORMULA) else value


def to_csv(records: Iterable[Record], classes: Sequence[str]) -> str:
    """The same as one text."""
    file = io.StringIO(newline="")
    write_csv(records, classes, file)
    return file.getvalue()


def nameless(records: Iterable[Record]) -> list[Record]:
    """The same records without the names of the files, which may name patients: each is "image N" in its order, and
    its sha256 tells which file it was."""
    found = []
    for number, record in enumerate(records, start=1):
        name, reason = str(record["file"]), record["reason"]
        for known in (name, PureWindowsPath(name).name):
            reason = reason and reason.replace(who_is(known), "The file")
        # A sentence about a file begins with its name, whatever else that holds; no other begins with a quote.
        if reason and reason.startswith("'"):
            reason = f"The file {reason[reason.rindex(chr(39)) + 1 :].lstrip()}"
        found.append({**record, "file": f"image {number}", "reason": reason})
    return found


def to_json(records: Sequence[Record]) -> str:
    """The records as one JSON object, with the notice that they are not for diagnosis."""
    return json.dumps({"notice": NOTICE, "results": list(records)}, indent=2, ensure_ascii=False, allow_nan=False)

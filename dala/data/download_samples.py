"""A small deck of true images from open collections for teaching and the first page, each with source and terms.

Twelve tiles of BRCA-M2C are fetched one by one, four of TNBC out of its archive. They lie in folders `benign` (nothing
malignant: the tile has no epithelial cell) and `malignant`, as PNG files that say their pixel size, with a table
`sources.csv`. The shipped weights have learnt from BRCA-M2C, so what they say of these tiles shows how a map looks and
not how good they are; of TNBC they have seen nothing.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dala.data import brca_m2c, tnbc
from dala.data.download import WAIT, File, Progress, fetch
from dala.data.download_archive import unpack
from dala.data.download_sources import M2C_COMMIT, SOURCES
from dala.data.pixels import read_rgb
from dala.files import replacing, write_text

TABLE = "sources.csv"
COLUMNS = ("file", "answer", "shows", "um_per_pixel", "seen_by_shipped_weights", "collection", "cite", "terms", "page")
RAW = f"https://raw.githubusercontent.com/TopoXLab/Dataset-BRCA-M2C/{M2C_COMMIT}/images"
SHOWS = {"benign": "stroma, vessels or lymphocytes, no epithelium", "malignant": "carcinoma"}


@dataclass(frozen=True)
class Sample:
    """An image of the deck: its answer, the set of `SOURCES` that it is of, its file, or its place in their archive."""

    answer: str
    collection: str
    name: str
    file: File | None = None


def _read_deck() -> tuple[Sample, ...]:
    """The deck of samples.json: of each tile of BRCA-M2C its size and sha256, of TNBC its place in the archive."""
    told = json.loads(Path(__file__).with_name("samples.json").read_text(encoding="utf-8"))
    found = []
    for one in told["brca_m2c"]:
        name = f"{one['name']}.png"
        file = File(f"{RAW}/{name}", name, SOURCES["brca_m2c"].page, one["size"], ("sha256", one["sha256"]))
        found.append(Sample(one["answer"], "brca_m2c", one["name"], file))
    return (*found, *(Sample(one["answer"], "tnbc", one["name"]) for one in told["tnbc"]))


DECK = _read_deck()
MICRONS = {"brca_m2c": brca_m2c.MICRONS_PER_PIXEL, "tnbc": tnbc.MICRONS_PER_PIXEL}
SEEN = ("brca_m2c",)  # collections that the shipped weights have learnt from


def fetch_deck(
    folder: Path, progress: Progress = lambda done, total: None, deck: Sequence[Sample] = DECK, wait: float = WAIT
) -> list[Path]:
    """Fetch the deck into a folder and return its images; those that are there are not fetched again.

    `progress(done, total)` counts images. Raises DataError as `fetch` does; what is there by then is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = {sample: folder / sample.answer / f"{_plain(sample)}.png" for sample in deck}
    missing = [sample for sample, place in places.items() if not place.is_file()]
    done = len(deck) - len(missing)
    progress(done, len(deck))
    with TemporaryDirectory(prefix=".fetching-", dir=folder) as spare:
        for collection in {sample.collection: None for sample in missing if sample.file is None}:
            source = SOURCES[collection]
            assert source.file is not None  # only open collections are in a deck
            unpack(
                fetch(source.file, Path(spare), unpacked=round(source.unpacked), wait=wait), Path(spare), source.at_most
            )
        for sample in missing:
            if sample.file is not None:
                found = fetch(sample.file, Path(spare), wait=wait)
            else:
                found = next(iter(sorted(Path(spare).rglob(f"{sample.name}.png"))), Path(spare) / f"{sample.name}.png")
            _save(found, places[sample], MICRONS[sample.collection])
            done += 1
            progress(done, len(deck))
    write_text(folder / TABLE, _table(deck))
    return list(places.values())


def _plain(sample: Sample) -> str:
    """A name that says the collection and not the answer."""
    return f"{sample.collection}-{sample.name.replace('/', '-')}"


def _save(found: Path, place: Path, microns: float) -> None:
    """The same pixels as PNG with the size of a pixel; DataError where the file cannot be read."""
    image = read_rgb(found)
    with replacing(place) as partial:
        image.save(partial, "PNG", dpi=(25_400 / microns, 25_400 / microns))


def _table(deck: Sequence[Sample]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for sample in deck:
        source = SOURCES[sample.collection]
        table.writerow(
            [f"{sample.answer}/{_plain(sample)}.png", sample.answer, SHOWS[sample.answer], MICRONS[sample.collection],
             "yes" if sample.collection in SEEN else "no", source.title, source.cite, source.terms, source.page]
        )  # fmt: skip
    return text.getvalue()

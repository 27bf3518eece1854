"""The checks of each data set on drawn trees, and the deck of samples from a local server."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data import download_samples
from dala.data.download import File
from dala.data.download_facts import Checked
from dala.data.download_samples import DECK, Sample, fetch_deck
from dala.data.download_sources import SOURCES, by_hand, complete, told
from dala.errors import DataError
from dala.intake.image import read_image
from tests.helpers.server import Served, Server, serving
from tests.helpers.trees import draw_bach, draw_mini_ddsm, draw_tree


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as found:
        yield found


def png(seed: int, side: int = 40) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def check(key: str, folder: Path) -> Checked:
    return SOURCES[key].check(folder, None)


@pytest.mark.parametrize("key", SOURCES)
def test_every_source_says_what_it_is(key: str, tmp_path: Path) -> None:
    source = SOURCES[key]
    text = told(source)
    assert all(part in text for part in (source.title, source.cite, source.terms, source.page))
    if source.file is None:
        sentence = by_hand(source, f"dala download {key} --to X")
        assert source.page in sentence and sentence.endswith(".")
    else:
        assert source.file.url.startswith("https://") or key == "breakhis"  # whose images are checked one by one
    with pytest.raises(DataError):
        source.check(tmp_path, None)
    assert complete(source, tmp_path) is None


def test_counts_of_drawn_trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check("bach", draw_bach(tmp_path / "bach")).lines == (
        "BACH: 4 of 100 normal images are there.",
        "BACH: 4 of 100 benign images are there.",
        "BACH: 4 of 100 in situ images are there.",
        "BACH: 4 of 100 invasive images are there.",
    )
    films = check("mini_ddsm", draw_mini_ddsm(tmp_path / "films"))
    assert films.lines[0] == "Mini-DDSM: 8 of 2,728 Normal images are there."
    assert not films.complete
    draw_tree(tmp_path / "breakhis", {"A": ("101",)}, images=1)
    found = check("breakhis", tmp_path / "breakhis")
    assert found.lines[-1] == "1 further PNG file that the official data set does not have."
    for class_, count in (("benign", 32), ("malignant", 26)):
        for number in range(count):
            folder = tmp_path / "ucsb" / "Images"
            folder.mkdir(parents=True, exist_ok=True)
            name = f"ytma10_010704_{class_}{number + 1}_ccd.tif"
            Image.open(io.BytesIO(png(100 * count + number))).save(folder / name)
    assert check("ucsb", tmp_path / "ucsb").complete
    (tmp_path / "ucsb" / "Images" / "ytma10_010704_benign1_ccd.tif").unlink()
    assert check("ucsb", tmp_path / "ucsb").lines[0] == "UCSB: 31 of 32 benign images are there."


def test_tnbc_is_complete_with_fifty_tiles_of_eleven_patients(tmp_path: Path) -> None:
    for number in range(50):
        patient = 1 + number % 11
        for folder in (f"Slide_{patient:02d}", f"GT_{patient:02d}"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{patient:02d}_{1 + number // 11}.png").write_bytes(png(number))
    assert check("tnbc", tmp_path).complete
    (tmp_path / "GT_03" / "03_1.png").unlink()
    assert not check("tnbc", tmp_path).complete


def deck(server: Server) -> list[Sample]:
    """Two tiles that are fetched one by one and one out of an archive, all served here."""
    found = []
    for number, answer in enumerate(("benign", "malignant")):
        content = png(number)
        url = server.put(f"/tile{number}.png", Served(content))
        digest = ("sha256", hashlib.sha256(content).hexdigest())
        file = File(url, f"tile{number}.png", "https://example.org", len(content), digest)
        found.append(Sample(answer, "brca_m2c", f"tile{number}", file))
    return [*found, Sample("malignant", "tnbc", "Slide_01/01_2")]


@pytest.fixture
def archived(server: Server, monkeypatch: pytest.MonkeyPatch) -> Served:
    """An archive of TNBC's layout in the place of the published one."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in (1, 2):
            archive.writestr(f"TNBC/Slide_01/01_{number}.png", png(10 + number))
    served = Served(content.getvalue())
    source = SOURCES["tnbc"]
    file = File(server.put("/tnbc.zip", served), "tnbc.zip", source.page)
    monkeypatch.setattr(download_samples, "SOURCES", {**SOURCES, "tnbc": replace(source, file=file)})
    return served


def test_the_deck_lies_in_folders_with_its_sources(server: Server, archived: Served, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = fetch_deck(tmp_path / "deck", lambda done, total: told.append((done, total)), deck(server), wait=0)
    names = sorted(path.relative_to(tmp_path / "deck").as_posix() for path in (tmp_path / "deck").rglob("*.*"))
    assert names == [
        "benign/brca_m2c-tile0.png",
        "malignant/brca_m2c-tile1.png",
        "malignant/tnbc-Slide_01-01_2.png",
        "sources.csv",
    ]
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    for path, content, microns in zip(found, (png(0), png(1), png(12)), (0.5, 0.5, 0.25), strict=True):
        patch = read_image(path)
        assert np.array_equal(patch.pixels, np.asarray(Image.open(io.BytesIO(content))))
        assert patch.pixel_size is not None
        assert (patch.pixel_size.rows, patch.pixel_size.columns) == pytest.approx((microns, microns), rel=1e-4)
    rows = list(csv.DictReader((tmp_path / "deck" / "sources.csv").read_text().splitlines()))
    assert [(row["answer"], row["seen_by_shipped_weights"], row["terms"]) for row in rows] == [
        ("benign", "yes", "BSD 3-Clause"),
        ("malignant", "yes", "BSD 3-Clause"),
        ("malignant", "no", "CC BY 4.0"),
    ]


def test_what_is_there_of_a_deck_is_not_fetched_again(server: Server, archived: Served, tmp_path: Path) -> None:
    archived.answers = [404]
    with pytest.raises(DataError, match="is gone"):
        fetch_deck(tmp_path, deck=deck(server), wait=0)
    assert [path.name for path in tmp_path.iterdir()] == []
    fetch_deck(tmp_path, deck=deck(server), wait=0)
    archived.asked.clear()
    (tmp_path / "benign" / "brca_m2c-tile0.png").unlink()
    fetch_deck(tmp_path, deck=deck(server), wait=0)
    assert archived.asked == []
    assert server.files["/tile0.png"].asked == [""]  # of the newest deck; the other tile is not asked for
    assert server.files["/tile1.png"].asked == []


def test_a_tile_that_is_another_one_is_refused(server: Server, archived: Served, tmp_path: Path) -> None:
    chosen = deck(server)
    tile = server.files["/tile1.png"]
    tile.content = bytes([tile.content[0] ^ 1]) + tile.content[1:]
    with pytest.raises(DataError, match="its sha256 is not the published one"):
        fetch_deck(tmp_path, deck=chosen, wait=0)
    assert (tmp_path / "benign" / "brca_m2c-tile0.png").is_file()  # what was right is kept
    assert not (tmp_path / "malignant").exists()


def test_the_shipped_deck_is_balanced_and_of_open_collections() -> None:
    answers = [sample.answer for sample in DECK]
    assert (answers.count("benign"), answers.count("malignant")) == (8, 8)
    assert all(sample.file is not None or SOURCES[sample.collection].file is not None for sample in DECK)
    assert len({sample.name for sample in DECK}) == len(DECK)
    assert all(sample.file is None or (sample.file.digest and sample.file.size) for sample in DECK)


def test_a_disk_without_room_is_told_before_the_archive_is_asked_for(
    server: Server, archived: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(DataError, match="make room"):
        fetch_deck(tmp_path, deck=deck(server), wait=0)

"""The gate of the mammography model: its figures on cases worked out by hand, and the shipped one before images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dala.data import mini_ddsm
from dala.errors import DataError
from dala.gate.familiarity import Gaussian
from dala.opinion import second_opinion
from dala.runtime.predict import Model, load_model
from dala.stats.bootstrap import Interval
from dala.studies import gate_films
from dala.studies.blocks import Table
from tests.data.test_mini_ddsm import add_case
from tests.helpers.records import cells, interval, partly, plain


def test_every_image_becomes_grey_bytes() -> None:
    assert gate_films._grey(np.array([[True, False]])).tolist() == [[[255] * 3, [0] * 3]]
    assert gate_films._grey(np.array([[-1.0, 0.5, 2.0]]))[0, :, 0].tolist() == [0, 127, 255]
    red = gate_films._grey(np.array([[[255, 0, 0, 9]]], np.uint8))
    assert red.shape == (1, 1, 3) and red[0, 0].tolist() == [76] * 3  # 0.299 of it


def test_the_drawn_textures_are_as_many_as_the_record_says() -> None:
    drawn = dict(gate_films.textures())
    assert f"{len(drawn)} gradients" in gate_films.KINDS["textures"][0]
    assert {image.shape for image in drawn.values()} == {(400, 400, 3)}
    assert drawn["gradient_x"][7, [0, -1], 0].tolist() == [0, 255]
    assert all(image.std() > 5 for image in drawn.values()), "none is flat: a check alone would refuse it"
    again = dict(gate_films.textures())
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)


def test_crops_are_squares_inside_the_image() -> None:
    rows, columns = np.mgrid[0:100, 0:200].astype(np.uint8)
    parts = list(gate_films.crops(np.stack([rows, columns, rows], 2)))
    assert len(parts) == gate_films.CROPS
    for part in parts:
        side = part.shape[0]
        assert part.shape == (side, side, 3) and 30 <= side <= 90
        assert np.ptp(part[..., 0]) == np.ptp(part[..., 1]) == side - 1


def draw(root: Path, cases: int) -> None:
    for number in range(cases):
        letter, status = "BC"[number % 2], ("Benign", "Cancer")[number // 2 % 2]
        add_case(root / "MINI-DDSM-Complete-JPEG-8", status, letter, f"{1000 + number}", ("LEFT_CC", "RIGHT_CC"))


def test_a_case_gives_one_film(tmp_path: Path) -> None:
    draw(tmp_path, 70)
    found = gate_films.chosen(tmp_path)
    assert len(found) == len({path.parent.name for _, path in found}) == 70
    assert {letter for letter, _ in found} <= set(mini_ddsm.LETTERS)


def test_too_few_cases_are_a_sentence(tmp_path: Path) -> None:
    draw(tmp_path, 10)
    with pytest.raises(DataError, match="films of 10 cases; the statistics need at least 64"):
        gate_films.chosen(tmp_path)


def test_what_the_checks_refuse_has_no_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images whose every feature is their grey level; the two Gaussians are at 0 with deviations 1 and 2."""
    levels = {"dark": 0, "near": 1, "far": 4, "edge": 2}
    images = [(name, np.full((2, 2, 3), level, np.uint8)) for name, level in levels.items()]
    monkeypatch.setitem(gate_films.KINDS, "made", ("made", lambda: iter(images), False))
    gaussians = [Gaussian(np.zeros(4), np.full(4, scale), np.zeros((1, 4)), np.ones(1), 1.0) for scale in (1.0, 2.0)]

    def look(image: np.ndarray) -> tuple[str, Any]:
        return ("too_dark", None) if image.max() == 0 else ("", np.full(4, image.max(), np.float32))

    kind = gate_films._foreign("made", look, gaussians, 1.5, lambda done, total: None)  # type: ignore[arg-type]
    # Distances: 1 and 1/2, 4 and 2, 2 and 1; means 0.75, 3, 1.5.
    assert kind == gate_films.Foreign(
        name="made", about="made", images=4, sources=4, checks_alone=3, answered=2, nearest=0.75,
        by_check={"too_dark": 1},
    )  # fmt: skip


def test_the_section_in_words() -> None:
    def films(letter: str, images: int, by_check: int, by_distance: int, passed: Interval) -> gate_films.Films:
        return gate_films.Films(letter=letter, images=images, by_check=by_check, by_distance=by_distance, passed=passed)

    def kind(name: str, images: int, alone: int, answered: int, nearest: float | None) -> gate_films.Foreign:
        return gate_films.Foreign(
            name=name, about="drawn", images=images, sources=images, checks_alone=alone, answered=answered,
            nearest=nearest, by_check={"no_film": images - alone} if images > alone else {},
        )  # fmt: skip

    record = partly(
        gate_films.FilmGate,
        limit=1.5,
        median=1.0,
        films=(films("A", 12, 2, 1, interval(0.9, 0.7, 1.0)), films("B", 20, 0, 3, interval(0.85, 0.7, 1.0))),
        kinds=(kind("photographs", 10, 4, 1, 1.25), kind("textures", 5, 5, 0, None)),
    )
    assert gate_films.summary(record) == (
        "Of 15 grey photographs, faces and textures the mammography model answers 1 (9 by the checks of the pixels "
        "alone), and of 30 films without a failed check the distance refuses 4."
    )
    tables = [block for block in _all_blocks(gate_films.section(record)) if isinstance(block, Table)]
    _, scanners, others = (cells(list(table.rows)) for table in tables)
    assert scanners[0] == ["A", "12", "2", "1", "90.0 % (70.0 to 100.0)"]
    assert others == [
        ["photographs: drawn", "4 of 10", "1", "1.25", r"no\_film 6"],
        ["textures: drawn", "5 of 5", "0", "none", "none"],
    ]
    assert "limit of the distance is 1.50" in plain(str(gate_films.section(record)[2]))


def _all_blocks(blocks: Any) -> Any:
    for block in blocks:
        yield block
        yield from _all_blocks(getattr(block, "blocks", ()))


# What is shipped

HERE = "studies/test_gate_films.py"
photographs = pytest.mark.exhaustive(instead=f"{HERE}::test_photographs_and_textures_are_no_films")
films = pytest.mark.exhaustive(instead=f"{HERE}::test_most_films_are_films")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(gate_films.WEIGHTS)


def test_the_shipped_gate_answers_none_of_what_was_measured(model: Model) -> None:
    source = gate_films.STUDY.read()
    assert source is not None and model.familiarity is not None
    assert round(model.familiarity.limit, 4) == source.record.limit
    assert [kind.answered for kind in source.record.kinds] == [0, 0, 0]
    assert sum(kind.images for kind in source.record.kinds) == 26 * 7 + 30 + 17 * 7


@pytest.mark.slow
@pytest.mark.parametrize("each", [8, pytest.param(1, marks=photographs)])
def test_photographs_and_textures_are_no_films(model: Model, each: int) -> None:
    """Every eighth, and all of them: whole, by the path that serves users."""
    images = [*gate_films.photographs(), *gate_films.textures()]
    assert len(images) == 26 + 17
    images = images[::each]
    inside = [name for name, pixels in images if second_opinion(pixels, model).gate.inside]
    assert inside == []


@pytest.mark.slow
@pytest.mark.parametrize(("each", "least"), [(500, 5), pytest.param(100, 21, marks=films)])
def test_most_films_are_films(model: Model, shared_data: Path, each: int, least: int) -> None:
    chosen = sorted((shared_data / "mini_ddsm").rglob("[BC]_*.jpg"))[::each]
    passed = [second_opinion(path.read_bytes(), model).gate.inside for path in chosen]
    assert len(passed) >= least and sum(passed) >= 0.9 * len(passed)


@pytest.mark.slow
def test_a_mammogram_of_a_digital_detector_is_looked_at(model: Model, shared_data: Path) -> None:
    """Its pixels are those of a film, though no DICOM file of a detector was learnt from."""
    opinion = second_opinion((shared_data / "slides" / "mammogram_jpeg_extended.dcm").read_bytes(), model)
    assert opinion.gate.reason is None or opinion.gate.reason.name == "unfamiliar"

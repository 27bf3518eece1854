"""Decks: answers from names and folders, even chances, no repetition, drawings that tell nothing by their name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from dala.phantoms.tissue import draw
from dala.teaching.cases import answer_of, answered, diagnosis_of, drawn_deck, file_deck, group_of


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("x/SOB_M_DC-14-2523-200-001.png", "malignant"),
        ("malignant/SOB_B_A-14-22549AB-200-001.png", "benign"),  # the name knows better than the folder
        ("set/Benign/one.png", "benign"),
        ("benign/malignant/one.png", "malignant"),
        ("normal/one.png", None),
        ("malignant.png", None),
    ],
)
def test_answers_come_from_names_and_folders(path: str, answer: str | None) -> None:
    assert answer_of(Path(path)) == answer


def test_decks_are_balanced() -> None:
    for count in (5, 10, 20):
        counts = Counter(case.answer for case in drawn_deck(count, seed=3))
        assert abs(counts["benign"] - counts["malignant"]) == count % 2
    deck = file_deck(
        [*(Path(f"benign/{n}.png") for n in range(30)), *(Path(f"malignant/{n}.png") for n in range(5))], 10, 4
    )
    assert Counter(case.answer for case in deck) == {"benign": 5, "malignant": 5}


def test_diagnoses_come_from_a_table_or_a_name(tmp_path: Path) -> None:
    (tmp_path / "benign").mkdir()
    (tmp_path / "cases.csv").write_text("file,diagnosis\nbenign/one.png,Sclerosing adenosis\n")
    assert diagnosis_of(tmp_path / "benign" / "one.png") == "Sclerosing adenosis"
    assert diagnosis_of(tmp_path / "benign" / "two.png") is None
    assert diagnosis_of(tmp_path / "SOB_M_MC-14-13418DE-40-013.png") == "mucinous carcinoma"


def test_only_images_with_an_answer_are_cases() -> None:
    known, unknown = Path("benign/a.png"), Path("a.png")
    assert answered([unknown, known]) == [known]


def test_a_patient_of_many_images_is_one_group() -> None:
    assert group_of(Path("a/SOB_M_DC-14-2523-200-001.png")) == group_of(Path("b/SOB_M_DC-14-2523AB-200-009.png"))
    assert group_of(Path("a/1.png")) != group_of(Path("a/2.png"))


def test_files_are_dealt_by_class_then_patient_without_repetition() -> None:
    # One malignant patient with 60 images, one with one, and three benign images.
    many = [Path(f"SOB_M_DC-14-1000-200-{n:03d}.png") for n in range(1, 61)]
    one = Path("SOB_M_DC-14-2000-200-001.png")
    benign = [Path(f"benign/{n}.png") for n in range(3)]
    first = Counter[str]()
    early = 0
    for seed in range(200):
        deck = file_deck([*many, one, *benign], 8, seed)
        assert [case.number for case in deck] == list(range(1, 9))
        assert len({case.path for case in deck}) == 8
        first[deck[0].answer] += 1
        early += one in [case.path for case in deck[:4]]
    # The class is a fair coin (two standard deviations: 14), though 61 of 64 images are malignant.
    assert abs(first["malignant"] - 100) < 40
    # By images the lone one would be among the first four in 200 * 4 / 64 = 12 of 200 decks; by patients in far more.
    assert early > 80


def test_a_deck_is_no_longer_than_its_images() -> None:
    assert len(file_deck([Path("benign/a.png"), Path("b.png")], 5, 0)) == 1
    assert file_deck([], 5, 0) == []


@pytest.mark.slow
def test_drawn_cases_have_both_answers_and_hide_them() -> None:
    deck = drawn_deck(40, seed=1)
    assert {case.answer for case in deck} == {"benign", "malignant"}
    assert drawn_deck(40, seed=1) == deck != drawn_deck(40, seed=2)
    for case in deck[:4]:
        assert case.drawing is not None
        phantom = case.phantom()
        assert phantom is not None
        assert phantom.lesion_mask.any() == (case.answer == "malignant")
        pixels = cv2.imdecode(np.frombuffer(case.data(), np.uint8), cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(pixels, draw(case.drawing, case.field).pixels)
        assert case.drawing not in case.name and case.answer not in case.name


def test_a_file_case_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "benign" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"bytes")
    (case,) = file_deck([path], 1, 0)
    assert (case.data(), case.phantom(), case.name) == (b"bytes", None, "a.png")
    path.unlink()
    with pytest.raises(OSError):
        case.data()

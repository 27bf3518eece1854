"""The Mini-DDSM adapter on a drawn tree with every fault of a real one, and on the real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pytest
from PIL import Image

from dala.data.mini_ddsm import CLASSES, OFFICIAL_COUNTS, Name, load, parse_name, validate
from dala.errors import DataError

VIEWS = ("LEFT_CC", "LEFT_MLO", "RIGHT_CC", "RIGHT_MLO")
COLUMNS = (
    "fullPath", "fileName", "View", "Side", "Status", "Tumour_Contour", "Tumour_Contour2", "Age", "Density",
)  # fmt: skip


def add_case(base: Path, status: str, letter: str, case: str, views: tuple[str, ...] = VIEWS) -> None:
    folder = base / status / case
    folder.mkdir(parents=True, exist_ok=True)
    for number, view in enumerate(views):
        image = np.random.default_rng(number).integers(0, 255, (8, 6), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{letter}_{case}_1.{view}.jpg")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Twelve B and C images with a label of benign or cancer, eight of A, and B normals; 0031 is two cases."""
    base = tmp_path / "data" / "MINI-DDSM-Complete-JPEG-8"
    add_case(base, "Benign", "B", "3001")
    add_case(base, "Cancer", "C", "0029")
    add_case(base, "Cancer", "C", "0031", VIEWS[:3])
    add_case(base, "Benign", "C", "0033", VIEWS[:1])
    add_case(base, "Normal", "A", "0031")
    add_case(base, "Benign", "A", "1001")
    add_case(base, "Normal", "B", "3002")
    return base


def write_sheet(path: Path, rows: list[tuple[object, ...]]) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Data"
    for row in (COLUMNS, *rows):
        sheet.append(row)
    book.save(path)


def test_a_name_says_scanner_case_exposure_side_and_view() -> None:
    assert parse_name("C_0029_1.LEFT_CC.jpg") == Name("C", "0029", 1, "LEFT", "CC")
    assert parse_name("a_1806_2.right_mlo.JPEG") == Name("A", "1806", 2, "RIGHT", "MLO")


@pytest.mark.parametrize("name", ["C_0029_1.LEFT_CC_Mask.jpg", "E_0029_1.LEFT_CC.jpg", "C_29_1.LEFT_CC.jpg", "x.jpg"])
def test_other_names_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(DataError, match=r"should look like C_0029_1\.LEFT_CC\.jpg"):
        parse_name(name)


def test_published_counts_add_up() -> None:
    assert sum(OFFICIAL_COUNTS.values()) == 9684


def test_benign_against_cancer_of_the_trained_scanners(base: Path) -> None:
    dataset = load(base.parent)
    assert dataset.root == base
    assert dataset.classes == ("benign", "malignant")
    assert [record.name[:6] for record in dataset.records] == ["B_3001"] * 4 + ["C_0029"] * 4 + ["C_0031"] * 3 + [
        "C_0033"
    ]
    assert dataset.labels.tolist() == [0] * 4 + [1] * 7 + [0]
    assert "".join(dataset.laboratories) == "BBBBCCCCCCCC"
    assert dataset.groups.tolist() == ["3001"] * 4 + ["0029"] * 4 + ["0031"] * 3 + ["0033"]
    assert dataset.notes == ()
    assert (dataset.records[4].side, dataset.records[4].view, dataset.records[4].age) == ("LEFT", "CC", None)


def test_three_statuses_of_all_scanners_keep_a_shared_number_together(base: Path) -> None:
    dataset = load(base, letters=("A", "B", "C", "D"), task="status")
    assert dataset.classes == CLASSES["status"] == ("normal", "benign", "malignant")
    assert len(dataset.records) == 24
    assert np.bincount(dataset.labels).tolist() == [8, 9, 7]
    shared = dataset.groups == "0031"
    assert shared.sum() == 7
    assert set(dataset.laboratories[shared]) == {"A", "C"}


def test_outlines_and_leftovers_are_no_mammograms(base: Path) -> None:
    folder = base / "Cancer" / "0029"
    for name in ("C_0029_1.LEFT_CC_Mask.jpg", "C_0029_1.LEFT_CC_Mask2.jpg", "._C_0029_1.LEFT_CC.jpg"):
        (folder / name).write_bytes(b"")
    assert len(load(base).records) == 12
    assert validate(base).problems == ()


def test_misplaced_misnamed_and_doubled_files_are_left_out_with_a_reason(base: Path) -> None:
    source = base / "Cancer" / "0029" / "C_0029_1.LEFT_CC.jpg"
    (base / "Benign" / "3001" / "C_0029_1.LEFT_CC.jpg").write_bytes(source.read_bytes())
    (base / "Benign" / "0029").mkdir()
    (base / "Benign" / "0029" / "C_0029_1.LEFT_CC.jpg").write_bytes(source.read_bytes())
    (base / "Benign" / "3001" / "scan.jpg").write_bytes(source.read_bytes())
    notes = load(base).notes
    assert len(notes) == 3
    assert any("Benign/3001/C_0029" in note and "should lie in Benign/0029" in note for note in notes)
    assert any("Cancer/0029/C_0029" in note and "same name is at Benign/0029" in note for note in notes)
    assert any("scan.jpg" in note and "not a Mini-DDSM name" in note for note in notes)


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_the_sheet_gives_age_density_and_marked_lesions(base: Path, kind: str) -> None:
    mask = "\\Cancer\\0029\\C_0029_1.LEFT_CC_Mask.jpg"
    rows: list[tuple[object, ...]] = [
        ("\\Cancer\\0029\\C_0029_1.LEFT_CC.jpg", "C_0029_1.LEFT_CC.jpg", "CC", "LEFT", "Cancer", mask, "-", 66, 3),
        ("\\Cancer\\0029\\C_0029_1.RIGHT_CC.jpg", "C_0029_1.RIGHT_CC.jpg", "CC", "RIGHT", "Cancer", "-", "-", 66, 3),
        ("\\Benign\\0033\\C_0033_1.LEFT_CC.jpg", "C_0033_1.LEFT_CC.jpg", "CC", "LEFT", "Benign", "-", "-", 0, "n/a"),
        ("\\Benign\\0031\\C_0031_1.LEFT_CC.jpg", "C_0031_1.LEFT_CC.jpg", "CC", "LEFT", "Benign", "-", "-", 50, 2),
    ]
    if kind == "xlsx":
        write_sheet(base / "DataWMask.xlsx", rows)
    else:
        lines = [",".join(str(cell) for cell in row) for row in (COLUMNS, *rows)]
        (base / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    dataset = load(base)
    told = {record.name: (record.age, record.density, record.marked) for record in dataset.records}
    assert told["C_0029_1.LEFT_CC.jpg"] == (66, 3, True)
    assert told["C_0029_1.RIGHT_CC.jpg"] == (66, 3, False)
    assert told["C_0033_1.LEFT_CC.jpg"] == (None, None, False)
    assert told["B_3001_1.LEFT_CC.jpg"] == (None, None, None)
    # The sheet says benign, the folder cancer: the label is uncertain.
    assert "C_0031_1.LEFT_CC.jpg" not in told
    assert len(dataset.notes) == 1
    assert "says Benign" in dataset.notes[0]
    assert validate(base).marked == 1


def test_a_sheet_that_is_another_is_refused(base: Path) -> None:
    (base / "DataWMask.csv").write_text("path,label\nx,y\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column fullPath, Status, Age, Density, Tumour_Contour"):
        load(base)
    (base / "DataWMask.csv").unlink()
    (base / "DataWMask.xlsx").write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be read as an Excel sheet"):
        load(base)
    (base / "DataWMask.xlsx").unlink()
    for name in ("one.csv", "two.csv"):
        (base / name).write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="several tables"):
        load(base)


def test_the_report_counts_and_names_what_is_wrong(base: Path) -> None:
    broken = base / "Cancer" / "0029" / "C_0029_1.RIGHT_CC.jpg"
    broken.write_bytes(broken.read_bytes()[:100])
    half = np.full((100, 60), 128, dtype=np.uint8)
    half[:50] = np.random.default_rng(0).integers(0, 255, (50, 60))
    Image.fromarray(half).save(base / "Cancer" / "0029" / "C_0029_1.LEFT_MLO.jpg", quality=100)
    report = validate(base)
    assert report.found == 23
    assert report.counts == {
        ("Benign", "B"): 4, ("Cancer", "C"): 6, ("Benign", "C"): 1, ("Normal", "A"): 4, ("Benign", "A"): 4,
        ("Normal", "B"): 4,
    }  # fmt: skip
    assert report.cases["Cancer", "C"] == 2
    assert [problem.path for problem in report.problems] == ["Cancer/0029/C_0029_1.RIGHT_CC.jpg"]
    assert report.broken_off == ("C_0029_1.LEFT_MLO.jpg",)
    assert (report.incomplete_cases, report.shared_numbers) == (3, 1)
    assert not report.complete
    text = report.text()
    assert "23 of 9,684 published images" in text
    assert "Benign against cancer on scanners B and C: 11 images." in text
    assert "No sheet (DataWMask.xlsx)" in text
    row = next(line for line in text.splitlines() if line.startswith("Cancer"))
    assert row.split() == ["Cancer", "0", "(0)", "0", "(0)", "6", "(2)", "0", "(0)", "6/3596"]


def test_wrong_roots_and_questions_are_sentences(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="no folder Normal, Benign or Cancer"):
        load(tmp_path / "bare")
    with pytest.raises(DataError, match="scanners of Mini-DDSM are A, B, C, D, not X"):
        load(base, letters=("B", "X"))
    with pytest.raises(DataError, match="no benign or malignant image of the scanners D"):
        load(base, letters=("D",))
    add_case(tmp_path / "data" / "second", "Benign", "B", "3001")
    with pytest.raises(DataError, match="2 Mini-DDSM trees"):
        load(tmp_path / "data")


def test_the_real_images(shared_data: Path) -> None:
    dataset = load(shared_data / "mini_ddsm")
    assert len(dataset.labels) == 2611
    assert {x: np.bincount(dataset.labels[dataset.laboratories == x]).tolist() for x in "BC"} == {
        "B": [647, 500],
        "C": [736, 728],
    }
    assert len(set(dataset.groups)) == 653
    # No case holds both classes, so a split by case can be stratified by class.
    assert all(len(set(dataset.labels[dataset.groups == case])) == 1 for case in set(dataset.groups))

"""The BreakHis adapter on a tree of tiny drawn images with every fault of a real one, and on the real images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.data.breakhis import MAGNIFICATIONS, OFFICIAL_COUNTS, SUBTYPES, Name, load, parse_name, validate
from dala.errors import DataError

FOLDERS = {
    "A": "benign/SOB/adenosis",
    "F": "benign/SOB/fibroadenoma",
    "PT": "benign/SOB/phyllodes_tumor",
    "TA": "benign/SOB/tubular_adenoma",
    "DC": "malignant/SOB/ductal_carcinoma",
    "LC": "malignant/SOB/lobular_carcinoma",
    "MC": "malignant/SOB/mucinous_carcinoma",
    "PC": "malignant/SOB/papillary_carcinoma",
}


class Tree:
    """An official tree under construction; every image is unlike all others unless `colour` says otherwise."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.breast = root / "BreaKHis_v1" / "histology_slides" / "breast"
        self.drawn = 0

    def add(
        self,
        code: str,
        slide: str,
        magnification: int,
        sequence: int,
        colour: int | None = None,
        below: str | None = None,
    ) -> Path:
        self.drawn += 1
        class_ = FOLDERS[code][0].upper()
        folder = f"{FOLDERS[code]}/SOB_{class_}_{code}_{slide}/{magnification}X" if below is None else below
        path = self.breast / folder / f"SOB_{class_}_{code}-{slide}-{magnification}-{sequence:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = self.drawn if colour is None else colour
        Image.new("RGB", (7, 5), (colour, 90, 160)).save(path)
        return path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """All eight subtypes; a slide at every magnification; 23060AB and 23060CD; 13412 twice with the same two images.

    At 200X: A 2 (one patient, two slides), F 1, PT 1, TA 1, DC 3, LC 2 (copies of two of the DC), MC 1, PC 1.
    """
    tree = Tree(tmp_path)
    for magnification in MAGNIFICATIONS:
        tree.add("PC", "15-190EF", magnification, 1)
    tree.add("A", "14-23060AB", 200, 7)
    tree.add("A", "14-23060CD", 200, 7)
    tree.add("F", "14-9133", 200, 1)
    tree.add("PT", "14-22704", 200, 1)
    tree.add("TA", "14-3411F", 200, 1)
    tree.add("MC", "14-10147", 200, 1)
    tree.add("DC", "14-2523", 200, 1)
    for code in ("DC", "LC"):
        tree.add(code, "14-13412", 200, 1, colour=201)
        tree.add(code, "14-13412", 200, 2, colour=202)
    return tree


def names(records) -> list[str]:
    return [record.name for record in records]


def test_official_counts_add_up_to_the_published_totals() -> None:
    benign = [sum(OFFICIAL_COUNTS[code][i] for code in ("A", "F", "PT", "TA")) for i in range(4)]
    malignant = [sum(OFFICIAL_COUNTS[code][i] for code in ("DC", "LC", "MC", "PC")) for i in range(4)]
    assert benign == [625, 644, 623, 588]
    assert malignant == [1370, 1437, 1390, 1232]
    assert sum(benign) + sum(malignant) == 7909


@pytest.mark.parametrize(
    ("file", "name", "accession"),
    [
        ("SOB_B_A-14-22549AB-100-027.png", Name("B", "A", "14", "22549AB", 100, 27), "14-22549"),
        ("SOB_M_PC-15-190EF-400-003.png", Name("M", "PC", "15", "190EF", 400, 3), "15-190"),
        ("SOB_M_DC-14-2523-40-010.png", Name("M", "DC", "14", "2523", 40, 10), "14-2523"),
        ("sob_b_ta-14-3411f-200-001.PNG", Name("B", "TA", "14", "3411F", 200, 1), "14-3411"),
    ],
)
def test_names(file: str, name: Name, accession: str) -> None:
    assert parse_name(file) == name
    assert parse_name(file).accession == accession


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("holiday.png", "not a BreakHis name"),
        ("SOB_B_A-14-22549AB-100-027.jpg", "not a BreakHis name"),
        ("SOB_B_A-14-AB-100-027.png", "not a BreakHis name"),
        ("SOB_B_A-14-22549AB-100-027 (1).png", "not a BreakHis name"),
        ("SOB_B_X-14-22549AB-100-027.png", "names the subtype 'X'"),
        ("SOB_M_A-14-22549AB-100-027.png", "contradicts itself: adenosis is benign"),
        ("SOB_B_A-14-22549AB-150-027.png", "magnification 150X"),
    ],
)
def test_names_that_are_none(file: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_name(file)


def test_binary_at_one_magnification(tree: Tree) -> None:
    data = load(tree.root, magnification=200)
    assert data.classes == ("benign", "malignant")
    assert list(zip(names(data.records), data.labels, data.groups, strict=True)) == [
        ("SOB_B_A-14-23060AB-200-007.png", 0, "14-23060"),
        ("SOB_B_A-14-23060CD-200-007.png", 0, "14-23060"),
        ("SOB_B_F-14-9133-200-001.png", 0, "14-9133"),
        ("SOB_B_PT-14-22704-200-001.png", 0, "14-22704"),
        ("SOB_B_TA-14-3411F-200-001.png", 0, "14-3411"),
        ("SOB_M_DC-14-13412-200-001.png", 1, "14-13412"),
        ("SOB_M_DC-14-13412-200-002.png", 1, "14-13412"),
        ("SOB_M_DC-14-2523-200-001.png", 1, "14-2523"),
        ("SOB_M_MC-14-10147-200-001.png", 1, "14-10147"),
        ("SOB_M_PC-15-190EF-200-001.png", 1, "15-190"),
    ]
    assert data.notes == (
        "2 images are filed more than once and used once, for example SOB_M_DC-14-13412-200-001.png and "
        "SOB_M_LC-14-13412-200-001.png.",
    )
    assert data.records[0].slide == "14-23060AB" and data.records[0].accession == "14-23060"


def test_all_magnifications(tree: Tree) -> None:
    data = load(tree.root)
    assert len(data.records) == 10 + 3
    assert sorted(record.magnification for record in data.records if record.slide == "15-190EF") == [40, 100, 200, 400]


def test_eight_subtypes_without_the_slide_of_two_diagnoses(tree: Tree) -> None:
    data = load(tree.root, magnification=200, task="subtype")
    assert data.classes == tuple(subtype.name for subtype in SUBTYPES.values())
    assert data.classes[2] == "phyllodes tumour"
    # A A F PT TA DC MC PC; nothing is left for LC.
    assert data.labels.tolist() == [0, 0, 1, 2, 3, 4, 6, 7]
    assert not any(record.accession == "14-13412" for record in data.records)
    assert data.notes == ("4 images are left out: slide 14-13412 is filed under two diagnoses.",)


def test_half_of_13412_is_still_uncertain(tree: Tree) -> None:
    shutil.rmtree(tree.breast / "malignant" / "SOB" / "ductal_carcinoma" / "SOB_M_DC_14-13412")
    subtype = load(tree.root, magnification=200, task="subtype")
    assert not any(record.accession == "14-13412" for record in subtype.records)
    binary = load(tree.root, magnification=200)
    assert sum(record.accession == "14-13412" for record in binary.records) == 2
    assert binary.notes == ()


def test_the_same_number_of_a_slide_is_the_same_image_even_if_stored_anew(tree: Tree) -> None:
    tree.add("DC", "14-13412", 400, 9, colour=10)
    tree.add("LC", "14-13412", 400, 9, colour=11)
    assert [name for name in names(load(tree.root, 400).records) if "13412" in name] == [
        "SOB_M_DC-14-13412-400-009.png"
    ]


def test_the_same_bytes_in_two_classes_have_no_label(tree: Tree) -> None:
    benign = tree.add("F", "14-14134", 200, 5, colour=251)
    malignant = tree.add("MC", "14-13418DE", 200, 8, colour=251)
    assert benign.read_bytes() == malignant.read_bytes()
    data = load(tree.root, magnification=200)
    assert not {benign.name, malignant.name} & set(names(data.records))
    assert len(data.records) == 10
    assert f"{benign.name} and {malignant.name} are left out: the same image under different labels." in data.notes


def test_the_same_bytes_in_two_patients_of_a_class_are_used_once(tree: Tree) -> None:
    tree.add("F", "14-14134", 200, 5, colour=251)
    tree.add("F", "14-25197", 200, 5, colour=251)
    kept = [name for name in names(load(tree.root, magnification=200).records) if "_F-" in name]
    assert kept == ["SOB_B_F-14-14134-200-005.png", "SOB_B_F-14-9133-200-001.png"]


def test_a_slide_in_both_classes_is_left_out(tree: Tree) -> None:
    tree.add("F", "14-2523", 200, 5)
    data = load(tree.root, magnification=200)
    assert not any(record.slide == "14-2523" for record in data.records)
    assert "2 images are left out: slide 14-2523 is filed under two diagnoses." in data.notes


@pytest.mark.parametrize(
    ("below", "says"),
    [
        ("malignant/SOB/adenosis/SOB_B_A_14-1/200X", "folder 'malignant', but the name says benign"),
        ("benign/SOB/fibroadenoma/SOB_B_A_14-1/200X", "folder 'fibroadenoma', but the name says adenosis"),
        ("benign/SOB/adenosis/SOB_B_A_14-1/400X", "folder '400x', but the name says 200X"),
        ("benign/SOB/adenosis/SOB_B_A_14-1AB/200X", "folder 'sob_b_a_14-1ab', but the name says slide 14-1, adenosis"),
    ],
)
def test_a_folder_that_contradicts_the_name(tree: Tree, below: str, says: str) -> None:
    path = tree.add("A", "14-1", 200, 1, below=below)
    data = load(tree.root, magnification=200)
    assert path.name not in names(data.records)
    assert len(data.notes) == 2 and says in data.notes[0] and below in data.notes[0]
    report = validate(tree.root)
    assert [says in problem.reason for problem in report.problems] == [True]


def test_a_regrouped_tree_is_read_by_its_names(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.add("A", "14-1", 200, 1, below="200X/benign")
    tree.add("PC", "14-2", 200, 1, below="200X/malignant")
    assert load(tmp_path).labels.tolist() == [0, 1]


def test_any_folder_of_the_tree_is_a_root(tree: Tree) -> None:
    expected = names(load(tree.root, 200).records)
    for root in (tree.breast.parents[1], tree.breast.parents[0], tree.breast):
        assert names(load(root, 200).records) == expected
    assert names(load(tree.breast / "benign", 200).records) == expected[:5]


def test_roots_that_are_none(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(DataError, match="does not exist"):
        load(empty / "nowhere")
    with pytest.raises(DataError, match="There is no BreakHis tree"):
        load(empty)
    shutil.copytree(tree.root, empty / "one")
    shutil.copytree(tree.root, empty / "two")
    with pytest.raises(DataError, match=r"holds 2 BreakHis trees \(one/.*, two/.*\); name one"):
        load(empty)
    with pytest.raises(DataError, match="no magnification 150X; it has 40X, 100X, 200X, 400X"):
        load(tree.root, 150)
    with pytest.raises(DataError, match="no task 'grade'"):
        load(tree.root, task="grade")  # type: ignore[arg-type]
    shutil.rmtree(tree.breast / "malignant")
    with pytest.raises(DataError, match="no usable BreakHis image at 40X"):
        load(tree.root, 40)


def test_the_report_counts_and_names_every_fault(tree: Tree) -> None:
    damaged = tree.add("MC", "14-10147", 400, 2)
    damaged.write_bytes(damaged.read_bytes()[:50])
    no_image = tree.add("MC", "14-10147", 400, 3)
    no_image.write_text("not an image")
    stranger = tree.breast / "benign" / "holiday.jpg"
    stranger.write_bytes(b"")
    twice = tree.add("F", "14-9133", 200, 1, below="benign/SOB/fibroadenoma/copy")
    (tree.breast / "benign" / "._SOB_B_F-14-9133-200-001.png").write_bytes(b"Mac")
    (tree.breast / "README.txt").write_text("not of interest")

    calls: list[tuple[int, int]] = []
    report = validate(tree.root, progress=lambda done, total: calls.append((done, total)))
    # Read: 4 PC, 2 A, F, PT, TA, MC, DC, 2 + 2 of slide 13412; and the two damaged ones.
    assert calls == [(i, 17) for i in range(1, 18)]
    assert report.found == 15
    assert report.counts == {
        ("PC", 40): 1, ("PC", 100): 1, ("PC", 200): 1, ("PC", 400): 1, ("A", 200): 2, ("F", 200): 1, ("PT", 200): 1,
        ("TA", 200): 1, ("MC", 200): 1, ("DC", 200): 3, ("LC", 200): 2,
    }  # fmt: skip
    assert report.two_diagnoses == ("14-13412",)
    assert report.copies == (
        ("SOB_M_DC-14-13412-200-001.png", "SOB_M_LC-14-13412-200-001.png"),
        ("SOB_M_DC-14-13412-200-002.png", "SOB_M_LC-14-13412-200-002.png"),
    )
    assert report.sizes == {(7, 5): 15}
    # 23060 has two slides; 13412 is one slide in two places.
    assert (report.slides, report.groups, report.benign_groups, report.malignant_groups) == (9, 8, 4, 4)
    reasons = {problem.path.rsplit("/", 1)[1]: problem.reason for problem in report.problems}
    assert set(reasons) == {damaged.name, no_image.name, stranger.name, twice.name}
    assert reasons[damaged.name].startswith("Cannot be read as an image (")
    assert reasons[no_image.name] == "Cannot be read as an image (its content is no known image format)."
    assert "not a BreakHis name" in reasons["holiday.jpg"]
    assert reasons[twice.name].startswith("A file of the same name is at benign/SOB/fibroadenoma/")
    assert not report.complete

    text = report.text()
    for line in (
        "15 of 7,909 official images are there and readable: the set is NOT complete.",
        "9 slides, 8 accession groups (4 with benign, 4 with malignant images).",
        "benign                       0/625       0/644       5/623       0/588",
        "  lobular carcinoma          0/156       0/170       2/163       0/137",
        "Missing at 40X: 1,994 images (adenosis 114, fibroadenoma 253, phyllodes tumour 109, tubular adenoma 149, "
        "ductal carcinoma 864, lobular carcinoma 156, mucinous carcinoma 205, papillary carcinoma 144).",
        "Slides filed under two diagnoses: 14-13412 (left out of the subtype task).",
        "2 images filed more than once, for example SOB_M_DC-14-13412-200-001.png = SOB_M_LC-14-13412-200-001.png "
        "(used once, or not at all where the labels differ).",
        "4 files left out:",
        f"  benign/holiday.jpg: {reasons['holiday.jpg']}",
    ):
        assert line in text.splitlines()


def test_a_missing_magnification_and_a_surplus_in_words(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(tree.breast / "malignant" / "SOB" / "papillary_carcinoma" / "SOB_M_PC_15-190EF" / "100X")
    monkeypatch.setattr("dala.data.breakhis.OFFICIAL_COUNTS", {**OFFICIAL_COUNTS, "MC": (205, 222, 0, 169)})
    lines = validate(tree.root).text().splitlines()
    assert "Missing at 100X: 2,081 images (all)." in lines
    assert "More than official: mucinous carcinoma 200X 1." in lines


def test_many_faults_are_cut_short(tree: Tree) -> None:
    for i in range(23):
        (tree.breast / f"other-{i:02d}.png").write_bytes(b"")
    text = validate(tree.root).text()
    assert "23 files left out:" in text and "other-19.png" in text and "other-20.png" not in text
    assert text.endswith("  and 3 more\n")


def test_complete_only_if_every_count_is_the_published_one(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"A": (0, 0, 2, 0), "F": (0, 0, 1, 0), "PT": (0, 0, 1, 0), "TA": (0, 0, 1, 0), "DC": (0, 0, 3, 0),
              "LC": (0, 0, 2, 0), "MC": (0, 0, 1, 0), "PC": (1, 1, 1, 1)}  # fmt: skip
    monkeypatch.setattr("dala.data.breakhis.OFFICIAL_COUNTS", counts)
    report = validate(tree.root)
    assert report.complete and "15 of 15 official images are there and readable: the set is complete." in report.text()
    (tree.breast / "stranger.png").write_bytes(b"")
    assert not validate(tree.root).complete
    monkeypatch.setattr("dala.data.breakhis.OFFICIAL_COUNTS", {**counts, "MC": (0, 0, 2, 0)})
    (tree.breast / "stranger.png").unlink()
    assert not validate(tree.root).complete


def test_the_real_images(shared_data: Path) -> None:
    data = load(shared_data / "breakhis_200x_224", magnification=200)
    assert np.bincount(data.labels).tolist() == [164, 525]
    assert len(data.records) == 689 and data.notes == ()
    assert len(set(data.groups)) == 37
    assert len(set(data.groups[data.labels == 0])) == 8
    # 29960 is an adenosis and a fibroadenoma of one patient, on two slides.
    slides = {(record.slide, record.subtype) for record in data.records if record.accession == "14-29960"}
    assert slides == {("14-29960AB", "F"), ("14-29960CD", "A")}


@pytest.mark.slow
def test_the_report_on_the_real_originals(shared_data: Path) -> None:
    report = validate(shared_data / "breakhis_originals")
    assert report.found == 44 and report.problems == () and report.copies == () and not report.complete
    assert sum(report.sizes.values()) == 44 and report.sizes[700, 460] >= 40

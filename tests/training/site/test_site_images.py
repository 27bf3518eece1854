"""A site's folder: whose images, and every reason for which it is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dala import load_model
from dala.errors import DataError
from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw
from dala.runtime.predict import Model
from dala.training.laboratories.samples import PARTS, stage_means
from dala.training.site.images import list_site, look_at


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("breast", engine="torch")


def folder(root: Path, benign: int = 5, malignant: int = 5) -> Path:
    for name, count in (("benign", benign), ("malignant", malignant)):
        if count:
            (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{name[0].upper()}{number // 2}-{number}.png").write_bytes(name.encode() + bytes([number]))
    return root


def test_every_image_is_its_own_patient_if_nobody_says_otherwise(tmp_path: Path) -> None:
    listed = list_site(folder(tmp_path))
    assert listed.labels == (0,) * 5 + (1,) * 5
    assert listed.patients == tuple(item.name for item in listed.items) and len(set(listed.patients)) == 10
    assert listed.items[0].name == "benign/B0-0.png" and listed.patients_by == "image"


def test_patients_by_a_pattern(tmp_path: Path) -> None:
    root = folder(tmp_path, 10, 10)
    assert list_site(root, pattern=r"^(\w+)-").patients[:4] == ("B0", "B0", "B1", "B1")
    assert list_site(root, pattern=r"^\w+").patients[:4] == ("B0", "B0", "B1", "B1")


def test_patients_by_a_table(tmp_path: Path) -> None:
    root = folder(tmp_path)
    rows = [f"benign/B{k // 2}-{k}.png,b{k}" for k in range(5)] + [f"M{k // 2}-{k}.png,m{k}" for k in range(5)]
    listed = list_site(root, table="\n".join(["file,patient", *rows]))
    assert listed.patients == ("b0", "b1", "b2", "b3", "b4", "m0", "m1", "m2", "m3", "m4")
    assert listed.patients_by == "table"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"table": "a,b\n1,2"}, "columns file and patient"),
        ({"table": "file,patient\nB0-0.png,1"}, "does not say whose 9 images"),
        ({"table": "file,patient\nB0-0.png,"}, "Line 2"),
        ({"table": "file,patient\nx.png,1\nx.png,2"}, "gives two"),
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": "^B"}, "does not match 5 images"),
        ({"pattern": "^."}, "5 patients of each class; benign/ has those of 1"),
        ({"pattern": r"^\w\d"}, "benign/ has those of 3"),
    ],
)
def test_patients_that_are_not_known_are_a_sentence(how: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.$") as error:
        list_site(folder(tmp_path), **how)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("benign", "malignant", "said"), [(0, 5, "in benign/"), (5, 0, "in malignant/"), (4, 5, "of 4")]
)
def test_one_class_or_too_few_patients_are_a_sentence(benign: int, malignant: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        list_site(folder(tmp_path, benign, malignant))
    assert said in str(error.value)


def tissue(root: Path) -> Path:
    """Ten drawn patches, each another one by a corner."""
    for label, name in enumerate(("benign", "malignant")):
        (root / name).mkdir(parents=True)
        for number in range(5):
            pixels = np.array(draw("solid_sheets").pixels[:230, :350])
            pixels[0, 0] = (label, number, 0)
            (root / name / f"{number}.png").write_bytes(encode_png(pixels))
    return root


@pytest.mark.slow
def test_what_the_stages_see_is_what_training_sees(model: Model, tmp_path: Path) -> None:
    images = look_at(list_site(tissue(tmp_path)), model, 0.5)
    assert images.features.shape == (10, 3584) and images.um_per_pixel == (0.5, 0.5)
    assert [len(one) for one in images.views] == [1] * 10
    from PIL import Image

    from dala.training.laboratories.samples import plain_view

    seen = stage_means(model.net, plain_view(Image.open(tmp_path / "benign" / "0.png").convert("RGB")))
    assert images.features[0] == pytest.approx(seen[0], abs=1e-4)
    assert np.array_equal(images.pooled[0], images.views[0][:, PARTS["layer3"]])


def spoilt(root: Path, what: str) -> Path:
    first = sorted((root / "benign").glob("*.png"))[0]
    if what == "unreadable":
        first.write_bytes(first.read_bytes()[:100])
    elif what == "twice":
        (root / "malignant" / "copy.png").write_bytes(first.read_bytes())
    elif what == "glass":
        first.write_bytes(encode_png(np.full((230, 350, 3), 245, np.uint8)))
    elif what == "a photograph":
        random = np.random.default_rng(0)
        first.write_bytes(encode_png((random.integers(0, 2, (230, 350, 1)) * [0, 255, 0]).astype(np.uint8)))
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "size", "said"),
    [
        ("unreadable", 0.5, "1 image ('benign/0.png') cannot be read"),
        ("twice", 0.5, "is the same as"),
        ("glass", 0.5, "The gate calls 1 image ('benign/0.png') no usable histology"),
        ("a photograph", 0.5, "The gate calls 1 image"),
        ("nothing", None, "not known of 10 images"),
    ],
)
def test_images_that_make_no_site_are_counted_and_named(
    what: str, size: float | None, said: str, model: Model, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        look_at(list_site(spoilt(tissue(tmp_path), what)), model, size)
    assert said in str(error.value) and str(error.value).endswith(".")

"""The public API on every kind of source, with and without a model, and what it refuses in one sentence."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dala
from dala.errors import DataError, IntakeError, RuleError, UnsupportedFormat
from dala.explanation.render import encode_png
from dala.intake.image import read_image
from dala.intake.pixel_size import PixelSize
from dala.phantoms.film import draw_film
from dala.phantoms.tissue import draw
from dala.runtime.predict import Model, served_model

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("weights_stay_loaded")]

PIXELS = np.ascontiguousarray(draw("solid_sheets").pixels[:230, :350])
PNG = encode_png(PIXELS)


@pytest.fixture(scope="module")
def opinion() -> dala.Opinion:
    return dala.second_opinion(PNG)


def test_every_kind_of_source_gives_the_same_opinion(opinion: dala.Opinion, tmp_path: Path) -> None:
    path = tmp_path / "drawn.png"
    path.write_bytes(PNG)
    for source in (path, str(path), bytearray(PNG), PIXELS, PIXELS[:, ::-1][:, ::-1], Image.fromarray(PIXELS)):
        found = dala.second_opinion(source)
        assert np.array_equal(found.patch.pixels, PIXELS) and not found.patch.pixels.flags.writeable
        assert found.prediction.probabilities.tolist() == opinion.prediction.probabilities.tolist()


def test_pixels_are_known_by_their_values_and_kept_apart_from_the_callers() -> None:
    given = PIXELS.copy()
    patch = read_image(given, "of a scanner")
    assert (patch.format, patch.name) == ("array", "of a scanner")
    assert patch.sha256 == read_image(Image.fromarray(PIXELS)).sha256 != read_image(PIXELS.reshape(-1, 230, 3)).sha256
    given[:] = 0
    assert np.array_equal(patch.pixels, PIXELS)


def test_a_pil_image_is_read_as_its_file_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 100, np.uint8)])
    for name, image in {
        "turned.jpg": Image.fromarray(PIXELS),
        "clear.png": Image.fromarray(rgba),
        "grey.png": Image.fromarray(PIXELS[..., 0]),
        "deep.png": Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 16),
    }.items():
        image.save(tmp_path / name, exif=exif)
        one, other = read_image(tmp_path / name), read_image(Image.open(tmp_path / name))
        assert np.array_equal(one.pixels, other.pixels) and one.notes == other.notes


def test_the_model_is_found_by_what_the_image_is_and_loaded_once(opinion: dala.Opinion) -> None:
    assert opinion.model.name == "breast"
    assert dala.second_opinion(draw_film().pixels).model.name == "mini_ddsm"
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(served_model, ["breast"] * 4)) == {opinion.model}
    own = Model(opinion.model.net, opinion.model.card)
    assert dala.second_opinion(PNG, own, name="a/b.png").model is own


@pytest.mark.parametrize("given", [0.5, (0.5, 0.5), np.float32(0.5), np.array([0.5, 0.5])])
def test_a_pixel_size_is_carried(given: float) -> None:
    assert read_image(PNG, pixel_size_um=given).pixel_size == PixelSize(0.5, 0.5, "user")
    assert read_image(PNG, pixel_size_um=(0.5, 0.25)).pixel_size == PixelSize(0.5, 0.25, "user")
    assert read_image(PNG).pixel_size is None


@pytest.mark.parametrize("given", [0.0, -1.0, math.nan, math.inf, 500, (0.5, 50), (1, 2, 3), "fine", object()])
def test_a_pixel_size_that_is_none_is_one_sentence(given: float) -> None:
    with pytest.raises(IntakeError, match=r"^[A-Z].*\.$"):
        read_image(PNG, pixel_size_um=given)


@pytest.mark.parametrize(
    "source",
    [
        None,
        3,
        [[1, 2, 3]],
        PIXELS.astype(np.float32),
        PIXELS[..., 0],
        np.dstack([PIXELS, PIXELS]),
        Image.fromarray(PIXELS[..., 0].astype(np.float32)),
    ],
)
def test_what_is_no_image_is_one_sentence(source: object) -> None:
    with pytest.raises(UnsupportedFormat, match=r"^[A-Z].*\.$"):
        dala.second_opinion(source)  # type: ignore[arg-type]


def test_arrays_and_pil_images_have_the_limits_of_files() -> None:
    for small in (PIXELS[:20], Image.fromarray(PIXELS[:20])):
        with pytest.raises(dala.DalaError, match=r"^The image is .* 20 pixels"):
            read_image(small)
    closed = Image.fromarray(PIXELS)
    closed.close()
    with pytest.raises(IntakeError, match="closed"):
        read_image(closed)


def test_explain_takes_the_prediction_and_the_rules_default(opinion: dala.Opinion) -> None:
    found = dala.explain(opinion)
    label = opinion.prediction.label
    asked = dala.explain(opinion, label, "mean_std", 1.0)
    assert found.target == label and np.array_equal(found.panels.dt, asked.panels.dt)
    with pytest.raises(DataError, match="benign, malignant"):
        dala.explain(opinion, "unheard of")
    with pytest.raises(RuleError):
        dala.explain(opinion, rule="unheard of")

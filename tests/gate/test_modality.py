"""A patch is told from a mammogram by colour and smoothness, a DICOM file by its own word; real ones are counted."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.errors import DataError
from dala.gate.checks import HISTOLOGY, MAMMOGRAM
from dala.gate.modality import WORDS, corrected, recognise, stated_reason
from dala.intake.image import read_image
from dala.intake.patch import Patch
from dala.phantoms.film import draw_film
from dala.phantoms.tissue import PHANTOMS, draw
from dala.studies.modality import kinds, measure
from tests.helpers.films import film


def patch_of(pixels: np.ndarray, stated: str | None = None) -> Patch:
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    return Patch(rgb, "0" * 64, "x", "PNG", ("A note.",), None, stated)


@pytest.mark.parametrize("name", PHANTOMS)
def test_drawn_tissue_is_histology_with_and_without_its_colours(name: str) -> None:
    pixels = draw(name).pixels
    assert recognise(patch_of(pixels)).modality == HISTOLOGY
    assert recognise(patch_of(pixels)).because == "it has colours"
    grey = recognise(patch_of(pixels.mean(2).astype(np.uint8)))
    assert grey.modality == HISTOLOGY
    assert grey.because.startswith("it is grey")


@pytest.mark.parametrize("seed", range(3))
def test_drawn_films_are_mammograms_at_any_size(seed: int) -> None:
    pixels = draw_film(seed=seed).pixels
    for width in (200, 540, 1600):
        small = np.asarray(Image.fromarray(pixels).resize((width, width * 4 // 3)))
        assert recognise(patch_of(small)).modality == MAMMOGRAM
    assert recognise(patch_of(film(background=60, seed=seed)[0])).modality == MAMMOGRAM


def test_a_faint_tint_is_still_grey_and_a_stain_is_not() -> None:
    """A mean difference of the channels of 4 grey levels is below the limit of 5, of 6 above it."""
    pixels = draw_film().pixels.astype(int)
    for tint, modality in ((4, MAMMOGRAM), (6, HISTOLOGY)):
        tinted = np.clip(pixels + np.array([tint, 0, 0]), 0, 255).astype(np.uint8)
        assert recognise(patch_of(tinted)).modality == modality


def test_the_word_of_a_dicom_file_comes_before_its_pixels() -> None:
    tissue, breast = draw(PHANTOMS[0]).pixels, draw_film().pixels
    assert recognise(patch_of(tissue, "a mammogram")).modality == MAMMOGRAM
    assert recognise(patch_of(breast, "microscopy")).modality == HISTOLOGY
    assert recognise(patch_of(breast, "a digital mammogram")).modality == MAMMOGRAM
    assert recognise(patch_of(breast, "computed tomography")).modality == MAMMOGRAM  # by its pixels
    assert "says that it is a mammogram" in recognise(patch_of(tissue, "a mammogram")).because


@pytest.mark.parametrize(
    ("stated", "modality", "name"),
    [
        (None, MAMMOGRAM, None),
        ("a mammogram", MAMMOGRAM, None),
        ("a mammogram", HISTOLOGY, None),  # a person's word comes before the file's
        ("microscopy", HISTOLOGY, None),
        ("a digital mammogram", MAMMOGRAM, "digital"),
        ("a digital mammogram", HISTOLOGY, None),
        ("computed tomography", MAMMOGRAM, "other_modality"),
        ("ultrasound", HISTOLOGY, "other_modality"),
    ],
)
def test_what_the_file_says_keeps_a_model_from_judging(stated: str | None, modality: str, name: str | None) -> None:
    reason = stated_reason(stated, modality)
    assert (None if reason is None else reason.name) == name
    assert reason is None or reason.sentence.endswith(".")


def test_a_correction_is_noted_and_nothing_else_is() -> None:
    patch = patch_of(draw_film().pixels)
    assert corrected(patch, MAMMOGRAM) is patch
    other = corrected(patch, HISTOLOGY)
    assert other.notes == (
        "By its content this was taken for a mammogram; a person has read it as an H&E patch.",
        "A note.",
    )
    assert other.pixels is patch.pixels
    assert set(WORDS) == {HISTOLOGY, MAMMOGRAM}


@pytest.mark.slow
def test_the_measurement_counts_what_is_wrong(tmp_path: Path) -> None:
    """Of two films one is coloured; the patch stays a patch with and without its colours."""
    for folder, name, pixels in (
        ("mini_ddsm", "grey.png", draw_film().pixels),
        ("mini_ddsm", "pink.png", draw(PHANTOMS[0]).pixels),
        ("breakhis_200x_224", "patch.png", draw(PHANTOMS[1]).pixels),
        ("bach_part_b", "one_mask.png", draw_film().pixels),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        (tmp_path / folder / name).write_bytes(out.getvalue())
    record = measure(tmp_path)
    assert [(row.folder, row.images, row.wrong, list(row.wrong_files)) for row in record.kinds] == [
        ("breakhis_200x_224", 1, 0, []),
        ("breakhis_200x_224, colour taken out", 1, 0, []),
        ("mini_ddsm", 2, 1, ["pink.png"]),
    ]
    assert record.protocol and record.command
    with pytest.raises(DataError, match="holds none of the folders"):
        measure(tmp_path / "empty")


more = pytest.mark.exhaustive(instead="gate/test_modality.py::test_real_images")


@pytest.mark.slow
@pytest.mark.parametrize("most", [12, pytest.param(60, marks=more)])
def test_real_images(shared_data: Path, most: int) -> None:
    """A sample of what `dala modality` counts in full (evidence/modality.json)."""
    for folder, modality in kinds().items():
        files = [path for path in sorted((shared_data / folder).rglob("*.*g")) if not path.stem.endswith("_mask")]
        chosen = files[:: max(1, len(files) // most)]
        wrong = [path.name for path in chosen if recognise(read_image(path)).modality != modality]
        assert len(wrong) <= (1 if modality == MAMMOGRAM else 0), wrong
    real = recognise(read_image(shared_data / "slides" / "mammogram_jpeg_extended.dcm"))
    assert real.modality == MAMMOGRAM and real.because.startswith("it is grey")

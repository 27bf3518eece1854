"""The judge that knows colours alone: by hand, on disk, and fitted on drawn images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dala.cli.main import main
from dala.data import breakhis
from dala.data.pixels import load_pixels
from dala.errors import WeightsError
from dala.runtime.card import WEIGHTS_DIR
from dala.training.colour_only import ColourOnly, colour_statistics, load_colour_only, save_colour_only
from tests.helpers.trees import draw_tree

CLASSES = ("benign", "malignant")


def test_probability_by_hand() -> None:
    """Malignant by 0.01 for each level of red above 100: red 200 gives a margin of 1."""
    rows = np.zeros((2, 6))
    rows[1, 0] = 0.01
    judge = ColourOnly(CLASSES, rows, np.array([0.0, -1.0]))
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[..., 0] = 200
    np.testing.assert_allclose(judge.probabilities(image), [[1 / (1 + np.e), np.e / (1 + np.e)]])


def test_it_reads_back(tmp_path: Path) -> None:
    judge = ColourOnly(CLASSES, np.random.default_rng(0).normal(size=(2, 6)), np.array([0.5, -0.5]))
    save_colour_only(tmp_path / "a.colour.safetensors", judge, protocol="p")
    found = load_colour_only(tmp_path / "a.safetensors")
    assert found is not None and found.classes == CLASSES
    np.testing.assert_array_equal(found.rows, judge.rows)
    np.testing.assert_array_equal(found.biases, judge.biases)
    assert load_colour_only(tmp_path / "b.safetensors") is None


@pytest.mark.parametrize(
    "judge",
    [
        ColourOnly(CLASSES, np.zeros((2, 5)), np.zeros(2)),
        ColourOnly(CLASSES, np.zeros((2, 6)), np.zeros(3)),
        ColourOnly(CLASSES, np.full((2, 6), np.nan), np.zeros(2)),
    ],
)
def test_a_judge_that_cannot_judge_is_refused(tmp_path: Path, judge: ColourOnly) -> None:
    save_colour_only(tmp_path / "a.colour.safetensors", judge)
    with pytest.raises(WeightsError, match=r"a\.colour\.safetensors is damaged"):
        load_colour_only(tmp_path / "a.safetensors")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.colour.safetensors").write_bytes(b"no")
    with pytest.raises(WeightsError):
        load_colour_only(tmp_path / "a.safetensors")


def test_it_learns_what_the_images_differ_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The drawn tree's benign images are pale, the malignant ones dark."""
    root = draw_tree(tmp_path / "tree", {"A": ("101", "102"), "DC": ("201", "202")})
    weights = tmp_path / "weights.safetensors"
    assert main(["colour", "breakhis", "--data", str(root), "--weights", str(weights)]) == 0
    assert "weights.colour.safetensors" in capsys.readouterr().out
    judge = load_colour_only(tmp_path / "weights.safetensors")
    assert judge is not None
    dataset = breakhis.load(root, 200)
    called = judge.probabilities(load_pixels(dataset.records, 224)).argmax(1)
    np.testing.assert_array_equal(called, dataset.labels)


@pytest.mark.slow
def test_the_shipped_judge_is_whole() -> None:
    judge = load_colour_only(WEIGHTS_DIR / "breakhis.safetensors")
    assert judge is not None and judge.classes == CLASSES
    grey = np.full((1, 8, 8, 3), 128, np.uint8)
    assert judge.probabilities(grey).sum() == pytest.approx(1)
    assert colour_statistics(grey).tolist() == [[128, 128, 128, 0, 0, 0]]

"""The Gaussian against other libraries, its file, and how views and reasons become one judgement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.spatial.distance import mahalanobis
from sklearn.decomposition import PCA
from torch import nn

from dala.errors import WeightsError
from dala.gate import assess
from dala.gate.checks import HISTOLOGY
from dala.gate.familiarity import (
    SMALLEST_SCALE,
    SUFFIX,
    Familiarity,
    Gaussian,
    Laboratories,
    Lookalike,
    fit_gaussian,
    load_familiarity,
    save_familiarity,
    trunk_identity,
)
from dala.opinion import second_opinion
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime.card import WEIGHTS_DIR
from dala.runtime.predict import Model, load_model, predict
from tests.gate.test_checks import squeezed
from tests.runtime.test_predict import patch_of


@pytest.fixture(scope="module")
def cloud() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(size=(300, 6)) @ random.normal(size=(6, 6)) + 5


def test_with_every_axis_but_one_it_is_mahalanobis_distance(cloud: np.ndarray) -> None:
    gaussian = fit_gaussian(cloud, np.ones(300), axes=5)
    covariance = np.cov(cloud.T, bias=True)
    expected = [mahalanobis(x, cloud.mean(0), np.linalg.inv(covariance)) / np.sqrt(6) for x in cloud[:20]]
    # Scales are a thousandth larger than the deviations; Mahalanobis distance does not depend on scales.
    np.testing.assert_allclose(gaussian.distances(cloud[:20]), expected, rtol=1e-6)


def test_with_few_axes_it_is_probabilistic_pca(cloud: np.ndarray) -> None:
    gaussian = fit_gaussian(cloud, np.ones(300), axes=2)
    z = (cloud - cloud.mean(0)) / (cloud.std(0) + SMALLEST_SCALE)
    model = PCA(n_components=2, svd_solver="full").fit(z)
    centred = z - z.mean(0)
    squared = np.einsum("ni,ij,nj->n", centred, model.get_precision(), centred) * 300 / 299  # sklearn divides by N - 1
    np.testing.assert_allclose(gaussian.distances(cloud), np.sqrt(squared / 6), rtol=1e-6)


def test_the_training_images_are_at_about_one(cloud: np.ndarray) -> None:
    squared = fit_gaussian(cloud, np.ones(300), axes=3).distances(cloud) ** 2
    assert squared.mean() == pytest.approx(1, rel=1e-6)


def test_weights_count_as_copies(cloud: np.ndarray) -> None:
    counts = np.random.default_rng(1).integers(1, 4, 300)
    weighted = fit_gaussian(cloud, counts, axes=3)
    copied = fit_gaussian(np.repeat(cloud, counts, axis=0), np.ones(counts.sum()), axes=3)
    np.testing.assert_allclose(weighted.distances(cloud), copied.distances(cloud), rtol=1e-8)


def small_trunk(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def kept(cloud: np.ndarray, tmp_path: Path) -> tuple[Path, Familiarity]:
    familiarity = Familiarity(fit_gaussian(cloud, np.ones(300), axes=3), 1.5, np.linspace(0.5, 2, 100))
    save_familiarity(tmp_path / f"tiny{SUFFIX}", familiarity, trunk_identity(small_trunk()), 320)
    return tmp_path / "tiny.safetensors", familiarity


def test_what_is_saved_is_loaded(kept: tuple[Path, Familiarity], cloud: np.ndarray) -> None:
    path, familiarity = kept
    loaded = load_familiarity(path, small_trunk(), 320)
    assert loaded is not None
    assert loaded.limit == familiarity.limit
    np.testing.assert_allclose(
        loaded.gaussian.distances(cloud), familiarity.gaussian.distances(cloud), rtol=1e-4
    )  # kept as float32
    assert loaded.p_value(0.4) == 1
    assert loaded.p_value(2.1) == 0
    assert loaded.p_value(1.25) == pytest.approx(0.5, abs=0.01)


def test_statistics_of_another_trunk_or_side_are_none(kept: tuple[Path, Familiarity], tmp_path: Path) -> None:
    path, _ = kept
    assert load_familiarity(path, small_trunk(1), 320) is None
    assert load_familiarity(path, small_trunk(), 448) is None
    assert load_familiarity(tmp_path / "absent.safetensors", small_trunk(), 320) is None


def test_a_damaged_file_is_an_error(kept: tuple[Path, Familiarity]) -> None:
    path, _ = kept
    file = path.with_suffix(SUFFIX)
    for content in (b"", b"no safetensors", file.read_bytes()[:-50]):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match="damaged"):
            load_familiarity(path, small_trunk(), 320)


@pytest.mark.parametrize(
    ("part", "value"),
    [("mean", np.nan), ("axes", np.inf), ("scale", 0.0), ("variances", -1.0), ("rest", np.nan), ("limit", np.nan),
     ("limit", np.inf), ("others", np.nan)],
)  # fmt: skip
def test_statistics_by_which_nothing_can_be_told_are_damaged(
    kept: tuple[Path, Familiarity], part: str, value: float
) -> None:
    """A distance that is no number would pass or refuse every image alike."""
    path, _ = kept
    with safe_open(path.with_suffix(SUFFIX), "numpy") as file:
        notes = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if part in notes:
        notes[part] = str(value)
    else:
        tensors[part].flat[0] = value
    save_file(tensors, path.with_suffix(SUFFIX), notes)
    with pytest.raises(WeightsError, match="damaged"):
        load_familiarity(path, small_trunk(), 320)


def test_a_trunk_is_known_at_the_precision_of_weights_on_disk() -> None:
    trunk, stored = small_trunk(), small_trunk()
    stored.load_state_dict({key: value.half().to(value.dtype) for key, value in trunk.state_dict().items()})
    assert trunk_identity(stored) == trunk_identity(trunk)
    assert trunk_identity(small_trunk(1)) != trunk_identity(trunk)


# How one judgement is made

FLAT = Gaussian(np.zeros(4), np.ones(4), np.zeros((1, 4)), np.ones(1), 1.0)  # distance = root mean square


def judged(views: list[np.ndarray], levels: list[float], limit: float | None = 1.0) -> tuple[str | None, float | None]:
    familiarity = None if limit is None else Familiarity(FLAT, limit, np.array([0.5, 1, 1.5, 2]))
    pooled = np.repeat(np.array(levels)[:, None], 4, axis=1)
    gate = assess(np.stack(views), pooled, HISTOLOGY, familiarity)
    assert gate.inside is (gate.reason is None)
    return None if gate.reason is None else gate.reason.name, gate.score


def test_reasons_and_majorities() -> None:
    good = squeezed(draw(PHANTOMS[0]).pixels)
    blank = np.full_like(good, 243)
    grey = np.repeat(good.mean(2, keepdims=True), 3, axis=2).astype(np.uint8)
    assert judged([good], [0.9]) == (None, 0.9)
    assert judged([good], [1.1]) == ("unfamiliar", 1.1)
    assert judged([good], [1.1], None) == (None, None)
    assert judged([blank], [0.5]) == ("blank", 0.5)
    assert judged([blank], [9.0]) == ("blank", 9.0), "the pixels' own reason comes first"
    assert judged([good, blank], [0.5, 0.5])[0] is None, "half of the views pass"
    assert judged([good, blank, grey, grey], [0.5] * 4)[0] == "grey"
    assert judged([good, good, good], [0.5, 2.0, 3.0]) == ("unfamiliar", 2.0)


def test_the_share_of_true_patches_that_are_as_far() -> None:
    good = squeezed(draw(PHANTOMS[0]).pixels)
    familiarity = Familiarity(FLAT, 9.0, np.array([0.5, 1, 1.5, 2]))
    assert assess(good[None], np.full((1, 4), 1.5), HISTOLOGY, familiarity).p_value == 0.5


# The statistics in the repository


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("breakhis")


def test_the_shipped_weights_have_their_statistics(model: Model) -> None:
    assert model.familiarity is not None, "dala gate breakhis --data ROOT --others DIR"
    assert (WEIGHTS_DIR / f"breakhis{SUFFIX}").stat().st_size < 2_000_000
    assert 1 < model.familiarity.limit < 5
    assert model.familiarity.p_value(model.familiarity.limit) == pytest.approx(0.05, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", PHANTOMS)
def test_a_drawing_is_known_from_tissue(model: Model, name: str) -> None:
    prediction = predict(patch_of(draw(name).pixels), model)
    gate = assess(prediction.views.for_gate, prediction.pooled, model.card.modality, model.familiarity)
    assert gate.reason is not None
    assert gate.reason.name == "unfamiliar"


more = pytest.mark.exhaustive(instead="gate/test_familiarity.py::test_true_patches_pass_and_other_images_do_not")


@pytest.mark.slow
@pytest.mark.parametrize(("each", "least"), [(240, 2), pytest.param(60, 10, marks=more)])
def test_true_patches_pass_and_other_images_do_not(model: Model, shared_data: Path, each: int, least: int) -> None:
    def inside(paths: list[Path]) -> list[bool]:
        return [second_opinion(path, model).gate.inside for path in paths]

    root = shared_data / "breakhis_200x_224"
    patches = sorted(root.rglob("*-200-*.png"))
    assert patches
    assert sum(inside(patches[::each])) >= least  # of 3, of 12
    assert all(inside(sorted((shared_data / "breakhis_originals").rglob("*-200-*.png"))))
    assert not any(inside(sorted((shared_data / "mini_ddsm").rglob("*.jpg"))[::2000]))


# Several laboratories

TWO = Gaussian(np.array([[0.0] * 4, [2.0] * 4, [9.0] * 4]), np.ones(4), np.zeros((1, 4)), np.ones(1), 1.0)
KNOWN = Laboratories(("A", "B", "C"), TWO, np.array([0.5, 1.0, 1.0]), np.array([1.0, 3.0, 0.0]))


def test_the_nearest_mean_counts_and_each_is_told() -> None:
    pooled = np.repeat([[0.25], [1.5]], 4, axis=1)
    np.testing.assert_allclose(TWO.to_each(pooled), [[0.25, 1.75, 8.75], [1.5, 0.5, 7.5]])
    np.testing.assert_allclose(TWO.distances(pooled), [0.25, 0.5])
    np.testing.assert_allclose(KNOWN.distances(np.repeat([[0.0], [0.5], [8.0]], 4, axis=1)), [0.5, 2.0, 8.5])


@pytest.mark.parametrize(
    ("level", "laboratory"),
    [
        (0.25, "A"),  # 0.25 from A, within its limit; B is farther by 1.75 ** 2 - 0.25 ** 2 = 3, more than 1
        (0.6, None),  # beyond A's limit
        (1.9, "B"),  # squared, A is farther by 1.9 ** 2 - 0.1 ** 2 = 3.6, more than 3
        (1.5, None),  # within B's limit, but A is farther by 2 only
        (9.5, "C"),
        (11.0, None),
    ],
)
def test_a_laboratory_needs_its_limit_and_its_margin(level: float, laboratory: str | None) -> None:
    assert KNOWN.taken_for(KNOWN.distances(np.full((1, 4), level))) == laboratory


def test_laboratories_share_the_covariance_about_their_means(cloud: np.ndarray) -> None:
    number = np.repeat([0, 1], 150)
    apart = cloud + 50.0 * number[:, None]
    fitted = fit_gaussian(apart, np.ones(300), axes=5, laboratories=number)
    np.testing.assert_allclose(fitted.mean, [apart[:150].mean(0), apart[150:].mean(0)])
    centred = apart - fitted.mean[number]
    inverse = np.linalg.inv(np.cov(centred.T, bias=True))
    expected = [mahalanobis(x, fitted.mean[1], inverse) / np.sqrt(6) for x in apart[:9]]
    np.testing.assert_allclose(fitted.to_each(apart[:9])[:, 1], expected, rtol=1e-6)


def test_laboratories_are_kept_and_reach_the_answer(tmp_path: Path) -> None:
    familiarity = Familiarity(TWO, 1.0, np.array([0.5, 1, 1.5, 2]), KNOWN)
    save_familiarity(tmp_path / f"tiny{SUFFIX}", familiarity, trunk_identity(small_trunk()), 224)
    loaded = load_familiarity(tmp_path / "tiny.safetensors", small_trunk(), 224)
    assert loaded is not None
    assert loaded.laboratories is not None
    assert loaded.laboratories.names == KNOWN.names
    np.testing.assert_allclose(loaded.laboratories.margins, KNOWN.margins)
    good = squeezed(draw(PHANTOMS[0]).pixels)
    gate = assess(good[None], np.full((1, 4), 1.9), HISTOLOGY, loaded)
    assert (gate.inside, gate.laboratory) == (True, "B")
    assert gate.laboratories == pytest.approx({"A": 1.9, "B": 0.1, "C": 7.1})
    far = assess(good[None], np.full((1, 4), 5.5), HISTOLOGY, loaded)
    assert (far.inside, far.laboratory) == (False, None)
    assert assess(good[None], np.full((1, 4), 0.1), HISTOLOGY, Familiarity(TWO, 1.0, np.ones(1))).laboratories == {}


def test_tissue_that_the_model_takes_for_carcinoma_is_outside(tmp_path: Path) -> None:
    """Above 0 of 2 x1 - x2 - 1; what is unfamiliar is said first, and of several views most must be so."""
    lookalike = Lookalike(np.array([2.0, -1.0, 0.0, 0.0]), -1.0)
    familiarity = Familiarity(TWO, 1.0, np.array([0.5, 1, 1.5, 2]), KNOWN, lookalike)
    save_familiarity(tmp_path / f"tiny{SUFFIX}", familiarity, trunk_identity(small_trunk()), 224)
    loaded = load_familiarity(tmp_path / "tiny.safetensors", small_trunk(), 224)
    assert loaded is not None and loaded.lookalike is not None
    like, unlike, far = np.array([1.5, 0.5, 0, 0]), np.array([1.0, 1.0, 0, 0]), np.full(4, 5.5)
    assert loaded.lookalike.recognised(np.stack([like, unlike, far])).tolist() == [True, False, True]
    good = squeezed(draw(PHANTOMS[0]).pixels)

    def reason(*pooled: np.ndarray) -> str | None:
        gate = assess(np.stack([good] * len(pooled)), np.stack(pooled), HISTOLOGY, loaded)
        return None if gate.reason is None else gate.reason.name

    assert [reason(like), reason(unlike), reason(far)] == ["lookalike", None, "unfamiliar"]
    assert [reason(like, unlike), reason(like, unlike, like)] == [None, "lookalike"]

"""Maps against dots and masks: scores worked out by hand, maps of a linear classifier that add up to its answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from dala.data import brca_m2c
from dala.data.pixels import read_rgb
from dala.errors import DataError
from dala.nets.dala_resnet50 import STAGES, DALAResNet50
from dala.opinion import second_opinion
from dala.runtime.predict import Model, load_model
from dala.studies import pointing
from dala.studies.blocks import Chart
from dala.studies.names import NETWORK
from dala.studies.pointing import Found, Marked, Pointing, found_on, marked_of, scores, zones
from dala.training.laboratories.fit import Linear
from dala.training.laboratories.samples import PARTS, WIDTH
from tests.helpers.records import cells, interval, partly, plain

EVERYWHERE = np.ones((2, 4), bool)
LEFT = np.array([[True, True, False, False]] * 2)


def test_the_strongest_point_and_the_evidence_by_hand() -> None:
    field = np.array([[4.0, 1, 3, -9], [-5, -5, 0, 0]])
    assert scores(field, LEFT, EVERYWHERE) == (1.0, 5 / 8)
    # Without the first column the strongest point is on the right, and 1 of 4 of the evidence on the left.
    assert scores(field, LEFT, np.array([[False, True, True, True]] * 2)) == (0.0, 1 / 4)
    # Two share the maximum; nothing positive is shared as the area is.
    assert scores(np.array([[-1.0, -2, -1, -2], [-2, -2, -2, -2]]), LEFT, EVERYWHERE) == (0.5, 0.5)
    for marked in (np.zeros_like(LEFT), EVERYWHERE):
        with pytest.raises(ValueError, match="no map can be wrong"):
            scores(field, marked, EVERYWHERE)


def test_a_pixel_belongs_to_its_nearest_dot() -> None:
    """Against all distances, by scipy; dots at the edge and beyond it are moved in."""
    dots = np.array([[3, 4, 2], [15, 4, 1], [9, 18, 3], [19, 19, 2]])
    marked, near = zones(dots, (20, 20), 5.0, tumour=2)
    y, x = np.mgrid[:20, :20]
    far = cdist(np.stack([x.ravel(), y.ravel()], 1), dots[:, :2]).reshape(20, 20, 4)
    np.testing.assert_array_equal(near, far.min(2) <= 5)
    np.testing.assert_array_equal(marked, far[..., [0, 3]].min(2) < far[..., [1, 2]].min(2))
    beyond = zones(np.array([[25, -3, 2], [0, 19, 1]]), (20, 20), 1.5, tumour=2)
    assert beyond[0][0, 19] and beyond[1].sum() == 8, "a corner and three neighbours, twice"


def test_ranks_are_those_of_places() -> None:
    field = np.array([[4.0, 1, 3, -9], [-5, -5, 0, 0]])
    places = np.array([0, 0, 0, 1]), np.array([0, 1, 2, 3])  # 4, 1, 3, 0
    found = found_on("p", {"a": field}, LEFT, EVERYWHERE, places, np.array([True, True, False, False]))
    assert (found.group, found.area, found.scores) == ("p", 0.5, {"a": (1.0, 5 / 8, 3 / 4)})


def test_patients_weigh_the_same() -> None:
    def image(group: str, hit: float) -> Found:
        return Found(group, 0.25, {"a": (hit, 0.5, 0.75)})

    marked = marked_of([image("p", 1), image("p", 1), image("p", 1), image("q", 0)])
    assert (marked.images, marked.groups, marked.area["value"]) == (4, 2, 0.25)
    assert marked.maps["a"].pointing["value"] == 0.5
    assert marked.maps["a"].evidence == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert marked_of([image("p", 1)]).maps["a"].pointing == {"value": 1.0, "low": None, "high": None}
    with pytest.raises(DataError, match="shows tumour beside"):
        marked_of([])


def test_the_section_names_chance_and_the_best_stage() -> None:
    def measure(value: float) -> pointing.Measure:
        return pointing.Measure(pointing=interval(value), evidence=interval(0.5), ranking=interval(value))

    values = {NETWORK: 0.6, "averaged": 0.7, "layer2": 0.9, "layer3": 0.8, "layer4": 0.5, "stain": 0.95}
    maps = {name: measure(value) for name, value in values.items()}
    marked = Marked(images=3, groups=2, area=interval(0.4), maps=maps)
    record = partly(Pointing, laboratories={"BACH": marked})
    assert plain(pointing.summary(record)) == (
        "BACH, 3 tiles: the strongest point of the network's map lies on tumour in 60.0 %, averaged over symmetries "
        "and shifts in 70.0 %, by chance 40.0 %; it ranks tumour above the rest in 60.0 % of pairs, the amount of "
        "stain in 95.0 %. Of the maps of stages, alone and together, that of the second ranks best, 90.0 %."
    )
    rows = cells(pointing.table(record))
    assert rows[0] == ["DALAResNet50, as on the first page", "60.0 %", "50.0 %", "0.600"]
    assert rows[-1] == ["Chance: the marked share of the area", "40.0 %", "40.0 %", "0.500"]
    (chart,) = [block for block in pointing.section(record) if isinstance(block, Chart)]
    assert [one.value for one in chart.series["Strongest point on tumour"]] == [*values.values(), 0.4]


# Maps of the stages


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("breast")


def linear(stage: str, seed: int) -> Linear:
    rows = np.zeros((2, WIDTH))
    rows[:, PARTS[stage]] = np.random.default_rng(seed).normal(size=rows[:, PARTS[stage]].shape)
    return Linear(rows, np.zeros(2))


@pytest.mark.slow
def test_the_networks_map_is_the_mean_of_its_stages(model: Model) -> None:
    """A head written as the mean of linear classifiers: its map is the mean of theirs, over the number of cells."""
    from dala.training.head import write_into_head
    from dala.training.laboratories.fit import HeadRecipe, mean_of

    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    recipe, parts = HeadRecipe(), {stage: linear(stage, 2) for stage in PARTS}
    head, whole = DALAResNet50(stages=STAGES).head.eval(), mean_of(parts, recipe)
    write_into_head(head, whole.rows, whole.biases)
    maps = pointing.maps_of(pixels, 0.5, model, head, parts)
    by_hand = sum(share * maps[stage] for stage, share in zip(PARTS, recipe.shares, strict=True)) / (6 * 8)
    # A hundredth of what the head was before stays in it.
    assert np.abs(maps[NETWORK] - by_hand).max() < 0.05 * np.abs(by_hand).max()


@pytest.mark.slow
def test_every_map_lies_on_the_image(model: Model) -> None:
    """White glass with a dark patch at the right: a map differs most there from that of the glass alone."""
    glass = np.full((120, 200, 3), 240, np.uint8)
    pixels, parts = glass.copy(), {stage: linear(stage, 2) for stage in PARTS}
    pixels[40:80, 120:160] = np.random.default_rng(0).integers(0, 200, (40, 40, 3))
    maps, plain_maps = (pointing.maps_of(one, 0.5, model, model.net.head, parts) for one in (pixels, glass))
    assert list(maps) == list(pointing.TITLES)
    assert {one.shape for one in maps.values()} == {(120, 200)}
    for name, one in maps.items():
        row, column = np.unravel_index(int(np.abs(one - plain_maps[name]).argmax()), one.shape)
        assert 20 <= row < 100 and 100 <= column < 180, name
    assert torch.is_grad_enabled() and not any(p.grad is not None for p in model.net.parameters())


@pytest.mark.slow
def test_the_networks_map_is_the_one_that_is_served(model: Model, shared_data: Path) -> None:
    tile = brca_m2c.load(shared_data / "brca_m2c").records[0]
    pixels = np.asarray(read_rgb(tile.path))[:128, :192]
    served = second_opinion(pixels, model, pixel_size_um=0.5).maps["malignant"].upsampled(*pixels.shape[:2])
    own = pointing.maps_of(pixels, 0.5, model, model.net.head, {stage: linear(stage, 0) for stage in PARTS})[NETWORK]
    np.testing.assert_allclose(own, served, atol=1e-3 * np.abs(served).max())

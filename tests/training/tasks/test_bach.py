"""BACH from a drawn miniature of its tree to served four-class weights: tiles, votes, splits, commands, cards."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.cli.main import main
from dala.data import bach
from dala.errors import DataError
from dala.intake.image import read_image
from dala.nets.imagenet import Backbone
from dala.opinion import evidence_maps
from dala.runtime.calibration import softmax
from dala.runtime.card import Card, read_card
from dala.runtime.predict import Model, load_model, predict
from dala.runtime.weights import load_weights
from dala.stats.metrics import MULTICLASS_METRICS
from dala.training import cross_validation, release
from dala.training.cross_validation import cross_validate
from dala.training.evaluate import evaluate, known_groups
from dala.training.features import TrunkFeatures
from dala.training.fine_tune import fine_tune
from dala.training.recipe import Recipe
from dala.training.release import metrics_of, own_record, train
from dala.training.task import Tiles, mean_vote
from dala.training.tasks import bach as training
from dala.training.tasks.bach import Bach, majority_vote, tiles_of
from tests.helpers.starts import slim_resnets
from tests.helpers.trees import draw_bach

pytestmark = pytest.mark.usefixtures("one_thread")

FIELD = (66, 43)  # the field of view, as small as the drawn images


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_bach(tmp_path_factory.mktemp("bach"))


@pytest.fixture
def slim(monkeypatch: pytest.MonkeyPatch, miniature: None) -> Iterator[None]:
    """Every ResNet50 that is made, and the one to start from."""
    with slim_resnets() as start:
        monkeypatch.setattr("dala.training.backbone.load_backbone", lambda source: start)
        yield


@pytest.fixture(autouse=True)
def miniature(monkeypatch: pytest.MonkeyPatch, backbone: Backbone, recipe: Recipe) -> None:
    """The field of view shrunk as the images are, a random ResNet50, and a recipe that a test can carry."""
    monkeypatch.setattr(training, "FIELD", FIELD)
    monkeypatch.setattr("dala.training.backbone.load_backbone", lambda source: backbone)
    small = dataclasses.replace(recipe, geometric_views=0, stained_views=0, epochs=0.5)
    monkeypatch.setattr(training, "Recipe", lambda: small)


def test_tiles_of_a_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (144, 192, 3), dtype=np.uint8)
    tiles, adjacent = tiles_of(Image.fromarray(pixels), 32)
    assert (tiles.shape, adjacent) == ((13, 32, 32, 3), 9)
    # Tiles are 64 x 48 pixels; the last of the adjacent ones and the first around an inner corner:
    for index, box in ((8, (128, 96, 192, 144)), (9, (32, 24, 96, 72))):
        cropped = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC, box=box)
        np.testing.assert_array_equal(tiles[index], cropped)


def test_load_tiles_keeps_images_apart(tree: Path) -> None:
    seen: list[tuple[int, int]] = []
    tiles = training.load(tree).tiles(lambda done, total: seen.append((done, total)))
    assert np.shape(tiles.pixels) == (16 * 13, 224, 224, 3)
    assert seen[-1] == (16, 16)
    assert np.bincount(tiles.image).tolist() == [13] * 16
    assert tiles.adjacent.sum() == 16 * 9
    features = TrunkFeatures({}, (), tiles.image)
    assert features.tiles_of(np.array([3, 7])).tolist() == [*range(39, 52), *range(91, 104)]


def test_votes_by_hand() -> None:
    # Image 0: one tile certain of class 2, two that lean to class 0. Image 1: one call each for 0 and 1.
    p = np.array([[0, 0, 1], [0.5, 0.3, 0.2], [0.5, 0.2, 0.3], [0.6, 0.4, 0], [0.1, 0.9, 0]])
    image = np.array([0, 0, 0, 1, 1])
    mean, majority = mean_vote(p, image), majority_vote(p, image)
    np.testing.assert_allclose(mean, [[1 / 3, 0.5 / 3, 0.5], [0.35, 0.65, 0]])
    np.testing.assert_allclose(majority, [[2 / 3, 0, 1 / 3], [0.5, 0.5, 0]], atol=1e-6)
    assert mean.argmax(1).tolist() == [2, 1]
    assert majority.argmax(1).tolist() == [0, 1]  # the tie falls to the larger mean
    np.testing.assert_allclose(majority.sum(1), 1)


def test_served_vote_is_of_the_adjacent_tiles(tree: Path) -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [-9.0, 9.0]])
    image = np.zeros(3, int)
    found = training.load(tree).votes(logits, Tiles(np.zeros((3, 1, 1, 3)), image, np.array([True, True, False])))
    np.testing.assert_allclose(found["as_served"], softmax(np.array([[1.0, 0.5]])))
    np.testing.assert_allclose(mean_vote(softmax(logits), image), softmax(logits).mean(0, keepdims=True))


@pytest.mark.slow
@pytest.mark.usefixtures("slim")
def test_the_commands_end_to_end(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """validate, crossvalidate (and again, from what is on disk), train, evaluate, predict, explain."""
    made = tmp_path
    data, runs = ["--data", str(tree)], ["--runs", str(made / "runs")]
    assert main(["validate", "bach", *data]) == 1
    assert "16 of 400 official images" in capsys.readouterr().out

    evidence = made / "bach.json"
    trained: list[np.ndarray] = []
    for module in (cross_validation, release):
        monkeypatch.setattr(module, "fine_tune", lambda *given: (trained.append(given[4]), fine_tune(*given))[1])
    call = ["crossvalidate", "bach", *data, *runs, "--folds", "2", "--repeats", "1", "--evidence", str(evidence)]
    assert main(call) == 0
    assert len(trained) == 2
    record = json.loads(evidence.read_text())
    dataset = bach.load(tree)
    images = np.repeat(np.arange(16), 13)
    for tiles in trained:
        inside = set(dataset.groups[images[tiles]])
        outside = set(dataset.groups[np.setdiff1d(images, images[tiles])])
        assert inside.isdisjoint(outside) and outside  # neither an image nor a patient on both sides
        assert len(tiles) % 13 == 0
    assert set(record["scores"]) == set(Bach.explained)
    assert set(record["scores"]["dala_resnet50"]) == {
        *MULTICLASS_METRICS, "recall_normal", "recall_benign", "recall_in_situ", "recall_invasive",
    }  # fmt: skip
    assert record["scores"]["colour_only"]["accuracy"]["value"] == 1.0  # the drawn classes differ in colour
    assert record["scores"]["linear_probe"]["auc"]["low"] is not None
    assert record["data"] == {
        "name": "BACH part A", "pictures": 16, "groups": 12, "pictures_with_patient": 8, "tiles": 208,
        "per_class": {"normal": 4, "benign": 4, "in situ": 4, "invasive": 4},
    }  # fmt: skip
    assert np.sum(record["confusion"]["counts"]) == pytest.approx(16)
    assert np.sum(record["confusion"]["counts"], axis=1).tolist() == pytest.approx([4, 4, 4, 4])
    assert "grouped by patient (4 patients of 8 images are listed)" in record["protocol"]
    assert record["command"] == "dala crossvalidate bach --data ROOT"
    kept = json.loads((made / "bach_predictions.json").read_text())
    p = np.array(kept["probabilities"]["dala_resnet50"])
    assert p.shape == (1, 16, 4)
    assert np.mean(p[0].argmax(1) == kept["labels"]) == pytest.approx(
        record["scores"]["dala_resnet50"]["accuracy"]["value"]
    )
    assert main(call) == 0
    assert len(trained) == 2  # every fold was found on disk
    assert json.loads(evidence.read_text()) == record

    out = made / "bach.safetensors"
    assert main(["train", "bach", *data, *runs, "--evidence", str(evidence), "--out", str(out)]) == 0
    assert len(trained[2]) == 208
    net, card = load_weights(out)
    assert card.classes == ("normal", "benign", "in situ", "invasive")
    assert net.head.classifier.out_features == 4
    assert card.fields["metrics"]["values"] == record["scores"]["dala_resnet50_as_served"]
    assert card.fields["training_data"]["groups"] == sorted(set(dataset.groups))
    assert "sha256" in capsys.readouterr().out

    assert main(["evaluate", "bach", *data, "--weights", str(out), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert set(scored["votes"]) == {"mean", "majority", "as_served"}
    assert scored["weights_sha256"] == card.fields["sha256"]
    assert "all groups (16 of 16 images) were in the weights' training data" in scored["protocol"]
    monkeypatch.setattr("dala.training.evaluate.evaluate", lambda *_: scored)  # the same again, as a table
    assert main(["evaluate", "bach", *data, "--weights", str(out)]) == 0
    assert "as_served" in capsys.readouterr().out

    # Four classes through the doors that users take.
    image = tree / "ICIAR2018_BACH_Challenge" / "Photos" / "Invasive" / "iv001.tif"
    # Drawn noise is no breast: the gate keeps its verdict back unless it is asked for.
    assert main(["predict", str(image), "--weights", str(out), "--json", "--anyway"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["probabilities"]) == set(card.classes)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    explained = made / "explained"
    call = ["explain", str(image), "--out", str(explained), "--weights", str(out), "--target", "in situ", "--anyway"]
    assert main(call) == 0
    record = json.loads((explained / "explanation.json").read_text())
    assert record["target"] == "in situ"
    assert (
        "too large for the model's field of view to be squeezed whole: the model saw 9 tiles (3 x 3)" in record["seen"]
    )
    assert np.load(explained / "map.npy").shape == (3, 3)  # a cell of 32 pixels for each of the nine tiles

    # What evaluate calls "as served" is what predict answers, and the maps of four classes sum to zero.
    one = dataclasses.replace(
        training.load(tree), records=dataset.records[5:6], labels=dataset.labels[5:6], groups=dataset.groups[5:6]
    )
    model = load_model(out)
    prediction = predict(read_image(one.records[0].path), model)
    assert prediction.views.grid == (3, 3)
    served = evaluate(one, model)["votes"]["as_served"]
    squares = ((prediction.probabilities - np.eye(4)[one.labels[0]]) ** 2).sum()
    assert served["brier"]["value"] == pytest.approx(squares, abs=1e-6)  # another batch of the head
    maps = evidence_maps(prediction)
    assert list(maps) == list(dataset.classes)
    total = np.sum([one.values.astype(np.float64) for one in maps.values()], axis=0)
    assert np.abs(total).max() < 1e-4 * max(np.abs(one.values).max() for one in maps.values())


def test_the_card_takes_metrics_of_its_own_data_only(tree: Path, tmp_path: Path) -> None:
    task = training.load(tree)
    scores = {name: {"auc": {"value": 0.9, "low": 0.8, "high": 1.0}} for name in Bach.explained}
    record = {
        "protocol": "p", "command": "c", "imagenet": "npm", "data": {"pictures": 16, "groups": 12}, "scores": scores,
        "recipe": task.recipe.record,
    }  # fmt: skip
    path = tmp_path / "bach.json"
    path.write_text(json.dumps(record))
    own = own_record(path, task, "npm")
    assert own is not None
    assert metrics_of(task, own)["values"] == scores["dala_resnet50_as_served"]
    assert "dala_resnet50" in metrics_of(task, own)["comparison"]
    assert own_record(path, task, "torchvision") is None
    path.write_text(json.dumps({**record, "data": {"pictures": 16, "groups": 16}}))  # without the patient list
    assert own_record(path, task, "npm") is None


@pytest.mark.slow
def test_what_cannot_be_done_is_a_sentence(tree: Path, backbone: Backbone, tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    task, dataset = training.load(tree), bach.load(tree)
    kept = dataset.labels != 2
    part = dataclasses.replace(
        task,
        records=tuple(record for record, keep in zip(dataset.records, kept, strict=True) if keep),
        labels=dataset.labels[kept],
        groups=dataset.groups[kept],
    )
    with pytest.raises(DataError, match="holds none of in situ"):
        cross_validate(part, backbone, tmp_path, 2, 1)
    with pytest.raises(DataError, match="holds none of in situ"):
        train(part, backbone, tmp_path, tmp_path / "e.json", tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="folds by patient"):
        cross_validate(task, backbone, tmp_path, 6, 1)
    assert list(tmp_path.iterdir()) == []  # nothing was computed for it
    with pytest.raises(DataError, match="prepared in another way"):
        evaluate(task, load_model("breakhis"))
    fields = json.loads(json.dumps(read_card("breakhis")[0].fields))
    fields["input"]["preprocess"] = "fields"
    with pytest.raises(DataError, match="know"):
        evaluate(task, Model(None, Card(fields)))  # type: ignore[arg-type]
    assert main(["evaluate", "bach", "--data", str(tree)]) == 1
    assert "There is no model card bach.json" in capsys.readouterr().err
    assert main(["validate", "bach", "--data", str(tmp_path)]) == 1
    assert "There is no BACH tree" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "bach", "--help"])
    assert "has no part A" in " ".join(capsys.readouterr().out.split())


def test_protocol_names_known_groups(tree: Path) -> None:
    task, fields = training.load(tree), json.loads(json.dumps(read_card("breakhis")[0].fields))
    for groups, said in (
        (["elsewhere"], "none of these groups was in the weights' training data"),
        (["patient iv", "n004"], "2 of the 12 groups (3 of 16 images) were in the weights' training data"),
    ):
        fields["training_data"]["groups"] = groups
        assert said in known_groups(task.groups, Model(None, Card(fields)))  # type: ignore[arg-type]

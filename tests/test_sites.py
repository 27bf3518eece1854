"""Site files: read, refused, and laid over a model that others use at the same time."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader
from safetensors.numpy import load_file, save_file

from dala import load_model
from dala.cli.main import main
from dala.errors import SiteError, TooSmall
from dala.explanation.render import encode_png
from dala.export.geojson import geojson
from dala.export.pdf import pdf
from dala.export.records import prediction_record, refusal_record
from dala.export.report import Remarks, read_report, report
from dala.intake.image import read_image
from dala.opinion import explain, opinion_of
from dala.phantoms.tissue import draw
from dala.runtime.predict import Model
from dala.sites import (
    MEAN,
    NOTES,
    SUFFIX,
    TRUNK,
    Site,
    find_site,
    fit_name,
    listed,
    load_site,
    save_site,
    with_laboratory,
    with_site,
)
from tests.helpers.generated import examples
from tests.helpers.sites import facts_of, head_that_says


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("breast", engine="torch")


def site_of(model: Model, path: Path, name: str = "Lab A", margin: float = 2.0, **more: Any) -> Site:
    return save_site(path / f"{name}{SUFFIX}", facts_of(model, name, **more), head_that_says(margin), np.ones(TRUNK))


def drawn() -> Any:
    return read_image(np.ascontiguousarray(draw("solid_sheets").pixels[:230, :350]), "drawn", 0.35)


def test_a_site_is_read_as_it_was_written(model: Model, tmp_path: Path) -> None:
    site = site_of(model, tmp_path)
    again = load_site(tmp_path / f"Lab A{SUFFIX}")
    assert again.facts == facts_of(model) and again.sha256 == site.sha256
    assert again.head["classifier.bias"].tolist() == [-1.0, 1.0]
    assert np.array_equal(again.mean, np.ones(TRUNK))
    assert (tmp_path / f"Lab A{SUFFIX}").stat().st_size < 4e6


def test_a_site_answers_with_its_head_and_shares_the_rest(model: Model, tmp_path: Path) -> None:
    other = with_site(model, site_of(model, tmp_path, margin=2.0))
    assert other.net.trunk is model.net.trunk and other.net.layer4 is model.net.layer4
    assert other.net.head is not model.net.head and model.site is None
    opinion = opinion_of(drawn(), other)
    temperature = model.card.fields["calibration"]["temperature"]
    # The bias of these weights is 0, so the probability is that of the margin over the temperature.
    assert opinion.prediction.probabilities[1] == pytest.approx(1 / (1 + np.exp(-2.0 / temperature)), abs=1e-6)
    assert other.site is not None and other.site.name == "Lab A"


def test_the_card_of_a_site_tells_its_figures_alone(model: Model, tmp_path: Path) -> None:
    card = with_site(model, site_of(model, tmp_path)).card
    assert (
        list(card.fields["laboratories"]) == ["Lab A"] and not {"unknown_laboratory", "left_out"} & card.fields.keys()
    )
    calibration = card.calibration
    assert calibration is not None and calibration.decides == 0.1
    # Benign at .55 and malignant at .45 both reach .4; at .65 and .35 one does.
    assert calibration.set_of(np.array([0.55, 0.45]), laboratory="Lab A").not_sure
    assert calibration.set_of(np.array([0.65, 0.35]), laboratory="Lab A").classes == ("benign",)
    # Of a laboratory that is known to the weights, but was measured with their own head: the widest limits.
    unknown = calibration.set_of(np.array([0.65, 0.35]))
    assert calibration.set_of(np.array([0.65, 0.35]), laboratory="BreakHis") == unknown


def test_without_limits_of_its_own_a_site_has_those_of_the_unknown(model: Model, tmp_path: Path) -> None:
    calibration = with_site(model, site_of(model, tmp_path, thresholds=None)).card.calibration
    assert calibration is not None
    assert calibration.set_of(np.array([0.65, 0.35]), laboratory="Lab A") == calibration.set_of(np.array([0.65, 0.35]))


def test_images_at_the_mean_of_a_site_are_taken_for_it(model: Model) -> None:
    assert model.familiarity is not None and model.familiarity.laboratories is not None
    far = model.familiarity.laboratories.gaussian.mean[0] + 3 * model.familiarity.laboratories.gaussian.scale
    before = model.familiarity.laboratories
    assert before.taken_for(before.distances(far[None])) is None
    gate = with_laboratory(model.familiarity, "Lab A", far, 0.5, 1.0)
    assert gate.laboratories is not None
    assert gate.laboratories.names == (*before.names, "Lab A")
    assert gate.laboratories.taken_for(gate.laboratories.distances(far[None])) == "Lab A"
    assert gate.laboratories.distances(far[None])[-1] == 0
    # Half way to the nearest other one, it is neither's.
    middle = (far + before.gaussian.mean[0]) / 2
    assert gate.laboratories.taken_for(gate.laboratories.distances(middle[None])) is None
    assert gate.gaussian.distances(far[None])[0] == 0 < model.familiarity.gaussian.distances(far[None])[0]


@pytest.mark.slow
def test_two_sites_and_none_answer_at_once_from_one_shared_model(model: Model, tmp_path: Path) -> None:
    margins = {"Lab A": 2.0, "Lab B": -1.0}
    models = {name: with_site(model, site_of(model, tmp_path, name, margin)) for name, margin in margins.items()}
    models["none"] = model
    patch = drawn()
    alone = {name: opinion_of(patch, one).prediction.logits for name, one in models.items()}
    assert {name: round(float(alone[name][1] - alone[name][0]), 4) for name in margins} == margins
    wrong: list[str] = []
    found: dict[str, int] = {}

    def work(name: str) -> None:
        for _ in range(3):
            logits = opinion_of(patch, models[name]).prediction.logits
            if not np.array_equal(logits, alone[name]):
                wrong.append(name)
            found[name] = found.get(name, 0) + 1

    threads = [threading.Thread(target=work, args=(name,)) for name in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and set(found.values()) == {3}
    assert model.site is None and not any(p.requires_grad for p in model.net.parameters())


@pytest.mark.slow
def test_every_export_names_the_site_in_use(model: Model, tmp_path: Path) -> None:
    site = site_of(model, tmp_path)
    opinion = opinion_of(drawn(), with_site(model, site))
    used = {"name": "Lab A", "sha256": site.sha256}
    assert (
        prediction_record(opinion)["site"] == refusal_record(None, TooSmall("x."), opinion.model, "x")["site"] == used
    )
    made = explain(opinion)
    content = report(opinion, made, Remarks(), date(2026, 11, 29)).content
    assert content["opinion"]["site"] == used
    assert content["model"]["worth"].startswith("Site in use: Lab A, but this image is not taken for one of it")
    assert read_report(json.dumps(content)).content == content
    assert json.loads(geojson(opinion, made))["site"] == used
    page = PdfReader(io.BytesIO(pdf(opinion, made, Remarks(), date(2026, 11, 29)))).pages[0].extract_text()
    assert "Site in use: Lab A" in " ".join(page.split()) and site.sha256[:20] in page
    assert prediction_record(opinion_of(drawn(), model))["site"] is None


@pytest.mark.slow
def test_the_command_line_applies_a_site(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DALA_SITES", str(tmp_path))
    save_site(tmp_path / f"Lab-A{SUFFIX}", facts_of(model), head_that_says(-5.0), np.ones(TRUNK))
    file = tmp_path / "drawn.png"
    file.write_bytes(encode_png(draw("solid_sheets").pixels))
    line = ["predict", str(file), "--pixel-size", "0.35", "--json", "--anyway", "--engine", "torch", "--site", "Lab A"]
    main(line)
    record = json.loads(capsys.readouterr().out)
    assert record["site"]["name"] == "Lab A" and record["prediction"] == "benign"
    assert main([*line[:-1], "Lab B"]) == 1
    assert capsys.readouterr().err.startswith("dala: There is no site file 'Lab B'")


def test_a_site_of_other_weights_is_refused(model: Model, tmp_path: Path) -> None:
    site = site_of(model, tmp_path, weights_sha256="0" * 64)
    with pytest.raises(SiteError, match="other weights"):
        with_site(model, site)


def test_a_site_may_not_take_the_name_of_a_laboratory(model: Model, tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="something else"):
        with_site(model, site_of(model, tmp_path, "ucsb"))


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], None]) -> None:
    """The site file with its facts and tensors changed."""
    blob = path.read_bytes()
    header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    facts, tensors = json.loads(header["__metadata__"][NOTES]), load_file(path)
    change(facts, tensors)
    save_file(tensors, path, {NOTES: json.dumps(facts)})


def drop_bias(facts: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    del tensors["head.fc1.bias"]


def spoil(key: str, value: float) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def change(facts: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        tensors[key].reshape(-1)[0] = value

    return change


def tell(key: str, value: Any) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def change(facts: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        facts[key] = value

    return change


def add(facts: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    tensors["features"] = np.zeros((40, 3584), np.float16)


CHANGES = {
    "a tensor is missing": drop_bias,
    "not a number": spoil("head.fc2.weight", np.nan),
    "infinite": spoil(MEAN, np.inf),
    "a tensor too many": add,
    "a name with a line break": tell("name", "Lab\nB"),
    "a name that turns the line": tell("name", "Lab\N{RIGHT-TO-LEFT OVERRIDE}"),
    "a name in Markdown": tell("name", "![x](http://example.org)"),
    "a name that is too long": tell("name", "L" * 41),
    "a name that is none": tell("name", 7),
    "a threshold above one": tell("thresholds", {a: {"benign": 1.5, "malignant": 0.1} for a in ("0.05", "0.10")}),
    "thresholds of one level": tell("thresholds", {"0.10": {"benign": 0.5, "malignant": 0.5}}),
    "a figure that is no number": tell("um_per_pixel", [float("nan"), 0.25]),
    "an unknown key": tell("files", ["a.png"]),
    "another schema": tell("schema", 2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_damaged_site_is_a_sentence(
    change: Callable[[dict[str, Any], dict[str, np.ndarray]], None], model: Model, tmp_path: Path
) -> None:
    site_of(model, tmp_path)
    path = tmp_path / f"Lab A{SUFFIX}"
    rewritten(path, change)
    with pytest.raises(SiteError) as error:
        load_site(path)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


@examples(60)
@given(blob=st.binary(max_size=400))
def test_whatever_bytes_are_a_sentence(blob: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"x{SUFFIX}"
    path.write_bytes(blob)
    with pytest.raises(SiteError):
        load_site(path)


@pytest.mark.parametrize("kept", [0, 7, 100, 5000, 1_000_000])
def test_a_part_of_a_site_is_a_sentence(kept: int, model: Model, tmp_path: Path) -> None:
    site_of(model, tmp_path)
    path = tmp_path / f"Lab A{SUFFIX}"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SiteError):
        load_site(path)


@pytest.mark.parametrize("name", ["Lab A", "Üniversität 2", "St. Mary's (B)", "病院", "a"])
def test_names_that_sites_may_have(name: str) -> None:
    assert fit_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " x", "x ", "-x", "a/b", "a\\b", "a*b", "a\tb", "unknown", "x" * 41, "a<b>", "..x"]
)
def test_names_that_sites_may_not_have(name: str) -> None:
    with pytest.raises(SiteError):
        fit_name(name)


def test_sites_are_found_by_name_and_by_file(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALA_SITES", str(tmp_path / "here"))
    assert listed() == ()
    with pytest.raises(SiteError, match="no site file"):
        find_site("Lab A")
    (tmp_path / "here").mkdir()
    save_site(tmp_path / "here" / f"Lab-A{SUFFIX}", facts_of(model), head_that_says(0.0), np.ones(TRUNK))
    assert find_site("Lab A").name == find_site(str(tmp_path / "here" / f"Lab-A{SUFFIX}")).name == "Lab A"
    assert [path.name for path in listed()] == [f"Lab-A{SUFFIX}"]
    with pytest.raises(SiteError):
        find_site("../here/Lab A")

"""The page through Streamlit's own test harness: upload, verdict, slider, refusal, examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFile
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox
from torch import Tensor

from dala import opinion
from dala.explanation.gradcam import SignedMap
from dala.explanation.render import encode_png
from dala.explanation.threshold import RULES
from dala.gate.familiarity import Familiarity, Gaussian
from dala.phantoms.film import FILMS
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime import predict as runtime
from dala.runtime import weights
from dala.runtime.engines import TorchEngine
from dala.words import NO_BREAK
from pages.parts.second_opinion import choice
from tests.helpers.runs import another_run_is_wanted

UPLOADER = "Drop an H&E breast patch or a mammogram here"
PAGE = Path(__file__).resolve().parents[2] / "pages" / "second_opinion.py"


@pytest.fixture(autouse=True)
def no_old_opinions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test may bend model or maps; what it made must not be served to the next one.

    These images are drawn, and the gate knows drawings from tissue: without its statistics they pass.
    """
    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    monkeypatch.setattr(runtime, "load_familiarity", lambda *_: None)
    yield
    st.cache_resource.clear()


@pytest.fixture(scope="module")
def model() -> runtime.Model:
    return runtime.load_model()


@pytest.fixture(scope="module")
def single() -> runtime.Model:
    """The weights of a single data set, whose card has one row of figures."""
    return runtime.load_model("breakhis")


SCALES = 3  # at which an image of unknown scale is looked at


def image(seed: int) -> bytes:
    pixels = draw(PHANTOMS[0]).pixels[:230, :350].copy()
    pixels[:8, :8] = np.random.default_rng(seed).integers(0, 256, (8, 8, 3))
    return encode_png(pixels)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch, weights_stay_loaded: None) -> list[tuple[int, ...]]:
    """The shapes of everything that was given to the network's last part."""
    seen: list[tuple[int, ...]] = []
    tail = TorchEngine.tail

    def counted(engine: TorchEngine, x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return tail(engine, x)

    monkeypatch.setattr(TorchEngine, "tail", counted)
    return seen


def opened() -> AppTest:
    """The page in its plain view, whose widgets this harness can move; tests/viewer has the other."""
    at = AppTest.from_file(str(PAGE), default_timeout=120)
    at.query_params["plain"] = "true"
    return at.run()


@pytest.fixture
def page() -> AppTest:
    at = opened()
    assert not at.exception
    return at


def examples(page: AppTest) -> Selectbox:
    """The box, whose key is another one after a file was dropped."""
    return next(box for box in page.selectbox if box.label == "Examples")


def upload(page: AppTest, name: str, data: bytes, kind: str = "image/png") -> AppTest:
    page.file_uploader[0].set_value([(name, data, kind)])
    page.run()
    assert not page.exception
    return page


def opened_with(
    monkeypatch: pytest.MonkeyPatch, model: runtime.Model, calibration: dict[str, Any] | None, malignant: float
) -> AppTest:
    """The page with an image, under a card with this calibration or none, where the probability is as given."""
    fields = {key: value for key, value in model.card.fields.items() if key != "calibration"}
    card = replace(model.card, fields=fields if calibration is None else {**fields, "calibration": calibration})
    monkeypatch.setattr(runtime, "load_model", lambda *_: runtime.Model(model.net, card))
    predict = opinion.predict

    def certain(patch: opinion.Patch, model: opinion.Model) -> opinion.Prediction:
        return replace(predict(patch, model), probabilities=np.array([1 - malignant, malignant]), rescaled=())

    monkeypatch.setattr(opinion, "predict", certain)
    page = opened()
    return upload(page, "patch.png", image(1))


def text(page: AppTest) -> str:
    return "\n".join(element.value for element in [*page.header, *page.markdown, *page.caption])


def without_signs(markdown: str) -> str:
    """The words alone: without what explains a term, escapes, and spaces that do not break."""
    return re.sub(r"<abbr [^>]*>|</abbr>", "", markdown).replace(NO_BREAK, " ").replace("\\", "")


def verdict(page: AppTest) -> str:
    return page.header[0].value


def metric(page: AppTest, label: str) -> str:
    return next(m.value for m in page.metric if m.label.startswith(label))


def control(page: AppTest, start: str) -> Any:
    return next(s for s in [*page.slider, *page.segmented_control] if s.key.startswith(start))


def kept_area(page: AppTest) -> float:
    return float(metric(page, "Kept area").removesuffix(" %"))


def test_the_empty_page_says_what_to_do(page: AppTest) -> None:
    assert page.file_uploader[0].label == UPLOADER
    assert "not tissue" in text(page)
    assert len(page.button) == len(PHANTOMS) + len(FILMS)
    assert "up to 64 MB and 48 megapixels" in text(page) and "PNG, JPEG" in text(page)
    assert page.title[0].value == "A second opinion on breast tissue"
    assert "▲ Malignant, probability of malignant" in text(page), "a result to look at, of a drawing"
    assert not page.header
    assert not page.metric


def test_a_file_above_the_limit_is_a_sentence(monkeypatch: pytest.MonkeyPatch, page: AppTest) -> None:
    monkeypatch.setattr(choice, "LARGEST_MB", 0)
    upload(page, "large.png", encode_png(draw(PHANTOMS[0]).pixels))
    assert page.error[0].value.startswith(r"large.png \(1 MB\)\: larger than 0 MB, the most for one image.")
    assert not page.header and not page.exception


@pytest.mark.slow
def test_one_upload_is_one_pass_whatever_is_moved_then(page: AppTest, passes: list[tuple[int, ...]]) -> None:
    upload(page, "patch.png", image(1))
    assert len(passes) == SCALES
    said = verdict(page)
    assert said in ("▲ Malignant", "● Benign", "◆ Not sure")
    # A drawing is of no laboratory that the model knows.
    leaning = "; no probability holds for its laboratory."
    assert (leaning if said == "◆ Not sure" else "**, calibrated on other laboratories only.") in text(page)
    assert "not calibrated" not in text(page)
    assert "The model saw the whole image, 350 x 230 px" in text(page)
    kept = []
    for k in (-1.0, 0.0, 1.0, 2.0):
        control(page, "parameter").set_value(k)
        page.run()
        kept.append(kept_area(page))
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[-1]
    for name, rule in [*list(RULES.items())[1:], ("mean_std", RULES["mean_std"])]:
        page.selectbox(key="rule").set_value(name).run()
        assert control(page, "parameter").value == rule.default
    page.slider(key="opacity").set_value(0.9).run()
    page.selectbox(key="colour_map").set_value("magma").run()
    page.toggle(key="fixed").set_value(True).run()
    assert not page.exception
    assert verdict(page) == said
    assert len(passes) == SCALES


@pytest.mark.slow
def test_each_target_shows_what_the_core_computes_for_it(page: AppTest, model: runtime.Model) -> None:
    data = image(1)
    upload(page, "patch.png", data)
    computed = opinion.second_opinion(data, model)
    assert control(page, "target").value == computed.prediction.label
    areas = {}
    for target in ("benign", "malignant"):
        control(page, "target").set_value(target)
        page.selectbox(key="rule").set_value("fixed")
        page.run()
        control(page, "parameter").set_value(0.0)
        page.run()
        regions = opinion.explain(computed, target, "fixed", 0.0).regions
        assert metric(page, "Kept area") == f"{100 * regions.kept_area:.1f} %"
        assert metric(page, "Regions") == str(len(regions.regions))
        listed = page.dataframe[0].value
        np.testing.assert_allclose(listed.iloc[:, 1], [100 * region.area for region in regions.regions])
        np.testing.assert_allclose(listed.iloc[:, 2], [100 * region.evidence for region in regions.regions])
        areas[target] = kept_area(page)
    # Mirrors: what is positive for one class is negative for the other; only specks are dropped.
    assert areas["benign"] + areas["malignant"] == pytest.approx(100, abs=2)


@pytest.mark.slow
def test_another_image_starts_from_the_defaults(page: AppTest, model: runtime.Model) -> None:
    upload(page, "first.png", image(1))
    first = control(page, "target").value
    control(page, "target").set_value("benign" if first == "malignant" else "malignant")
    control(page, "parameter").set_value(2.0)
    page.run()
    assert control(page, "parameter").value == 2.0
    upload(page, "second.png", image(2))
    assert control(page, "parameter").value == RULES["mean_std"].default
    computed = opinion.second_opinion(image(2), model).prediction
    assert control(page, "target").value == computed.label
    assert verdict(page).split()[1].lower() in (computed.label, "not")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("malignant", "said", "percentage", "even"),
    [
        (0.999, "▲ Malignant", "over 99 %", False),
        (0.66, "▲ Malignant", "66 %", False),
        (0.64, "▲ Malignant", "64 %", True),
        (0.36, "● Benign", "64 %", True),
        (0.04, "● Benign", "96 %", False),
    ],
)
def test_the_verdict_in_words_without_calibration(
    monkeypatch: pytest.MonkeyPatch, model: runtime.Model, malignant: float, said: str, percentage: str, even: bool
) -> None:
    page = opened_with(monkeypatch, model, None, malignant)
    assert verdict(page) == said
    assert f"Model probability **{percentage}**, not calibrated." in text(page)
    assert ("Close to even" in text(page)) is even
    assert "confidence" not in text(page)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("malignant", "said", "line"),
    [
        (
            0.96,
            "▲ Malignant",
            "Calibrated probability **96 %**.",
        ),
        (
            0.08,
            "● Benign",
            "Calibrated probability **92 %**.",
        ),
        (
            0.64,
            "◆ Not sure",
            "The model leans towards ▲ **malignant**, calibrated probability **64 %**.",
        ),
        (
            0.45,
            "◆ Not sure",
            "The model leans towards ● **benign**, calibrated probability **55 %**.",
        ),
    ],
)
def test_the_verdict_in_words(
    monkeypatch: pytest.MonkeyPatch, model: runtime.Model, malignant: float, said: str, line: str
) -> None:
    thresholds = {"0.05": dict.fromkeys(model.card.classes, 0.05), "0.10": dict.fromkeys(model.card.classes, 0.7)}
    measured = {"expected_calibration_error": {"value": 0.055, "low": None, "high": None}}
    calibration = {
        "temperature": 1.0,
        "bias": dict.fromkeys(model.card.classes, 0.0),
        "thresholds": thresholds,
        "measured": measured,
        "guarantee": "So much is promised.",
    }
    page = opened_with(monkeypatch, model, calibration, malignant)
    assert verdict(page) == said
    assert line in text(page)
    assert "not calibrated" not in text(page)
    assert "Close to even" not in text(page)
    assert control(page, "target").value == ("malignant" if malignant > 0.5 else "benign")
    assert "confidence" not in text(page)
    (listed,) = [element for element in page.markdown if line in element.value]
    told = listed.help.replace(NO_BREAK, " ")
    assert "off by 5.5 % on average" in told
    assert listed.help.endswith("So much is promised.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "has not been measured"),
        ({"auc": {"value": None, "low": None, "high": None}}, "has not been measured"),
        (
            {
                "auc": {"value": 0.954, "low": 0.9, "high": 0.988},
                "balanced_accuracy": {"value": 0.886, "low": None, "high": None},
            },
            "balanced accuracy 0.886; AUC 0.954 (0.900 to 0.988). Nobody has measured",
        ),
    ],
)
def test_the_figures_are_those_of_the_card(
    monkeypatch: pytest.MonkeyPatch, single: runtime.Model, values: dict[str, Any], said: str
) -> None:
    metrics = {"protocol": "so it was measured", "command": "", "values": values}
    card = replace(single.card, fields={**single.card.fields, "metrics": metrics})
    monkeypatch.setattr(runtime, "load_model", lambda *_: runtime.Model(single.net, card))
    page = opened()
    upload(page, "patch.png", image(1))
    (line,) = [element for element in page.markdown if said in without_signs(element.value)]
    assert line.help == "so it was measured"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "warned"), [("SOB_B_A-14-22549AB-200-027.png", True), ("patch.png", False)])
def test_a_image_of_a_training_group_is_no_proof(
    monkeypatch: pytest.MonkeyPatch, single: runtime.Model, name: str, warned: bool
) -> None:
    training = {**single.card.fields["training_data"], "groups": ["14-22549"]}
    card = replace(single.card, fields={**single.card.fields, "training_data": training})
    monkeypatch.setattr(runtime, "load_model", lambda *_: runtime.Model(single.net, card))
    page = opened()
    upload(page, name, image(1))
    assert ["accession group 14-22549" in warning.value for warning in page.warning] == [True] * warned
    upload(page, "SOB_B_A-14-22549AB-200-027.png".replace("22549", "22550"), image(2))
    assert not page.warning


@pytest.mark.slow
def test_a_map_without_evidence_is_said_and_not_stretched(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = np.full((10, 10), -1, np.float32)
    monkeypatch.setattr(
        opinion, "evidence_maps", lambda prediction: {name: SignedMap(nothing, name) for name in prediction.classes}
    )
    upload(page, "patch.png", image(1))
    assert "no positive evidence" in page.info[0].value
    assert [metric(page, label) for label in ("Threshold", "Kept area", "Regions")] == ["none", "0.0 %", "0"]
    assert not page.dataframe
    page.toggle(key="fixed").set_value(True).run()
    assert not page.exception


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data"),
    [("text.png", b"this is no image"), ("empty.png", b""), ("cut.png", image(1)[:5000])],
)
def test_refusal_is_a_sentence_and_the_page_goes_on(
    page: AppTest, passes: list[tuple[int, ...]], name: str, data: bytes
) -> None:
    upload(page, name, data)
    assert len(page.error) == 1
    assert re.fullmatch(rf"'{name}' .+\.", page.error[0].value)
    assert not page.header
    assert passes == []
    upload(page, "good.png", image(1))
    assert not page.error
    assert page.header
    assert len(passes) == SCALES


@pytest.mark.slow
def test_a_image_outside_gets_the_reason_and_no_verdict(page: AppTest) -> None:
    grey = np.repeat(draw(PHANTOMS[0]).pixels.mean(2, keepdims=True), 3, axis=2).astype(np.uint8)
    upload(page, "grey.png", encode_png(grey))
    assert [header.value for header in page.header] == ["Outside the model's competence"]
    assert page.warning[0].value == (
        "The image is grey: the model needs the pink and purple of an H&E patch. The model gives no verdict on it."
    )
    assert not page.metric
    assert "robability" not in text(page)
    next(one for one in page.toggle if one.label == "Show me anyway").set_value(True).run()
    assert not page.exception
    assert [header.value for header in page.header] == ["Outside the model's competence"]
    assert "Asked anyway, the model computes" in text(page)
    assert "not a verdict" in text(page)
    assert "alibrated" not in text(page)
    assert page.metric
    upload(page, "good.png", image(1))
    assert "Outside" not in page.header[0].value
    assert not page.warning


def strict(limit: float) -> Familiarity:
    """Everything is about as far away; the limit decides."""
    flat = Gaussian(np.zeros(1024), np.ones(1024), np.zeros((1, 1024)), np.ones(1), 1.0)
    return Familiarity(flat, limit, np.array([0.5, 1.0]))


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "passes"), [(0.0, False), (100.0, True)])
def test_an_unfamiliar_upload_is_refused_but_a_drawn_example_is_shown(
    monkeypatch: pytest.MonkeyPatch, limit: float, passes: bool
) -> None:
    monkeypatch.setattr(runtime, "load_familiarity", lambda *_: strict(limit))
    page = opened()
    upload(page, "patch.png", image(1))
    assert ("Outside" in page.header[0].value) is not passes
    assert bool(page.metric) is passes
    assert "Distance from the training images" in text(page)
    examples(page).set_value(f"drawn:{PHANTOMS[1]}").run()
    assert page.metric
    assert len(page.header) == 1
    assert ("Outside the model's competence" in page.header[0].value) is not passes


def test_a_name_is_not_markdown(page: AppTest) -> None:
    upload(page, "![x](y).png", b"text")
    assert page.error[0].value.startswith(r"'\!\[x\]\(y\).png'")


@pytest.mark.slow
def test_drawn_example_is_named_as_drawn(page: AppTest) -> None:
    page.button(key=f"choose-{PHANTOMS[1]}").click().run()
    assert not page.exception
    assert "it is not tissue and has no diagnosis" in page.warning[0].value
    assert page.header
    listed = examples(page).options
    assert len([option for option in listed if option.startswith("Drawn example: ")]) == len(PHANTOMS) + len(FILMS)


@pytest.mark.slow
def test_what_was_chosen_last_is_shown(page: AppTest) -> None:
    examples(page).set_value(f"drawn:{PHANTOMS[0]}").run()
    assert page.warning
    upload(page, "patch.png", image(1))
    assert not page.warning
    assert examples(page).value == "none"
    assert "Your image: **patch.png**" in text(page)
    upload(page, "second.png", image(2))  # takes the place of the first, it does not join it
    assert "Your image: **second.png**" in text(page) and "patch.png" not in text(page)
    examples(page).set_value(f"drawn:{PHANTOMS[1]}").run()
    assert page.warning
    assert "second.png" not in text(page)


@pytest.mark.slow
def test_what_is_dropped_is_not_lost_with_a_run_that_another_one_ends(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the viewer of the example reports something while the file is just taken."""
    release, ended = choice.release, []

    def as_a_report_arrives(files: list[UploadedFile]) -> None:
        release(files)
        another_run_is_wanted()
        ended.append(len(files))

    monkeypatch.setattr(choice, "release", as_a_report_arrives)
    examples(page).set_value(f"drawn:{PHANTOMS[0]}").run()
    upload(page, "patch.png", image(1))
    assert "Your image: **patch.png**" in text(page) and ended == [1]


@pytest.mark.slow
def test_the_server_forgets_what_was_dropped(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit would keep every file of a session: the uploader that had it is gone, and nobody else removes it."""
    forgotten = []
    remove = MemoryUploadedFileManager.remove_file

    def noted(self: MemoryUploadedFileManager, session: str, file: str) -> None:
        forgotten.append((session, file))
        remove(self, session, file)

    monkeypatch.setattr(MemoryUploadedFileManager, "remove_file", noted)
    upload(page, "patch.png", image(1))
    upload(page, "second.png", image(2))
    assert len(set(forgotten)) == len(forgotten) == 2
    assert page.header, "the page has its own copy"


@pytest.fixture
def with_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AppTest]:
    monkeypatch.setenv("DALA_SAMPLES", str(tmp_path))
    return opened


@pytest.mark.slow
def test_samples_folder(tmp_path: Path, with_samples: Callable[[], AppTest], passes: list[tuple[int, ...]]) -> None:
    (tmp_path / "case").mkdir()
    path = tmp_path / "case" / "mine.png"
    path.write_bytes(image(2))
    (tmp_path / "notes.txt").write_text("not listed")
    page = with_samples()
    assert page.selectbox(key="example").options[1] == "case/mine.png", "true images come before the drawn ones"
    assert not any("notes" in option for option in page.selectbox(key="example").options)
    passes.clear()
    page.selectbox(key="example").set_value("file:case/mine.png").run()
    assert page.header
    assert not page.warning
    assert len(passes) == SCALES
    path.write_bytes(image(1))
    page.run()
    assert len(passes) == 2 * SCALES, "the file has changed under its name"
    path.write_text("no longer an image")
    page.run()
    assert page.error[0].value.startswith("'mine.png' ")


def test_at_most_200_samples_are_listed(tmp_path: Path, with_samples: Callable[[], AppTest]) -> None:
    for number in range(203):
        (tmp_path / f"{number:03}.png").touch()
    options = with_samples().selectbox(key="example").options
    assert len(options) == 1 + len(PHANTOMS) + len(FILMS) + 200
    assert options[200] == "199.png"


def test_a_samples_folder_without_images_is_said(with_samples: Callable[[], AppTest]) -> None:
    assert "holds no images" in text(with_samples())


def test_missing_weights_are_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read_card = weights.read_card
    monkeypatch.setattr(weights, "read_card", lambda name, folder: read_card(name, tmp_path))
    page = opened()
    assert "There is no model card" in page.error[0].value
    assert not page.exception

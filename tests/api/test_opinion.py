"""POST opinion: every answer is that of the document, the numbers are those of the Python API, and nothing stays."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dala.api.body import Room
from dala.api.problems import Problem
from dala.api.routes import api_routes
from dala.errors import SiteError, WeightsError
from dala.explanation.render import encode_png
from dala.export.report import read_report
from dala.opinion import explain, second_opinion
from dala.phantoms.tissue import draw
from dala.runtime.predict import Model, load_model
from tests.helpers.api import LARGEST_MB, client_of

ADDRESS = "/api/v1/opinion"
PNG = encode_png(draw("solid_sheets").pixels[:230, :350])


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch, weights_stay_loaded: None) -> None:
    monkeypatch.setenv("DALA_API", "open")


@pytest.fixture
def client(model: Model) -> Iterator[TestClient]:
    with client_of(lambda name, site: model) as found:
        yield found


def never(name: str, site: str | None) -> Model:
    raise AssertionError("no model is asked for")


@pytest.mark.slow
def test_the_numbers_are_those_of_the_python_api(client: TestClient, model: Model) -> None:
    options = {"pixel_size_um": "0.35", "name": "a.png", "rule": "evidence", "parameter": "50", "target": "malignant"}
    told = client.post(ADDRESS, content=PNG, params=options | {"maps": "true", "anyway": "true"}).json()
    opinion = second_opinion(PNG, model, pixel_size_um=0.35, name="a.png")
    explanation = explain(opinion, "malignant", "evidence", 50)
    found = told["opinion"]
    for name, probability in zip(opinion.prediction.classes, opinion.prediction.probabilities, strict=True):
        assert found["probabilities"][name] == pytest.approx(probability, abs=1e-6)
    assert (found["target"], found["rule"], found["parameter"]) == ("malignant", "evidence", 50)
    assert found["kept_area"] == pytest.approx(explanation.regions.kept_area)
    assert found["pixel_size"] == {"rows": 0.35, "columns": 0.35, "source": "user", "told": ""}
    assert (found["file"], found["sha256"], told["case"]) == ("a.png", opinion.patch.sha256, None)
    for name in ("patch", "gradcam", "dt", "bar"):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(told["maps"][name]))))
        np.testing.assert_array_equal(pixels, getattr(explanation.panels, name))
    # The same as a form, and in another process of the same kind.
    again = client.post(ADDRESS, files={"image": ("a.png", PNG, "image/png")}, data=options | {"anyway": "1"}).json()
    assert again["opinion"] == found and again["maps"] is None
    # With what a report holds beside it, it is one.
    person = {"comment": "", "read_first": None, "own_read": None, "agree": None}
    report = {key: told[key] for key in ("schema", "date", "opinion", "model")} | {"effect": None, "person": person}
    import json

    assert read_report(json.dumps(report)).content == report


@pytest.mark.slow
def test_outside_its_competence_there_is_no_verdict(client: TestClient) -> None:
    glass = encode_png(np.full((460, 700, 3), 245, np.uint8))
    told = client.post(ADDRESS, content=glass, params={"pixel_size_um": "0.35", "maps": "true"}).json()
    assert told["opinion"]["status"] == "outside" and told["opinion"]["gate"]["reason"] == "blank"
    assert told["opinion"]["verdict"] is None and told["opinion"]["probabilities"] is None and told["maps"] is None
    anyway = client.post(ADDRESS, content=glass, params={"pixel_size_um": "0.35", "anyway": "true"}).json()
    assert anyway["opinion"]["status"] == "outside" and anyway["opinion"]["probabilities"] is not None


@pytest.mark.parametrize(
    ("body", "params", "status"),
    [
        (b"", {}, 400),
        (b"This is a letter and no image.", {}, 415),
        (PNG[: len(PNG) // 2], {}, 422),
        (bytes((LARGEST_MB << 20) + 1), {}, 413),
        (PNG, {"pixel_size_um": "wide"}, 400),
        (PNG, {"pixel_size_um": "1,2,3"}, 400),
        (PNG, {"rule": "magic"}, 400),
        (PNG, {"parameter": "many"}, 400),
        (PNG, {"maps": "perhaps"}, 400),
        (PNG, {"colour_map": "jet"}, 400),
        (PNG, {"opacity": "7"}, 400),
        (PNG, {"opinion": "mine"}, 400),
        (PNG, {"keep": "true"}, 503),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, bytes) else f"{len(value)}B",
)
def test_what_cannot_be_answered_is_one_sentence(body: bytes, params: dict[str, str], status: int) -> None:
    with client_of(never) as client:
        assert client.post(ADDRESS, content=body, params=params).status_code == status


def test_a_pixel_size_beyond_its_range_is_a_sentence() -> None:
    with client_of(never) as client:
        answer = client.post(ADDRESS, content=PNG, params={"pixel_size_um": "50"})
        assert answer.status_code == 422 and "0.05 to 5" in answer.json()["detail"]


def test_a_form_without_a_file_or_with_too_much_is_a_sentence() -> None:
    with client_of(never) as client:
        assert client.post(ADDRESS, files={"file": ("a.png", PNG)}).status_code == 400
        assert client.post(ADDRESS, files=[("image", ("a.png", PNG)), ("image", ("b.png", PNG))]).status_code == 400
        assert client.post(ADDRESS, data={"image": "no file"}, files={"x": b""}).status_code == 400
        many = {f"field-{number}": "x" for number in range(50)}
        assert client.post(ADDRESS, files={"image": PNG}, data=many).status_code == 400
        large = bytes((LARGEST_MB << 20) + 1)
        assert client.post(ADDRESS, files={"image": ("a.png", large)}).status_code == 413
        broken = {"Content-Type": "multipart/form-data; boundary=x"}
        assert client.post(ADDRESS, content=b"no form", headers=broken).status_code == 400
        assert client.post(ADDRESS, content=b"x", headers={"Content-Type": "multipart/form-data"}).status_code == 400
        # Its size is not told beforehand, either.
        parts = (bytes(1 << 18) for _ in range(LARGEST_MB * 4 + 1))
        assert client.post(ADDRESS, content=parts).status_code == 413


def test_weights_sites_and_faults_of_the_server_are_sentences() -> None:
    for error, status in (
        (WeightsError("The weights are gone."), 503),
        (SiteError("There is no site of this name."), 400),
        (RuntimeError("a secret of the server"), 500),
    ):

        def fail(name: str, site: str | None, error: Exception = error) -> Model:
            raise error

        with client_of(fail) as client:
            answer = client.post(ADDRESS, content=PNG, params={"site": "Ours"})
            assert answer.status_code == status and "secret" not in answer.text


def test_other_methods_and_addresses_are_problems() -> None:
    with client_of(never, base="tools/dala") as client:
        start = "/tools/dala/api"
        answer = client.get(f"{start}/v1/opinion")
        assert answer.status_code == 405 and answer.headers["allow"] == "POST"
        assert client.options(f"{start}/v1/opinion", headers={"Origin": "http://elsewhere"}).status_code == 405
        for path in ("", "/", "/v1", "/v1/opinions", "/v2/opinion", "/v1/cases/x/images/one"):
            assert client.post(start + path).status_code == 404


def test_only_so_many_at_once_and_others_go_on(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request waits in the network; a second one is sent away, and the event loop answers everybody else."""
    monkeypatch.setenv("DALA_API_AT_ONCE", "1")
    within, release = threading.Event(), threading.Event()

    def slow(name: str, site: str | None) -> Model:
        within.set()
        assert release.wait(60)
        raise WeightsError("This was slow.")

    app = Starlette(routes=api_routes("", slow, lambda: None, lambda: False, LARGEST_MB))

    async def ask() -> tuple[Any, Any, Any, Any]:
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            first = asyncio.create_task(client.post(ADDRESS, content=PNG))
            try:
                assert await asyncio.to_thread(within.wait, 60)
                second = await asyncio.wait_for(client.post(ADDRESS, content=PNG), 20)
                other = await asyncio.wait_for(client.get("/api/v1/openapi.json"), 20)
            finally:
                release.set()
            return await first, second, other, await client.post(ADDRESS, content=PNG)

    # In a thread of its own: tests in a browser leave an event loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        first, second, other, later = thread.submit(asyncio.run, ask()).result()
    assert (first.status_code, second.status_code, other.status_code) == (503, 429, 200)
    assert int(second.headers["retry-after"]) > 0
    assert later.status_code == 503, "the room is free again"


def test_a_room_is_free_again_after_an_error() -> None:
    room = Room(1)
    for _ in range(3):
        with pytest.raises(KeyError), room.place():
            with pytest.raises(Problem), room.place():
                pass
            raise KeyError


def test_nothing_is_written_to_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile._TemporaryFileWrapper", None)
    monkeypatch.setattr("tempfile.TemporaryFile", None)  # what a spooled file becomes once it is too large

    def fail(name: str, site: str | None) -> Model:
        raise WeightsError("So far it went.")

    noise = np.random.default_rng(0).integers(0, 256, (700, 800, 3), dtype=np.uint8)
    image = encode_png(noise)
    assert len(image) > 1.5 * 2**20
    with client_of(fail) as client:
        assert client.post(ADDRESS, files={"image": ("a.png", image)}).status_code == 503

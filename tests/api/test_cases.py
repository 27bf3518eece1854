"""Cases through the API: kept, found, changed, deleted by their owner; and nothing of them for anybody else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from dala.api.cases import MOST_AT_ONCE
from dala.api.routes import api_routes
from dala.cases.people import LOCAL, Person, Role, person_of
from dala.cases.quota import Quota
from dala.cases.store import Store
from dala.cases.tokens import Tokens
from dala.errors import StoreError
from dala.explanation.render import encode_png
from dala.export.kept import maps_of
from dala.opinion import second_opinion
from dala.phantoms.tissue import draw
from dala.runtime.predict import Model, load_model
from tests.helpers.api import LARGEST_MB, client_of
from tests.helpers.cases import sqlite_store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("weights_stay_loaded")]
CASES = "/api/v1/cases"


def png_of(name: str) -> bytes:
    return encode_png(draw(name).pixels[:230, :350])


PNG = png_of("solid_sheets")
ADA, BEN, EVE = (
    Person("ada", "Ada", Role.READER),
    Person("ben", "Ben", Role.READER),
    Person("eve", "Eve", Role.ADMINISTRATOR),
)
SAID = {
    "title": "Sheets", "comment": "A comment.", "read_before": "not sure", "agrees": "true", "diagnosis": "malignant",
    "subtype": "ductal carcinoma", "patient": "P7", "rule": "evidence", "parameter": "40", "pixel_size_um": "0.35",
}  # fmt: skip


@cache
def model() -> Model:
    return load_model()


@pytest.fixture
def store(tmp_path: Any) -> Iterator[Store]:
    found = sqlite_store(tmp_path / "cases")
    yield found
    found.database.close()


@pytest.fixture
def client(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.delenv("DALA_API", raising=False)
    with client_of(lambda name, site: model(), lambda: store, lambda: True) as found:
        yield found


def of(store: Store, person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {Tokens(store.database).create(person).secret}"}


def kept(client: TestClient, headers: dict[str, str], **other: str) -> dict[str, Any]:
    answer = client.post(CASES, files={"image": ("a.png", PNG)}, data=SAID | other, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{CASES}/{answer.json()['id']}"
    return dict(answer.json())


def test_what_was_sent_is_kept_with_the_opinion(client: TestClient, store: Store) -> None:
    ada = of(store, ADA)
    case = kept(client, ada)
    assert client.get(f"{CASES}/{case['id']}", headers=ada).json() == case
    same = ("title", "comment", "diagnosis", "subtype", "patient")
    assert {key: case[key] for key in same} == {key: SAID[key] for key in same}
    assert (case["read_before"], case["read_after"], case["agrees"]) == ({"call": "not sure"}, None, True)
    assert case["owner"] == case["reader"] == {"id": "ada", "name": "Ada"} and case["shared"] is False
    (image,) = case["images"]
    opinion = second_opinion(PNG, model(), pixel_size_um=0.35, name="a.png")
    assert (image["name"], image["sha256"]) == ("", opinion.patch.sha256), "a file's own name may identify a patient"
    assert image["opinion"]["weights_sha256"] == model().card.fields["sha256"]
    assert image["opinion"]["probabilities"]["malignant"] == pytest.approx(
        opinion.prediction.probabilities[1], abs=1e-6
    )
    assert (image["settings"]["rule"], image["settings"]["parameter"]) == ("evidence", 40)
    assert kept(client, ada, name="given.png")["images"][0]["name"] == "given.png"
    # As the page of cases reads it back.
    found = maps_of(image["opinion"])["malignant"]
    np.testing.assert_allclose(found.values, opinion.maps["malignant"].values, rtol=1e-5, atol=1e-7)
    answer = client.get(f"{CASES}/{case['id']}/images/1", headers=ada)
    assert answer.content == PNG and answer.headers["content-disposition"] == "attachment"
    assert client.get(f"{CASES}/{case['id']}/images/2", headers=ada).status_code == 404


def form(*names: str) -> list[tuple[str, tuple[str, bytes]]]:
    """Drawn images as the files of a form, by the names of phantoms."""
    return [("image", (f"{name}.png", png_of(name))) for name in names]


def test_several_images_are_one_case(client: TestClient, store: Store) -> None:
    ada, names = of(store, ADA), ("solid_sheets", "regular_ducts")
    answer = client.post(CASES, files=form(*names), data={**SAID, "name": ["one.png", "two.png"]}, headers=ada)
    case = answer.json()
    assert answer.status_code == 201 and [image["number"] for image in case["images"]] == [1, 2]
    for number, name in enumerate(names):
        png, image = png_of(name), case["images"][number]
        opinion = second_opinion(png, model(), pixel_size_um=0.35, name=f"{name}.png")
        assert image["sha256"] == hashlib.sha256(png).hexdigest()
        assert image["name"] == ("one.png", "two.png")[number]
        shares = image["opinion"]["probabilities"]["malignant"]
        assert shares == pytest.approx(opinion.prediction.probabilities[1], abs=1e-6)
        assert client.get(f"{CASES}/{case['id']}/images/{number + 1}", headers=ada).content == png
    (row,) = client.get(CASES, headers=ada).json()["cases"]
    assert row["images"] == 2 and row["answer"] == case["answer"]
    unnamed = client.post(CASES, files=form(*names), data={"pixel_size_um": "0.35"}, headers=ada).json()
    assert [image["name"] for image in unnamed["images"]] == ["", ""]


def test_several_images_are_kept_all_or_none(client: TestClient, store: Store) -> None:
    ada, size = of(store, ADA), {"pixel_size_um": "0.35"}
    letter = ("image", ("letter.png", b"This is a letter and no image."))
    answer = client.post(CASES, files=[*form("regular_ducts"), letter], data=size, headers=ada)
    assert answer.status_code == 415 and answer.json()["detail"].startswith("Image 2 of 2: ")
    for files, data, status in (
        (form("regular_ducts", "solid_sheets"), {"name": ["one.png"]}, 400),
        ([*form("regular_ducts"), ("image", ("empty.png", b""))], {}, 400),
        ([letter] * (MOST_AT_ONCE + 1), {}, 400),
        ([("image", ("a", bytes(LARGEST_MB << 19))), ("image", ("b", bytes((LARGEST_MB << 19) + 1)))], {}, 413),
    ):
        assert client.post(CASES, files=files, data=size | data, headers=ada).status_code == status
    assert client.get(CASES, headers=ada).json()["total"] == 0 and list(store.images.names()) == []


def test_more_than_one_person_may_keep(client: TestClient, store: Store) -> None:
    ada, size = of(store, ADA), {"pixel_size_um": "0.35"}
    case = kept(client, ada)
    store.quota = Quota(1, None)
    for path, data in ((CASES, size), ("/api/v1/opinion", size | {"keep": "true"})):
        answer = client.post(path, files=form("regular_ducts"), data=data, headers=ada)
        assert answer.status_code == 507 and "at most 1 case" in answer.json()["detail"]
    store.quota = Quota(None, 0.000_001)
    answer = client.post(f"{CASES}/{case['id']}/images", files=form("regular_ducts"), data=size, headers=ada)
    assert answer.status_code == 507 and "1e-06 GB" in answer.json()["detail"]
    assert client.get(CASES, headers=ada).json()["total"] == 1 and len(list(store.images.names())) == 1
    assert client.get(CASES, headers=of(store, BEN)).status_code == 200


def test_an_image_is_added_to_a_case(client: TestClient, store: Store) -> None:
    ada = of(store, ADA)
    case = kept(client, ada)
    path, png = f"{CASES}/{case['id']}/images", png_of("regular_ducts")
    options = {"pixel_size_um": "0.35", "name": "two.png", "rule": "evidence", "parameter": "30"}
    answer = client.post(path, content=png, params=options, headers=ada)
    assert answer.status_code == 201 and answer.headers["location"] == f"{path}/2"
    more = answer.json()
    assert more["images"][0] == case["images"][0] and len(more["images"]) == 2
    second = more["images"][1]
    assert (second["name"], second["settings"]["rule"], second["settings"]["parameter"]) == ("two.png", "evidence", 30)
    assert client.get(answer.headers["location"], headers=ada).content == png
    assert {key: more[key] for key in ("title", "comment", "created")} == {
        key: case[key] for key in ("title", "comment", "created")
    }
    as_form = client.post(path, files=form("solid_sheets"), data={"pixel_size_um": "0.35"}, headers=ada)
    assert as_form.status_code == 201 and len(as_form.json()["images"]) == 3
    for body, params, status in (
        (b"This is a letter.", {}, 415), (b"", {}, 400), (png, {"title": "Other"}, 400), (png, {"keep": "true"}, 400),
    ):  # fmt: skip
        assert client.post(path, content=body, params=params, headers=ada).status_code == status
    assert client.post(path, files=form("regular_ducts", "regular_ducts"), headers=ada).status_code == 400
    assert len(client.get(f"{CASES}/{case['id']}", headers=ada).json()["images"]) == 3


def test_an_opinion_is_kept_only_where_that_is_asked_for(client: TestClient, store: Store) -> None:
    ada = of(store, ADA)
    first = client.post("/api/v1/opinion", content=PNG, headers=ada).json()
    assert first["case"] is None and client.get(CASES, headers=ada).json()["total"] == 0
    assert list(store.images.names()) == []
    second = client.post("/api/v1/opinion", content=PNG, headers=ada, params={"keep": "true"}).json()
    (row,) = client.get(CASES, headers=ada).json()["cases"]
    assert row["id"] == second["case"] and row["own"] is True


def test_cases_are_found_paged_changed_and_deleted(client: TestClient, store: Store) -> None:
    ada = of(store, ADA)
    ids = [kept(client, ada, title=f"Case {number}")["id"] for number in range(3)]

    def found(**query: Any) -> list[str]:
        return [row["id"] for row in client.get(CASES, params=query, headers=ada).json()["cases"]]

    assert found() == ids[::-1] and found(order="created", descending="false") == ids
    assert found(offset=1, limit=1) == [ids[1]]
    assert found(text="case 2") == [ids[2]] and found(diagnosis="benign") == [] and found(reader="ada") == ids[::-1]
    assert found(since="2020-01-01", until="2020-12-31") == []
    for wrong in (
        {"order": "beauty"}, {"limit": "0"}, {"limit": "many"}, {"since": "today"}, {"agrees": "perhaps"}, {"x": "1"},
    ):  # fmt: skip
        assert client.get(CASES, params=wrong, headers=ada).status_code == 400, wrong
    path = f"{CASES}/{ids[0]}"
    change = {"title": "Other", "read_after": {"call": "benign", "confidence": 0.8}, "agrees": None, "shared": True}
    changed = client.patch(path, json=change, headers=ada).json()
    assert {key: changed[key] for key in change} == change
    for wrong in (
        {}, [], "x", {"id": "y"}, {"read_before": "benign"}, {"title": 7}, {"agrees": "yes"}, {"diagnosis": "cold"},
    ):  # fmt: skip
        assert client.patch(path, json=wrong, headers=ada).status_code == 400, wrong
    assert client.patch(path, content=b"no json", headers=ada).status_code == 400
    assert client.patch(path, content=b'"' + b"x" * 70_000 + b'"', headers=ada).status_code == 413
    assert client.delete(path, headers=ada).status_code == 204
    for method in ("GET", "DELETE"):
        assert client.request(method, path, headers=ada).status_code == 404
    assert found() == ids[:0:-1]


def requests(id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """A request to every address of a case."""
    return [
        ("GET", f"{CASES}/{id}", {}),
        ("GET", f"{CASES}/{id}/images/1", {}),
        ("PATCH", f"{CASES}/{id}", {"json": {"title": "Mine"}}),
        ("POST", f"{CASES}/{id}/images", {"content": PNG, "params": {"pixel_size_um": "0.35"}}),
        ("DELETE", f"{CASES}/{id}", {}),
    ]


def test_somebody_else_gets_nothing_and_cannot_tell_why(client: TestClient, store: Store) -> None:
    ada, ben = of(store, ADA), of(store, BEN)
    id = kept(client, ada)["id"]
    absent = "x" * 22
    for here, nowhere in zip(requests(id), requests(absent), strict=True):
        answers = [client.request(method, path, headers=ben, **rest) for method, path, rest in (here, nowhere)]
        assert {answer.status_code for answer in answers} == {404} and answers[0].json() == answers[1].json()
        for headers in ({}, {"Authorization": "Bearer dala_x"}, {"Authorization": "Basic YTpi"}):
            assert client.request(here[0], here[1], headers=headers, **here[2]).status_code == 401
    assert client.get(CASES, headers=ben).json() == {"total": 0, "offset": 0, "cases": []}
    for id_ in ("%2e%2e", "x%2Fy", "' OR 1=1", "x" * 500):
        assert client.get(f"{CASES}/{id_}", headers=ben).status_code == 404
    assert client.get(f"{CASES}/{id}", headers=ada).json()["title"] == "Sheets"


def test_a_shared_case_is_seen_and_not_changed_and_an_administrator_may_all(client: TestClient, store: Store) -> None:
    ada, ben, eve = (of(store, person) for person in (ADA, BEN, EVE))
    id = kept(client, ada, shared="true")["id"]
    for headers, statuses in ((ben, [200, 200, 403, 403, 403]), (eve, [200, 200, 200, 201, 204])):
        assert [client.request(m, p, headers=headers, **rest).status_code for m, p, rest in requests(id)] == statuses


def test_whoever_no_longer_administers_sees_nothing_of_others(
    client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = kept(client, of(store, ADA))["id"]
    monkeypatch.setenv("DALA_ADMINISTRATORS", "17")
    somebody = person_of({"iss": "https://idp", "sub": "17", "name": "Chief"})
    assert somebody is not None
    chief = of(store, somebody)
    assert client.get(f"{CASES}/{id}", headers=chief).status_code == 200
    monkeypatch.setenv("DALA_ADMINISTRATORS", "")
    for method, path, rest in requests(id):
        assert client.request(method, path, headers=chief, **rest).status_code == 404
    assert client.get(CASES, headers=chief).json()["total"] == 0


def test_a_token_of_the_local_user_opens_nothing_where_people_log_in(client: TestClient, store: Store) -> None:
    assert client.get(CASES, headers=of(store, LOCAL)).status_code == 401


def test_a_store_that_does_not_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> Store:
        raise StoreError("The case database does not answer.")

    with client_of(lambda name, site: model(), gone) as client:
        answer = client.get(CASES, headers={"Authorization": "Bearer dala_x"})
        assert answer.status_code == 503 and answer.json()["detail"] == "The case database does not answer."


def test_the_document_tells_of_every_route(client: TestClient) -> None:
    """And of no other: what the routes answer to is what is written down."""
    routes = {
        route.path.replace(":int", ""): set(methods_of(client, route.path))
        for route in api_routes("", never, lambda: None, lambda: False, 1)
        if route.path.startswith("/api/v1/")
    }
    told = client.get("/api/v1/openapi.json").json()["paths"]
    assert routes == {
        path: {method.upper() for method in methods if method != "parameters"} for path, methods in told.items()
    }


def never(name: str, site: str | None) -> Model:
    raise AssertionError("no model is asked for")


def methods_of(client: TestClient, path: str) -> list[str]:
    """By the header of a request that no address takes."""
    answer = client.options(path.replace("{id}", "x" * 22).replace("{number:int}", "1"))
    assert answer.status_code == 405
    return answer.headers["allow"].split(", ")

"""Who may ask: nobody without a token, but a program at the server's own machine where an administrator opened it."""

from __future__ import annotations

import pytest

from dala.errors import WeightsError
from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw
from dala.runtime.predict import Model
from tests.helpers.api import client_of

ADDRESS = "/api/v1/opinion"
PNG = encode_png(draw("solid_sheets").pixels[:230, :350])
LET_IN = 503  # as far as the model, of which there is none


def none(name: str, site: str | None) -> Model:
    raise WeightsError("There is no model.")


def asked(headers: dict[str, str] | None = None, **options: object) -> tuple[int, str]:
    with client_of(none, **options) as client:  # type: ignore[arg-type]
        answer = client.post(ADDRESS, content=PNG, headers=headers or {})
        return answer.status_code, answer.json()["detail"]


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DALA_API", raising=False)


def test_without_a_token_it_is_said_what_is_needed() -> None:
    status, said = asked()
    assert status == 401
    assert "DALA_DATABASE=off" in said and "DALA_API=open" in said
    with client_of(none) as client:
        assert client.post(ADDRESS, content=PNG).headers["www-authenticate"] == "Bearer"
    assert asked({"Authorization": "Bearer " + "x" * 43})[0] == 401
    status, said = asked(login=lambda: True)
    assert status == 401 and "DALA_API=open" not in said


def test_open_lets_programs_at_this_machine_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALA_API", "open")
    assert asked()[0] == LET_IN
    assert asked(host="127.0.0.1")[0] == LET_IN
    assert asked(host="[::1]:8501", peer="::1")[0] == LET_IN
    assert asked(peer="::ffff:127.0.0.1")[0] == LET_IN


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"peer": "192.0.2.7"}, {}),
        ({"peer": "testclient"}, {}),
        ({"host": "tools.hospital.example"}, {}),  # a name that was bent to this machine
        ({"host": "localhost.evil.example"}, {}),
        ({}, {"X-Forwarded-For": "192.0.2.7"}),
        ({}, {"Forwarded": "for=192.0.2.7"}),
        ({}, {"Origin": "http://elsewhere.example"}),
        ({}, {"Origin": "http://localhost:8501"}),
        ({}, {"Origin": "null"}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Sec-Fetch-Site": "same-origin"}),
    ],
)
def test_open_lets_nobody_else_in(
    options: dict[str, str], headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DALA_API", "open")
    status, said = asked(headers, **options)
    assert status == 403 and "not from a web page" in said


def test_open_opens_nothing_where_people_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALA_API", "open")
    assert asked(login=lambda: True)[0] == 401


def test_off_and_slips_let_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALA_API", "off")
    assert asked()[0] == 403
    monkeypatch.setenv("DALA_API", "opne")
    assert asked()[0] == 503


def test_the_description_is_for_everybody() -> None:
    with client_of(none, peer="192.0.2.7", host="tools.hospital.example") as client:
        assert client.get("/api/v1/openapi.json").json()["openapi"].startswith("3.1")
        assert client.get("/api/v1/docs").status_code == 200

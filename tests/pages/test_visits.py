"""What a reload goes on with, and who may not: other browsers, other people, and anybody after a while."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pages.parts.cookie import COOKIE, BrowserCookie
from pages.parts.session import Handed, Session, Viewing
from pages.parts.visits import AT_MOST, Visit, Visits, worth_keeping

IMAGE = Handed("a.png", b"pixels")


def visit(kept: Session | None = None, user: dict[str, str] | None = None) -> Visit:
    return Visit(kept or Session(handed=IMAGE), "this browser", user or {}, "streamlit-1", {"example": "none"})


def closed(_: str) -> bool:
    return False


def test_a_reload_goes_on_with_the_same_session_once() -> None:
    visits, mine = Visits(closed), visit()
    visits.keep("token", mine)
    found = visits.claim("token", "this browser", {})
    assert found is not None
    assert found.kept is mine.kept
    assert found.widgets == {"example": "none"}
    assert visits.claim("token", "this browser", {}) is None


def test_nobody_else_gets_anything() -> None:
    visits = Visits(closed)
    visits.keep("token", visit(user={"_streamlit_user": "ada"}))
    assert visits.claim("token", "another browser", {"_streamlit_user": "ada"}) is None
    assert visits.claim("token", "this browser", {}) is None
    assert visits.claim("token", "this browser", {"_streamlit_user": "bob"}) is None
    assert visits.claim("tokem", "this browser", {"_streamlit_user": "ada"}) is None
    assert visits.claim("token", "this browser", {"_streamlit_user": "ada"}) is not None


def test_a_second_tab_takes_over_the_image_and_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.parts.visits.CLOSING_SECONDS", 0.05)
    visits, mine = Visits(lambda streamlit: streamlit == "streamlit-1"), visit()
    visits.keep("token", mine)
    found = visits.claim("token", "this browser", {})
    assert found is not None
    assert found.kept is not mine.kept
    assert found.kept.handed == IMAGE
    assert found.widgets == {}
    found.kept.pixel_sizes["x"] = None  # type: ignore[assignment]
    assert mine.kept.pixel_sizes == {}


def test_old_visits_are_forgotten_unless_somebody_still_looks() -> None:
    for alive, kept in ((False, False), (True, True)):
        visits = Visits(lambda _, alive=alive: alive, minutes=0)  # type: ignore[misc]
        visits.keep("old", visit())
        visits.keep("new", visit())
        assert ("old" in visits._visits) is kept


def test_the_newest_ones_are_kept() -> None:
    visits = Visits(closed)
    for number in range(AT_MOST + 3):
        visits.keep(str(number), visit())
    visits.keep("3", visit())
    assert len(visits._visits) == AT_MOST
    assert "2" not in visits._visits
    assert "3" in visits._visits


def test_an_empty_page_is_not_kept() -> None:
    assert not worth_keeping(Session())
    assert worth_keeping(Session(handed=IMAGE))
    assert worth_keeping(Session(viewing=Viewing(image="x")))


@pytest.mark.parametrize(("headers", "secure"), [({}, False), ({"x-forwarded-proto": "https"}, True)])
def test_a_page_brings_a_cookie_that_scripts_cannot_read(headers: dict[str, str], secure: bool) -> None:
    routes = [
        Route("/", lambda request: HTMLResponse("<p>")),
        Route("/file", lambda request: PlainTextResponse("x")),
    ]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(BrowserCookie, path="/tool")]))
    cookie = client.get("/", headers=headers).headers["set-cookie"]
    name, value = cookie.split(";")[0].split("=")
    assert name == COOKIE
    assert len(value) == 32  # 192 bits in base64
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/tool" in cookie
    assert ("Secure" in cookie) is secure
    assert "set-cookie" not in client.get("/file").headers
    assert "set-cookie" not in client.get("/", headers={"cookie": f"{COOKIE}=known"}).headers

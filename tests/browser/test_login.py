"""Log-in by a real OpenID Connect provider, a small one that this test runs: in, the page, out, and nobody else in."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from playwright.sync_api import Browser, Page, expect

from dala.cases.opening import store_from_environment
from dala.cases.people import SERVER
from dala.cases.store import ABSENT
from pages.parts.login import problem_of
from tests.helpers.browser import PAGE_MS, bar_link, free_port, fresh_page, go_to, script_ended, serving

CLIENT, SECRET, PERSON = "dala", "a client's secret", "Dr. Ada Example"
LOG_IN = "Please log in to use this tool."


class Provider(ThreadingHTTPServer):
    """An OpenID Connect provider that asks for nothing: whoever comes is `person`, a claim `sub` with a name."""

    def __init__(self) -> None:
        super().__init__(("localhost", 0), Answers)
        self.issuer = f"http://localhost:{self.server_port}"
        self.key = RSAKey.generate_key(2048, {"kid": "test", "use": "sig", "alg": "RS256"})
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.person = ("1", PERSON)
        self.secret = SECRET


class Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        url, provider = urlsplit(self.path), self.server
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        provider.asked.append(url.path)
        if url.path == "/.well-known/openid-configuration":
            self.answer(
                {
                    "issuer": provider.issuer,
                    "authorization_endpoint": f"{provider.issuer}/authorize",
                    "token_endpoint": f"{provider.issuer}/token",
                    "jwks_uri": f"{provider.issuer}/keys",
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )
        elif url.path == "/keys":
            self.answer({"keys": [provider.key.as_dict(private=False)]})
        elif url.path == "/authorize" and query["client_id"] == CLIENT:
            code = secrets.token_hex(8)
            provider.codes[code] = query
            self.send_response(302)
            self.send_header(
                "Location", f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
            )
            self.end_headers()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        provider = self.server
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        provider.asked.append(self.path)
        known = base64.b64encode(f"{CLIENT}:{provider.secret}".encode()).decode()
        asked = provider.codes.pop(form["code"][0], None)
        if self.path != "/token" or asked is None or self.headers.get("Authorization") != f"Basic {known}":
            self.send_error(401)
            return
        now = int(time.time())
        claims = {
            "iss": provider.issuer, "aud": CLIENT, "sub": provider.person[0], "name": provider.person[1],
            "email": "ada@example.org", "iat": now, "exp": now + 600, "nonce": asked["nonce"],
        }  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "test"}, claims, provider.key)
        self.answer({"access_token": "x", "token_type": "Bearer", "expires_in": 600, "id_token": token})

    def answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    found = Provider()
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()


@contextmanager
def page_of(chromium: Browser, folder: Path, port: int, **auth: str) -> Iterator[Page]:
    """A fresh browser profile at the app with this section [auth]."""
    file = written(folder / "secrets.toml", auth)
    server = serving(port, folder / "streamlit.log", "--secrets.files", str(file), warm=False)
    with server as served, fresh_page(chromium) as page:
        page.goto(served.url)
        script_ended(page)
        yield page


def written(file: Path, auth: Mapping[str, str]) -> Path:
    """The file of secrets with this section [auth]."""
    file.write_text("[auth]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in auth.items()))
    return file


def settings(port: int, provider: Provider, **other: str) -> dict[str, str]:
    return {
        "redirect_uri": f"http://localhost:{port}/oauth2callback",
        "cookie_secret": secrets.token_hex(32),
        "client_id": CLIENT,
        "client_secret": SECRET,
        "server_metadata_url": f"{provider.issuer}/.well-known/openid-configuration",
    } | other


WRONG: dict[str, tuple[dict[str, str | None], str]] = {
    "missing": ({"client_id": None}, "does not name client_id"),
    "short": ({"cookie_secret": "short"}, "cookie_secret is shorter than 32 characters"),
    "elsewhere": ({"redirect_uri": "http://localhost/elsewhere"}, "redirect_uri does not end with /oauth2callback"),
}


def changed(auth: dict[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in {**auth, **changes}.items() if value is not None}


@pytest.mark.slow
@pytest.mark.parametrize("which", WRONG)
def test_what_is_wrong_is_one_sentence_without_a_secret(provider: Provider, which: str) -> None:
    changes, said = WRONG[which]
    found = problem_of(changed(settings(8501, provider), changes))
    assert found is not None and said in found and SECRET not in found


def test_a_wrong_configuration_lets_nobody_in_and_says_why(
    chromium: Browser, provider: Provider, tmp_path: Path
) -> None:
    port = free_port()
    changes, said = WRONG["missing"]
    with page_of(chromium, tmp_path, port, **changed(settings(port, provider), changes)) as page:
        expect(page.get_by_test_id("stAlert")).to_contain_text(said, timeout=60_000)
        expect(page.get_by_test_id("stAlert")).not_to_contain_text(SECRET)
        expect(page.get_by_test_id("stFileUploader")).to_have_count(0)
        expect(page.get_by_role("button", name="Log in")).to_have_count(0)
        # The tests' servers keep no cases unless they are told to: then no page of them is in the navigation.
        expect(bar_link(page, "Evidence")).to_have_count(1)
        expect(bar_link(page, "Cases")).to_have_count(0)


def test_in_and_out_and_what_somebody_keeps_nobody_else_sees(
    chromium: Browser, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DALA_DATABASE", raising=False)
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "cases"))
    port = free_port()
    with page_of(chromium, tmp_path, port, **settings(port, provider)) as page:
        # Nothing of the tool before.
        expect(page.get_by_text(LOG_IN)).to_be_visible()
        expect(page.get_by_test_id("stFileUploader")).to_have_count(0)
        go_to(page, "Evidence")
        page.wait_for_url("**/evidence", timeout=PAGE_MS)
        script_ended(page)
        expect(page.get_by_text(LOG_IN)).to_be_visible()
        expect(page.get_by_role("heading")).to_have_count(0)

        # With a secret that the provider takes for wrong nobody gets in.
        provider.secret = "another one"
        with page.expect_response(lambda answer: "/oauth2callback" in answer.url, timeout=PAGE_MS):
            page.get_by_role("button", name="Log in").click()
        assert {"/authorize", "/token"} <= set(provider.asked)
        provider.secret = SECRET
        # In another tab with the same cookies: the first one may still be showing Chromium's own page for an error.
        page = page.context.new_page()
        page.goto(f"http://localhost:{port}")
        expect(page.get_by_text(LOG_IN)).to_be_visible(timeout=PAGE_MS)

        log_in(page)
        expect(page.get_by_text(f"Logged in as {PERSON}")).to_be_visible()
        expect(page.get_by_test_id("stFileUploader")).to_be_visible(timeout=PAGE_MS)
        page.get_by_role("button", name="Solid sheets", exact=True).click()
        page.get_by_role("button", name="Keep this case").click(timeout=PAGE_MS)
        page.get_by_role("link", name="Open the case").click()
        expect(page.get_by_text(f"read by {PERSON}, private")).to_be_visible(timeout=PAGE_MS)
        address = page.url
        store = store_from_environment()
        assert store is not None
        (row,) = store.search(SERVER).rows
        assert row.reader == (f"{provider.issuer}|1", PERSON)
        store.database.close()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_text(LOG_IN)).to_be_visible(timeout=PAGE_MS)
        expect(page.get_by_test_id("stFileUploader")).to_have_count(0)

        provider.person = ("2", "Dr. Eve Example")
        page.goto(address)
        expect(page.get_by_text(LOG_IN)).to_be_visible(timeout=PAGE_MS)
        log_in(page)
        expect(page.get_by_text("Logged in as Dr. Eve Example")).to_be_visible()
        for place in (address, address.replace("/cases?", "/compare?a=" + row.id + "&b=" + row.id + "&")):
            page.goto(place)
            expect(page.get_by_test_id("stAlert")).to_have_text(ABSENT, timeout=PAGE_MS)
        go_to(page, "Cases")
        expect(page.get_by_text("Nothing is kept yet.")).to_be_visible(timeout=PAGE_MS)


def log_in(page: Page) -> None:
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Logged in as")).to_be_visible(timeout=PAGE_MS)
    script_ended(page)

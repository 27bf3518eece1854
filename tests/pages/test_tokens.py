"""One's own tokens on a page: made and shown once, listed, revoked."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dala.cases.opening import store_from_environment
from dala.cases.people import LOCAL, Person, Role
from dala.cases.tokens import Tokens

ADA = Person("ada", "Ada", Role.READER)


def page() -> None:
    from dala.cases.people import Person, Role
    from pages.parts.people import store_or_stop
    from pages.parts.tokens import show_tokens

    show_tokens(store_or_stop(), Person("ada", "Ada", Role.READER))


def test_a_token_is_shown_once_and_revoked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DALA_DATABASE", raising=False)
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "cases"))
    store = store_from_environment()
    assert store is not None
    tokens = Tokens(store.database)
    tokens.create(LOCAL, "somebody else's")
    at = AppTest.from_function(page, default_timeout=60).run()
    assert not at.exception and not at.code and [one.label for one in at.button] == ["Make a token"]
    at.text_input[0].set_value("QuPath *script*")
    at.button[0].click().run()
    assert not at.exception
    secret = str(at.code[0].value)
    assert tokens.person(secret) == ADA
    assert r"**QuPath \*script\***, made" in at.markdown[-1].value and "never used" in at.markdown[-1].value
    at.run()
    assert not at.code, "it is shown only once"
    (revoke,) = [one for one in at.button if one.label == "Revoke"]
    revoke.click().run()
    assert not at.exception and tokens.person(secret) is None
    assert [one.label for one in at.button] == ["Make a token"]

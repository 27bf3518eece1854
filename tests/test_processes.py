"""Several processes divide the tests by files: what is made for a module is made once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.conftest import group_of


@pytest.mark.parametrize("number", range(6))
def test_a_file_stays_in_one_process(number: int) -> None:
    """Each of these notes its process, and finds no other noted by those before it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    notes = Path(tempfile.gettempdir()) / f"dala-tests-{run}"
    with notes.open("a") as file:
        print(os.getpid(), file=file)
    assert set(notes.read_text().split()) == {str(os.getpid())}
    if number == 5:
        notes.unlink()


def test_those_at_the_served_app_stay_together() -> None:
    one, other = (group_of(f"tests/browser/test_{name}.py::test[a::b]") for name in ("access", "viewer"))
    assert one == other != group_of("tests/browser/test_login.py::test_in_and_out")
    assert group_of("tests/viewer/test_page.py::test") == "tests/viewer/test_page.py"

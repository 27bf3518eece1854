"""The licences of what is installed, beside packages made for the purpose."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from dala import licences
from dala.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
Package = Callable[..., None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Makes an installed package of this name; nothing else is installed."""

    def made(name: str, *lines: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines]))

    real = metadata.distributions
    monkeypatch.setattr(metadata, "distributions", lambda: real(path=[str(tmp_path)]))
    return made


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: MIT", "License: something else"], "MIT"),
        (["Classifier: License :: OSI Approved :: BSD License", "License: see the file"], "BSD License"),
        (["Classifier: License :: OSI Approved", "License: BSD-3-Clause"], "BSD-3-Clause"),
        (["License: " + "x" * 500], "x" * 59 + "…"),
        (["Classifier: Programming Language :: C"], "not stated"),
        ([], "not stated"),
    ],
)
def test_what_a_package_says_of_itself(package: Package, lines: list[str], expected: str) -> None:
    package("one", *lines)
    assert [one.licence for one in licences.installed([])] == [expected]


@pytest.mark.parametrize(
    ("licence", "strong"),
    [
        ("GPL-3.0-or-later", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0-only", True),
        ("GNU Affero General Public License v3", True),
        ("GPLv2", True),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", False),
        ("MIT OR GPL-2.0-only", False),
        ("MIT AND GPL-2.0-only", True),
        ("Apache-2.0", False),
        ("not stated", False),
    ],
)
def test_strong_copyleft(licence: str, strong: bool) -> None:
    assert licences.Licence("one", "1.0", licence, True).strong == strong


def test_what_the_app_needs_is_followed_through_its_packages(
    package: Package, capsys: pytest.CaptureFixture[str]
) -> None:
    package("app-part", "License: MIT", "Requires-Dist: Inner_Part>=2", "Requires-Dist: tests ; extra == 'dev'")
    package("inner.part", "License-Expression: GPL-3.0-only", "Requires-Dist: app-part")
    package("tests", "License-Expression: GPL-3.0-only")
    found = {one.name: one.needed for one in licences.installed(["app-part==1.0", "# a comment", "missing==2"])}
    assert found == {"app-part": True, "inner.part": True, "tests": False}
    assert licences.main(["app-part==1.0"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "3 packages, 2 of them needed by the app (app), under the GPL or the like: inner.part."
    assert licences.main(["tests-of-another"]) == 0


@pytest.mark.slow
def test_nothing_that_the_app_needs_is_under_the_gpl() -> None:
    pins = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line]
    found = licences.installed(pins)
    needed = [one for one in found if one.needed]
    assert len(needed) > len(pins), "packages of packages are in it"
    assert {line.split("==")[0] for line in pins} <= {licences._plain(one.name) for one in needed}
    assert [one.name for one in needed if one.strong] == []


@pytest.mark.slow
def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["licences"]) == 0
    told = capsys.readouterr().out
    assert "imagecodecs" in told and "BSD-3-Clause" in told and "none of them under the GPL" in told

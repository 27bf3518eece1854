"""Commands that measure: each study brings its own, and what it lacks is said in one sentence."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dala.cli.main import main, parser
from dala.studies import registry
from dala.studies import study as study_module
from dala.studies.record import Result
from dala.studies.registry import STUDIES
from dala.studies.study import Study, Verb


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.key)
def test_every_studys_command_is_one_that_the_program_takes(study: Study[Any]) -> None:
    program, *words = shlex.split(study.command)
    assert program == "dala"
    assert parser().parse_args(words).run


def test_a_command_of_no_study_does_not_wait_for_the_studies() -> None:
    told = parser(["doctor"]).format_help()
    assert "doctor" in told and "protocols" not in told
    assert "protocols" in parser().format_help()


@pytest.mark.slow
def test_studies_are_listed_with_file_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studies"]) == 0
    printed = capsys.readouterr().out
    for study in STUDIES:
        assert study.path in printed and study.command in printed
    assert printed.count(" current ") == len(STUDIES)


def test_what_is_missing_or_damaged_is_listed_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study_module, "EVIDENCE_DIR", tmp_path)
    (tmp_path / "load.json").write_text("{")
    assert main(["studies"]) == 1
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[::2]}
    assert "damaged" in lines["load"] and "not measured" in lines["headline"]


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("pytorch_grad_cam", ["speed"]),
        ("torchcam.methods", ["localisation", "--data", "absent"]),
        ("playwright.async_api", ["load", "--images", "absent"]),
    ],
)
def test_without_a_package_of_development_a_command_says_which_file_brings_it(
    package: str, call: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("other_programs", "lesions", "deletion", "crowd"):
        monkeypatch.delitem(sys.modules, f"dala.studies.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(call) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("dala: ") and "requirements-dev.txt" in printed and printed.count("\n") == 1


# A study is one file and one line


@dataclass(frozen=True, kw_only=True)
class Toy(Result):
    answer: int


def toy_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hard", action="store_true")


def play(options: argparse.Namespace) -> int:
    print("played hard" if options.hard else "played")
    return 0


TOY = Study("toy", "toy.json", Toy, None, "dala toy", verb=Verb("toy", None, "play", toy_options, play))


@pytest.mark.slow
def test_a_study_that_is_added_to_the_list_has_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "STUDIES", [*STUDIES, TOY])
    assert main(["toy", "--hard"]) == 0
    assert capsys.readouterr().out == "played hard\n"
    assert main(["studies"]) == 1
    assert "toy                    not measured  evidence/toy.json" in capsys.readouterr().out

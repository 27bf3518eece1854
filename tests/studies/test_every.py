"""Every study in one go: the commands, what is finished, failures, interruptions and the summary, with made studies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dala.cli.main import main
from dala.errors import DataError
from dala.studies import every
from dala.studies.every import Finished, Outcome, Step, arguments_of, code_of, run_all, spent, steps_of, summary_of
from dala.studies.record import Result
from dala.studies.registry import STUDIES
from dala.studies.study import Study

RUNS = Path("kept")


def takes(words: Sequence[str]) -> dict[str, bool]:
    return {"--data": True, "--runs": words[0] != "speed"}


def study(key: str, command: str = "dala modality --data DIR") -> Study[Result]:
    return Study(key, f"{key}.json", Result, None, command)


def step(key: str) -> Step:
    return Step(("modality", key), (study(key),), "dala.studies.modality")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with evidence/ and a folder of data in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("evidence", "data/breakhis_200x_224"):
        (tmp_path / name).mkdir(parents=True)
    for name in "abc":
        (tmp_path / f"evidence/{name}.json").write_text("{}")
    return tmp_path / "data"


# Commands


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("dala protocols breakhis --data ROOT", "protocols breakhis --data {}/breakhis_200x_224 --runs kept"),
        ("dala gate breakhis --data ROOT --others DIR",
         "gate breakhis --data {}/breakhis_200x_224 --others {} --runs kept"),
        ("dala gate breast --data ROOT", "gate breast --data {} --runs kept"),
        ("dala load --images DIR", "load --images {}/breakhis_200x_224 --runs kept"),
        ("dala crossvalidate mini_ddsm --data ROOT", "crossvalidate mini_ddsm --data {} --runs kept"),
        ("dala ablation breakhis --data ROOT --by labels",
         "ablation breakhis --data {}/breakhis_200x_224 --by labels --runs kept"),
        ("dala robustness breakhis --data ROOT --originals DIR --each 6",
         "robustness breakhis --data {}/breakhis_200x_224 --originals {} --each 6 --runs kept"),
        ("dala calibrate breakhis", "calibrate breakhis --runs kept"),
        ("dala speed", "speed"),
    ],
)  # fmt: skip
def test_a_command_finds_its_data(root: Path, command: str, arguments: str) -> None:
    """There is a folder of BreakHis and none of Mini-DDSM; --runs of `speed` is a number."""
    assert " ".join(arguments_of(command, root, takes, RUNS)) == arguments.replace("{}", str(root))


def test_studies_that_one_command_writes_are_one_step(root: Path) -> None:
    asked = [study("a"), study("b", "dala speed"), study("c")]
    steps = steps_of(asked, root, takes, lambda arguments: "dala.studies.modality", RUNS)
    assert [one.name for one in steps] == ["a, c", "b"]


def test_the_options_of_the_file_are_used_again(root: Path) -> None:
    told = {"protocol": "by hand", "command": "dala modality --data DIR --limit 3"}
    Path("evidence/a.json").write_text(json.dumps(told))
    assert every.command_of(study("a")) == "dala modality --data DIR --limit 3"
    assert every.command_of(study("b")) == every.command_of(study("absent")) == "dala modality --data DIR"


def test_every_shipped_command_is_one_that_the_program_takes(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parsed by the dry run itself, which ends with an error otherwise; nothing is run."""
    monkeypatch.setattr(every, "by_subprocess", lambda one: pytest.fail("run"))
    assert main(["studies", "--all", "--data", str(root), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert all(one.key in told for one in STUDIES)
    assert told.count(": to run\n") == len({one.command for one in STUDIES})
    assert main(["studies", "--all", "--data", str(root), "--dry-run", "--only", "modality", "speed"]) == 0
    assert capsys.readouterr().out.count(": to run\n") == 2


# What is finished


def test_the_code_of_a_command_is_all_that_it_imports() -> None:
    """`dala.stats.bootstrap` imports nothing of ours; what the gate does changes what modality says, pages do not."""
    assert [path.name for path in code_of("dala.stats.bootstrap")] == ["bootstrap.py"]
    names = {path.relative_to(every.PACKAGE).as_posix() for path in code_of("dala.studies.modality")}
    assert {"studies/modality.py", "gate/modality.py", "intake/image.py", "errors.py"} <= names
    assert not any(name.startswith(("training", "teaching", "cli")) for name in names)
    assert code_of("numpy") == code_of("dala.no_such") == ()


def test_a_step_is_finished_with_the_same_weights_code_and_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, path = step("a"), RUNS / every.KEPT
    assert not Finished(path).holds(one, root)
    Finished(path).keep(one, root, 12.34)
    kept = Finished(path)
    assert kept.holds(one, root) and kept.seconds(one) == 12.3
    assert not kept.holds(step("b"), root) and kept.seconds(step("b")) is None
    assert not kept.holds(one, root.parent), "other data"
    of_weights = Step(one.arguments, (Study("a", "a.json", Result, "breast", "dala modality --data DIR"),), one.module)
    assert not kept.holds(of_weights, root), "other weights"
    assert not kept.holds(Step(one.arguments, one.studies, "dala.studies.speed"), root), "other code"
    Path("evidence/a.json").unlink()
    assert not kept.holds(one, root), "its file is gone"


def test_a_damaged_list_is_a_sentence(root: Path) -> None:
    RUNS.mkdir()
    for text in ("{", "[]", '{"a": 1}'):
        (RUNS / every.KEPT).write_text(text)
        with pytest.raises(DataError, match="no list of finished studies"):
            Finished(RUNS / every.KEPT)


# Running


def test_a_failure_does_not_stop_the_others_and_is_tried_again(root: Path) -> None:
    steps, ran, said = [step(name) for name in "abc"], list[str](), list[str]()
    failing = {"b"}

    def run(one: Step) -> int:
        ran.append(one.name)
        return 3 if one.name in failing else 0

    times = iter(range(0, 1000, 10))
    outcomes = run_all(steps, root, Finished(RUNS / "s.json"), run, said.append, lambda: float(next(times)))
    assert [(one.step.name, one.how, one.seconds) for one in outcomes] == [
        ("a", "done", 10.0), ("b", "failed", 10.0), ("c", "done", 10.0),
    ]  # fmt: skip
    assert said[:2] == ["[1 of 3] a: dala modality a", "[1 of 3] a: done after 10 s"]
    failing.clear()
    again = run_all(steps, root, Finished(RUNS / "s.json"), run, said.append)
    assert [one.how for one in again] == ["finished", "done", "finished"]
    assert ran == ["a", "b", "c", "b"]


def test_an_interruption_ends_it_and_what_is_finished_is_kept(root: Path) -> None:
    def run(one: Step) -> int:
        if one.name == "b":
            raise KeyboardInterrupt
        return 0

    steps = [step(name) for name in "abc"]
    outcomes = run_all(steps, root, Finished(RUNS / "s.json"), run, lambda line: None)
    assert [one.how for one in outcomes] == ["done", "interrupted"]
    assert summary_of(outcomes, 3).endswith("1 done, 0 finished before, 0 failed, 2 not run to their end, in 0 s")
    assert set(json.loads((RUNS / "s.json").read_text())) == {"modality a"}


def test_times_in_words() -> None:
    assert [spent(value) for value in (0.4, 59.4, 60, 3599, 3600, 7500)] == [
        "0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "2 h 5 min",
    ]  # fmt: skip
    first = summary_of([Outcome(step("a"), "done", 61), Outcome(step("b"), "finished", 0)], 2).splitlines()
    assert [line.split() for line in first[:2]] == [["done", "1", "min", "1", "s", "a"], ["finished", "b"]]


@pytest.mark.slow
def test_a_real_command_in_a_process_of_its_own(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Modality of a folder without images fails in its own sentence; the summary says so, with status 1."""
    line = ["studies", "--all", "--data", str(root), "--only", "modality", "--runs", str(RUNS)]
    assert main(line) == 1
    told = capfd.readouterr()
    assert "0 done, 0 finished before, 1 failed" in told.out
    assert "dala: " in told.err and "Traceback" not in told.err


def test_what_belongs_to_all_is_refused_without_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["--all"], ["--dry-run"], ["--only", "speed"], ["--data", str(root)]):
        assert main(["studies", *line]) == 2
        assert capsys.readouterr().err.count("dala: ") == 1
    assert main(["studies", "--all", "--data", "absent"]) == 1
    assert capsys.readouterr().err == "dala: The folder absent does not exist.\n"

"""What is said of everything at once, from records worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dala.cli.main import main
from dala.studies import soak
from dala.studies.soak import Memory, Run, Soak, Wait, in_words, sentence, table, with_run

RUN = Run(
    database="SQLite",
    minutes=5,
    browsers=8,
    programs=2,
    scans=1,
    processor="a processor",
    cores=2,
    waits={
        "keep": Wait(count=10, median=1.04, percentile_95=2.96),
        "opinion": Wait(count=1200, median=0.5, percentile_95=1.25),
    },
    memory_mb=Memory(both_models=1200, largest=1350, last=1300),
    failures=(),
    measured="2026-11-29",
)


def test_without_a_checkout_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(soak, "SCRIPT", tmp_path / "tests" / "soak.py")
    assert main(["soak"]) == 1
    assert "needs a checkout" in capsys.readouterr().err


def test_the_command_runs_the_script_and_hands_on_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "tests" / "soak.py"
    script.parent.mkdir()
    script.write_text("import sys; open('told', 'w').write(' '.join(sys.argv[1:])); sys.exit(1)")
    monkeypatch.setattr(soak, "SCRIPT", script)
    assert main(["soak", "--browsers", "3"]) == 1
    assert (tmp_path / "told").read_text() == "--browsers 3 --clients 2 --minutes 5 --record"


def test_a_run_in_words() -> None:
    assert sentence(RUN) == (
        "On SQLite, 8 browsers and 2 programs beside a scan waited 1,210 times in 5 minutes: nothing was lost or mixed "
        "up. Memory with both models: 1,200 MB, at most 1,350 MB, at the end 1,300 MB."
    )
    assert "**2 failures**" in sentence(replace(RUN, failures=("a", "b")))
    assert in_words(RUN) == (
        "SQLite: 8 browsers, 2 programs and 1 finished scan in 5 minutes on 2026-11-29, 2 cores of a processor."
    )


def test_a_run_replaces_the_one_of_its_database_and_no_other() -> None:
    other = replace(RUN, database="PostgreSQL", waits={"delete": Wait(count=1, median=3.0, percentile_95=4.0)})
    both = with_run(with_run(None, RUN), other)
    later = replace(RUN, measured="2026-12-01")
    again = with_run(both, later)
    assert both.runs == (RUN, other) and again.runs == (later, other)
    assert "on 2026-12-01" in again.protocol and "on 2026-11-29" in again.protocol
    assert Soak.from_json(both.to_json()) == both
    assert table(both) == [
        {
            "Waiting for": name,
            "SQLite: 95 % within": sqlite_95,
            "PostgreSQL: 95 % within": postgresql_95,
            "SQLite: half within": sqlite_half,
            "PostgreSQL: half within": postgresql_half,
        }
        for name, sqlite_95, sqlite_half, postgresql_95, postgresql_half in (
            ("Keep the case", "3.0\N{NO-BREAK SPACE}s", "1.0\N{NO-BREAK SPACE}s", "", ""),
            ("Delete a case", "", "", "4.0\N{NO-BREAK SPACE}s", "3.0\N{NO-BREAK SPACE}s"),
            ("Opinion, asked by a program", "1.2\N{NO-BREAK SPACE}s", "0.5\N{NO-BREAK SPACE}s", "", ""),
        )
    ]

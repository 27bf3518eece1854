"""What the documents say is true: commands parse, examples run, links and images are there, and none is forgotten."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dala.cli.main import main as cli
from tests.helpers.documents import BLOCK, DOCUMENTS, ROOT, alternatives, commands

LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize(("document", "line"), commands())
def test_every_command_is_one_that_the_program_takes(document: str, line: str) -> None:
    words = [word for word in shlex.split(line) if word != "..."]
    if words[0] == "PYTHONPATH=." or words[1].endswith(".py"):
        script = ROOT / next(word for word in words if word.endswith(".py"))
        taken = {node.args[0].value for node in ast.walk(ast.parse(script.read_text())) if is_option(node)}  # type: ignore[attr-defined]
        assert {word for word in words if word.startswith("--")} <= taken
        return
    if words[0] == "torchrun":
        words = ["python", *words[words.index("-m") :]]
    assert words[1] in ("-m", "-c"), line
    if words[2] == "dala":
        rest = words[3:]
        if "--help" not in rest:
            # Parsed by the program's own parser, never run.
            assert cli._parser().parse_args(rest).run


def is_option(node: Any) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"


def test_commands_are_found() -> None:
    lines = [line for _, line in commands()]
    assert "python -m dala train bach --data ROOT" in lines
    assert len(lines) > 30
    assert alternatives("a|b c [--d E] f") == ["a c --d E f", "b c --d E f", "a c f", "b c f"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_images_are_there(document: Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target
    # Paths in the text too.
    for path in re.findall(
        r"`((?:dala|docs|tests|evidence|pages|viewer|benchmarks)/[\w./]+\.\w+)`", document.read_text()
    ):
        assert (ROOT / path).exists(), path


def test_every_document_and_every_image_is_linked() -> None:
    linked = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        linked |= {(document.parent / target).resolve() for target in LINK.findall(text) if "://" not in target}
    for path in [*DOCUMENTS[1:], *(ROOT / "docs").glob("*.webp")]:
        assert path in linked, f"{path.name} is linked from nowhere"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_examples_run_as_they_stand(document: Path, tmp_path: Path) -> None:
    blocks = [block for kind, block in BLOCK.findall(document.read_text(encoding="utf-8")) if kind == "python"]
    if not blocks:
        pytest.skip(f"{document.name} has no examples")
    program = tmp_path / "example.py"
    program.write_text("\n".join(blocks), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(program)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert "torch.Size([1, 1, 2, 2])" in ran.stdout or "maps" not in "".join(blocks)

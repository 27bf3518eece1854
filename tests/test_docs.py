"""What the documents say is true: commands parse, examples run, links and images are there, and none is forgotten."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dala import __version__
from dala.cli.main import parser
from dala.explanation.render import encode_png
from dala.phantoms.tissue import PHANTOMS, draw
from tests.helpers.documents import BLOCK, DIALECT, DOCUMENTS, PRESENT, ROOT, alternatives, commands, sentences, terms

LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def python_of(document: Path) -> list[str]:
    return [block for kind, block in BLOCK.findall(document.read_text(encoding="utf-8")) if kind == "python"]


MODULES = sorted([ROOT / "app.py", *(ROOT / "pages").rglob("*.py"), *(ROOT / "dala").rglob("*.py")])
EXAMPLES = [document for document in DOCUMENTS if python_of(document)]
WHOLE = parser()
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("document", "line"), commands())
def test_every_command_is_one_that_the_program_takes(document: str, line: str) -> None:
    words = [word for word in shlex.split(line) if word != "..."]
    if words[0] == "torchrun":
        words = words[words.index("-m") + 1 :]
    if words[0] == "dala":
        if "--help" not in words:
            # Parsed by the program's own parser, never run.
            assert WHOLE.parse_args(words[1:]).run
        return
    assert words[1].endswith(".py"), line
    tree = ast.parse((ROOT / words[1]).read_text(encoding="utf-8"))
    taken = {node.args[0].value for node in ast.walk(tree) if is_option(node)}  # type: ignore[attr-defined]
    assert {word for word in words if word.startswith("--")} <= taken


def is_option(node: Any) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"


def test_commands_are_found() -> None:
    lines = [line for _, line in commands()]
    assert "dala train bach --data ROOT" in lines
    assert len(lines) > 30
    assert alternatives("a|b c [--d E] f") == ["a c --d E f", "b c --d E f", "a c f", "b c f"]


@pytest.mark.parametrize("document", PRESENT, ids=lambda path: path.name)
def test_the_package_is_installed_where_a_document_uses_it(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert "PYTHONPATH" not in text and "python -m dala" not in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_images_are_there(document: Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", PRESENT, ids=lambda path: path.name)
def test_files_that_the_text_names_are_there(document: Path) -> None:
    for path in re.findall(
        r"`((?:dala|docs|tests|evidence|pages|viewer|benchmarks)/[\w./]+\.\w+)`", document.read_text()
    ):
        assert (ROOT / path).exists(), path


def test_every_document_and_every_image_is_linked() -> None:
    linked = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        linked |= {(document.parent / target).resolve() for target in LINK.findall(text) if "://" not in target}
    for path in [*DOCUMENTS, *(ROOT / "docs").glob("*.webp"), *(ROOT / "docs").glob("*.svg")]:
        assert path in linked or path.name == "README.md", f"{path.name} is linked from nowhere"


@pytest.mark.slow
@pytest.mark.parametrize("document", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.usefixtures("weights_stay_loaded")
def test_examples_run_as_they_stand(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder with the drawn image that they speak of; what a `# ->` says is printed, in this order."""
    program = "\n".join(python_of(document))
    (tmp_path / "example.py").write_text(program, encoding="utf-8")
    (tmp_path / "patch.png").write_bytes(encode_png(draw(PHANTOMS[0]).pixels[:230, 350:]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dala.explanation.effect.SHARES", (0.1, 0.5, 1.0))  # a coarser curve, which is quicker
    runpy.run_path("example.py", run_name="__main__")
    promised = re.findall(r"  # -> (.+)$", program, re.MULTILINE)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line in promised] == promised


def test_every_document_of_code_has_examples() -> None:
    assert {"README.md", "api.md", "adding-a-model.md"} <= {document.name for document in EXAMPLES}


def test_the_glossary_is_sorted_and_long_enough() -> None:
    explained = terms(GLOSSARY)
    assert list(explained) == sorted(explained, key=str.casefold)
    assert len({term.casefold() for term in explained}) == len(explained) >= 40
    assert GLOSSARY.count("**") == 2 * len(explained), "every term in bold has a definition, and nothing else is bold"
    assert all(text.endswith(".") and len(text) > 40 for text in explained.values())


def test_a_term_explained_twice_is_found() -> None:
    assert terms("# G\n\n**a**: One\ntwo.\n\n**b**: Three.\n") == {"a": "One two.", "b": "Three."}
    with pytest.raises(ValueError, match="twice"):
        terms("**a**: One.\n\n**a**: Two.\n")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_use_the_words_of_the_glossary(document: Path) -> None:
    # A name in code is the program's; the pages' own words are checked where they are written.
    prose = re.sub(r"`[^`]*`", "", BLOCK.sub("", document.read_text(encoding="utf-8")))
    assert DIALECT.findall(prose) == []


def test_help_describes_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets is not None
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    described = dict(re.findall(r"^make (\S+) +(.+)$", said, re.MULTILINE))
    assert described.keys() == {*targets[1].split()}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_users_read_uses_the_words_of_the_glossary(module: Path) -> None:
    assert [(line, text) for line, text in sentences(module) if DIALECT.search(text)] == []


def test_the_version_is_the_same_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [__version__]
    assert re.findall(r"^## ([\d.]+)", changelog, re.MULTILINE)[0] == __version__


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150

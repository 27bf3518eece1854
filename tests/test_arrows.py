"""The arrows between the rooms, by the imports of every module, and the size of the core and of every module."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path for folder in ("dala", "pages") for path in (ROOT / folder).rglob("*.py"))

# A room is a folder or a module of dala, or pages. It may import the rooms named here, those that they may, and itself.
BASE = ("errors", "files", "words")
ARROWS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "files": (),
    "words": (),
    "stats": (),
    "explanation": ("errors", "words"),
    "decoders": (),
    "intake": (*BASE, "decoders"),
    "nets": BASE,
    "gate": ("intake",),
    "preprocess": ("intake", "nets"),
    "data": ("intake", "stats"),
    "runtime": ("preprocess", "gate", "explanation", "data"),
    "opinion": ("runtime",),
    "sites": ("runtime",),
    "inquiry": ("opinion",),
    "training": ("runtime", "sites"),
    "cases": (*BASE, "stats"),
    "phantoms": BASE,
    "terminal": BASE,
    "studies": ("training", "opinion", "inquiry", "export", "slides", "phantoms", "terminal"),
    "export": ("opinion", "inquiry"),
    "batch": ("export",),
    "slides": ("export", "sites"),
    "teaching": ("export", "phantoms", "cases"),
    "api": ("export", "cases", "sites"),
    "doctor": ("runtime", "cases"),
    "licences": (),
    "cli": ("batch", "slides", "doctor", "licences", "studies", "teaching", "terminal", "cases"),
    "pages": ("batch", "slides", "studies", "teaching", "cases"),
}
CORE = ("opinion", "intake", "preprocess", "gate", "runtime", "nets", "explanation")
HIDDEN = ("sites", "slides", "cases", "api", "studies", "teaching", "training", "export", "batch", "cli")


def room_of(module: str) -> str:
    """The room of a module by its dotted name."""
    parts = module.split(".")
    return parts[1] if parts[0] == "dala" and len(parts) > 1 else parts[0]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports anywhere, in functions and for type checkers too."""
    package = name_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], node.module or ""]).strip(".")
            home = base if node.level else node.module or ""
            found = [f"{home}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] in ("dala", "pages") and name != "dala.__version__")


def allowed(room: str) -> set[str]:
    """Every room that this one may import."""
    return {room, *ARROWS[room], *(further for one in ARROWS[room] for further in allowed(one))}


PLACED = [path for path in MODULES if name_of(path) not in ("dala", "dala.__main__")]  # in a room


@pytest.mark.parametrize("path", PLACED, ids=name_of)
def test_no_import_goes_against_the_arrows(path: Path) -> None:
    name = name_of(path)
    imported = {room_of(one) for one in imports_of(path)}
    assert imported <= allowed(room_of(name)), f"{name} imports a room that its own may not"


def test_the_arrows_know_every_room_and_have_no_circle() -> None:
    assert {room_of(name_of(path)) for path in PLACED} <= ARROWS.keys()
    assert set(TopologicalSorter(ARROWS).static_order()) == ARROWS.keys()
    assert not any("pages" in arrows for arrows in ARROWS.values()) and not ARROWS["stats"]


def test_the_core_is_small_and_so_is_every_module() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    # What decodes untrusted bytes, in a process of its own, is not counted: the core only speaks to it.
    assert sum(count for path, count in lines.items() if room_of(name_of(path)) in CORE) <= 5_000
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count >= 450} == {}


@pytest.mark.slow
def test_the_core_answers_without_what_hangs_on_it(tmp_path: Path) -> None:
    (tmp_path / "drawn.png").write_bytes(encode_png(draw("solid_sheets").pixels[:230, :350]))
    program = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.startswith({tuple([*(f"dala.{room}" for room in HIDDEN), "pages"])!r}):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
import dala
opinion = dala.second_opinion("drawn.png")
print(opinion.prediction.label, len(dala.explain(opinion).regions.regions) > 0)
"""
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert told.stdout.split()[1:] == ["True"], told.stderr

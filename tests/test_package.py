"""The package as users meet it: what `import dala` costs and offers, and an installed wheel far from any checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import dala
from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw

ROOT = Path(__file__).resolve().parents[1]


def python(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_importing_it_costs_nothing() -> None:
    program = "import time; t = time.perf_counter(); import dala; print(time.perf_counter() - t)"
    assert min(float(python(program)) for _ in range(3)) < 0.1


def test_every_public_name_is_found_and_no_other() -> None:
    assert {name for name in dala.__all__ if getattr(dala, name, None) is None} == set()
    assert set(dala.__all__) <= set(dir(dala))
    with pytest.raises(AttributeError, match="second_opinions"):
        dala.second_opinions  # type: ignore[attr-defined]  # noqa: B018


def linked(here: str, there: str) -> None:
    """In place of a copy, where both lie on one disk."""
    try:
        os.link(here, there)
    except OSError:
        shutil.copy2(here, there)


@pytest.mark.slow
def test_what_is_installed_answers_far_from_the_checkout(tmp_path: Path) -> None:
    """`pip install .` into a bare environment, but for the packages it requires: those of this one are lent to it."""
    source = tmp_path / "source"  # a build leaves its traces where it is made
    for name in ("dala", "weights", "evidence"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=unwanted, copy_function=linked)
    for name in ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    places = {"base": str(tmp_path / "bare"), "platbase": str(tmp_path / "bare")}
    site = Path(sysconfig.get_path("purelib", vars=places))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib"))
    bare = tmp_path / "bare" / "bin"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", bare / "python"]
    # The lent setuptools builds it; the install of the environment that runs this test has fetched one for itself.
    quick = "--config-settings=--build-option=--compression=stored"  # weights hardly shrink, and that takes seconds
    plain = ("--no-deps", "--no-build-isolation", "--no-compile")  # what is imported is compiled then
    subprocess.run([*pip, "install", *plain, quick, source], check=True)
    (tmp_path / "drawn.png").write_bytes(encode_png(draw("solid_sheets").pixels[:230, :350]))

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        lean = {"PATH": "", "HOME": str(tmp_path), "DALA_ENGINE": "torch"}
        return subprocess.run(words, cwd=tmp_path, env=lean, capture_output=True, text=True)

    assert run(bare / "dala", "--version").stdout == f"dala {dala.__version__}\n"
    here = dala.second_opinion(tmp_path / "drawn.png")
    program = """
import runpy, sys
import dala.opinion, dala.explanation.render
from dala import explain
assert callable(explain)  # whatever was imported before
opinion = dala.second_opinion("drawn.png")
print(dala.__file__, opinion.patch.sha256, opinion.prediction.label, sep="\\n")
sys.argv = ["dala", "doctor"]
runpy.run_path(sys.orig_argv[-1], run_name="__main__")  # in this process, which has torch already
"""
    answered = run(bare / "python", "-c", program, bare / "dala")
    where, sha256, label, *examined = answered.stdout.splitlines()
    assert answered.returncode == 0 and any("weights breakhis" in line for line in examined), answered
    assert Path(where).is_relative_to(site) and (sha256, label) == (here.patch.sha256, here.prediction.label)

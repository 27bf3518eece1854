"""No traceback for a user's mistake: every command with broken, empty, foreign, missing and no files at all.

The commands come from the parser, so that a new one is tested without a line here.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from dala.cli.main import main, parser
from dala.nets.imagenet import Backbone
from dala.phantoms.film import draw_film
from dala.training import backbone as fetching
from tests.helpers.trees import draw_tree

pytestmark = pytest.mark.usefixtures("weights_stay_loaded")

INPUTS = {"paths", "file", "data", "images", "predictions", "source", "others", "originals", "folds_file", "archive"}
OUTPUTS = {"out", "folder", "evidence", "runs", "csv", "to"}
CHOSEN = {"weights", "backbone", "site"}  # files of the tool itself, or names
# What may be a file itself; `data` and the others are folders.
FILES = ("paths", "file", "predictions", "source", "archive")
WITHOUT_INPUT = {("figures",), ("doctor",), ("licences",), ("soak",), ("speed",), ("studies",), ("samples",)} | {
    ("token", verb) for verb in ("create", "list", "revoke")
}
WITHOUT_INPUT |= {("cases", verb) for verb in ("list", "backup", "export", "expire")}
WITHOUT_INPUT |= {("audit", verb) for verb in ("verify", "list")}
LISTING = ("studies",)  # reads data only where it runs other commands, with --all: tests/studies/test_every.py
JPEG = io.BytesIO()
Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(JPEG, "JPEG")
CONTENTS = {
    "broken": ("broken.jpg", JPEG.getvalue()[: JPEG.tell() // 2]),
    "empty": ("empty.png", b""),
    "foreign": ("text.png", b"This is a letter and no image.\n" * 20),
}


def leaves(found: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every command with its arguments by name."""
    chosen = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
    for action in chosen:
        for name, sub in action.choices.items():
            yield from leaves(sub, (*words, name))
    if not chosen:
        yield words, {action.dest: action for action in found._actions if action.dest != "help"}


WHOLE = parser()
COMMANDS = dict(leaves(WHOLE))
READING = {words: taken for words, taken in COMMANDS.items() if words not in WITHOUT_INPUT}


@pytest.fixture(scope="module", autouse=True)
def made_once() -> Iterator[None]:
    """The program's parser is the same for every line, and takes longer to make than most lines to refuse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dala.cli.main.parser", lambda arguments: WHOLE)
        yield


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory, backbone: Backbone) -> Iterator[Path]:
    """A random ResNet50 as a file, so that nothing is downloaded; it is read once."""
    path = tmp_path_factory.mktemp("backbone") / "random.safetensors"
    save_file(backbone.state, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "load_backbone", cache(fetching.load_backbone))
        yield path


def call(words: tuple[str, ...], given: Path, out: Path, resnet: Path, optional: str | None = None) -> list[str]:
    """The command line with `given` for its input, and everything that it writes under `out`."""
    taken = COMMANDS[words]
    line = list(words)
    for name, action in taken.items():
        if name in INPUTS and (action.required or name in FILES or name == optional):
            line += [action.option_strings[0], str(given)] if action.option_strings else [str(given)]
        elif name in OUTPUTS and name != "csv":
            one_file = name in ("out", "evidence") and "DIR" not in str(action.metavar)
            line += [action.option_strings[0], str(out / (f"{name}.site.safetensors" if one_file else name))]
        elif name == "name":
            line += ["--name", "Our laboratory"]
        elif name == "backbone":
            line += ["--backbone", str(resnet)]
    return line


def refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the line; it must end with 1 or 2 and one sentence, which is returned."""
    capsys.readouterr()
    try:
        status = main(line)
    except SystemExit as error:
        status = error.code
    printed = capsys.readouterr()
    assert status in (1, 2), (line, printed)
    sentences = [part for part in printed.err.replace("\r", "\n").splitlines() if part.startswith("dala: ")]
    assert len(sentences) == 1 and sentences[0].endswith("."), (line, printed)
    assert "Traceback" not in printed.err + printed.out
    return sentences[0]


def test_every_argument_is_known_to_this_test() -> None:
    for words, taken in COMMANDS.items():
        for name, action in taken.items():
            if action.type is Path or any(kind in str(action.metavar) for kind in ("FILE", "DIR", "ROOT", "PATH")):
                assert name in INPUTS | OUTPUTS | CHOSEN, f"{' '.join(words)} takes {name}: input or output?"
        assert (words in WITHOUT_INPUT) == (not INPUTS & set(taken) or words == LISTING), words


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*CONTENTS, "nothing", "absent"])
@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_bad_input_is_a_sentence(
    words: tuple[str, ...], kind: str, tmp_path: Path, resnet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given"
    if kind != "absent":
        given.mkdir()
    if kind in CONTENTS:
        name, content = CONTENTS[kind]
        (given / name).write_bytes(content)
        if any(one in READING[words] for one in FILES):
            refused(call(words, given / name, tmp_path / "out", resnet), capsys)
    refused(call(words, given, tmp_path / "out", resnet), capsys)


# A bad file in its place among good ones


def breakhis(root: Path, content: bytes) -> None:
    draw_tree(root, {"A": ("101AB", "102", "103", "104", "105"), "DC": ("201", "202", "203", "204", "205")}, images=1)
    sorted(root.rglob("*.png"))[0].write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("words", [words for words in READING if words[-1] == "breakhis" and "data" in READING[words]],
                         ids=" ".join)  # fmt: skip
def test_a_bad_file_in_breakhis_is_a_sentence(
    words: tuple[str, ...], kind: str, tmp_path: Path, resnet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    breakhis(tmp_path / "tree", CONTENTS[kind][1])
    refused(call(words, tmp_path / "tree", tmp_path / "out", resnet), capsys)


@pytest.mark.parametrize("kind", CONTENTS)
def test_modality_names_what_it_cannot_read_and_goes_on(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, content = CONTENTS[kind]
    folder = tmp_path / "mini_ddsm"
    folder.mkdir()
    Image.fromarray(draw_film().pixels).save(folder / "film.png")
    (folder / name).write_bytes(content)
    line = ["modality", "--data", str(tmp_path), "--out", str(tmp_path / "modality.json")]
    assert main(line) == 0
    assert f"unreadable: {name}." in capsys.readouterr().err
    (kept,) = json.loads((tmp_path / "modality.json").read_text())["kinds"]
    assert (kept["pictures"], kept["unreadable"]) == (1, [name])
    (folder / "film.png").unlink()
    refused(line, capsys)

"""Every command of the documents, run as it stands there on drawn miniatures of the data sets.

    python tests/walkthrough.py [--keep DIR] [--only WORDS] [--images DIR]

The commands come out of README.md and docs/*.md; ROOT, DIR, PATH, FILE, OUT and NAME are put in, nothing else. They
work in a copy of the repository in a temporary folder (or DIR, where a stopped walk goes on), in the order in which one
needs what another wrote. It ends with status 1 if a command failed. A command that must download what this machine
cannot reach may leave that out with a sentence. It takes hours on two cores and is no part of `make test`, which
parses every command and runs the same training code on smaller networks. The load test wants true patches,
`--images`, any PNG that the gate lets through, and is left out without them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dala.phantoms.tissue import PHANTOMS, draw
from tests.helpers.documents import ROOT, commands
from tests.helpers.films import film
from tests.helpers.trees import FOLDERS

# In this order one finds what it needs; a command is at the first of these words that it holds.
ORDER = (
    "doctor", "predict PATH...", "explain", "modality", "dala speed", "dala localisation",
    "dala load", " validate", "backbone --source npm", "backbone", "crossvalidate", "train breakhis --data",
    "train", "calibrate", "gate", "colour", "protocols", "robustness", "ablation", "dala engines", "faithfulness",
    "benchmark", "evaluate", "figures", "",
)  # fmt: skip
# Their data sets are miniatures, so they are not whole; or they download what may be out of reach from here.
MAY_REFUSE = (" validate", "backbone --source torchvision", "dala benchmark breakhis")
GROUPS = {"A": 8, "DC": 12}  # accession groups of the drawn BreakHis tree, 2 images each
FIELD = (350, 230)


def image(number: int, seed: int, size: tuple[int, int] = FIELD) -> Image.Image:
    return Image.fromarray(draw(PHANTOMS[number], seed).pixels).resize(size, Image.Resampling.LANCZOS)


def breakhis(root: Path) -> None:
    """Ducts and stroma are benign, sheets, files and nests malignant; the 200X part, and one image each of others."""
    folds = []
    for code, groups in GROUPS.items():
        class_, subtype, _ = FOLDERS[code]
        for group in range(groups):
            slide = f"14-{100 * len(code) + group}"
            for magnification in (40, 100, 200, 400):
                stem = f"SOB_{class_[0].upper()}_{code}"
                place = root / "BreaKHis_v1/histology_slides/breast" / class_ / "SOB" / subtype
                place = place / f"{stem}_{slide}" / f"{magnification}X"
                place.mkdir(parents=True, exist_ok=True)
                for number in range(1, 3 if magnification == 200 else 2):
                    kind = (2 + group % 3) if code == "DC" else group % 2
                    name = f"{stem}-{slide}-{magnification}-{number:03d}.png"
                    image(kind, 1000 * group + magnification + number).save(place / name)
                    folds += [f"{name}|{magnification}|{fold}|{part(group, fold)}" for fold in range(1, 6)]
    for fold in range(1, 6):
        lines = [line for line in folds if line.split("|")[2] == str(fold)]
        (root / f"dsfold{fold}.txt").write_text("\n".join(lines) + "\n")


def part(group: int, fold: int) -> str:
    return "test" if group % 5 == fold - 1 else "train"


def bach(root: Path) -> None:
    """Six drawn images a class, half as large as true ones."""
    photos = root / "ICIAR2018_BACH_Challenge" / "Photos"
    for number, (folder, prefix) in enumerate({"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}.items()):
        (photos / folder).mkdir(parents=True)
        for k in range(1, 7):
            image(number, k, (1024, 768)).save(photos / folder / f"{prefix}{k:03d}.tif")


def mini_ddsm(root: Path) -> None:
    """Drawn films of two scanners."""
    number = 0
    for letter in ("B", "C"):
        for status in ("Normal", "Benign", "Cancer")[letter == "C" :]:
            for _ in range(6):
                number += 1
                (root / status / f"{number:04d}").mkdir(parents=True)
                for view in ("LEFT_CC", "RIGHT_CC"):
                    level = {"Normal": 8, "Benign": 20, "Cancer": 50}[status] + 5 * (letter == "C")
                    pixels = film(right=view.startswith("RIGHT"), background=level, seed=number, size=600)[0]
                    Image.fromarray(pixels).save(
                        root / status / f"{number:04d}" / f"{letter}_{number:04d}_1.{view}.jpg"
                    )


def masked(folder: Path) -> None:
    """Drawn images beside the masks of their lesions."""
    folder.mkdir(parents=True)
    for number, name in enumerate(PHANTOMS):
        drawn = draw(name, number)
        Image.fromarray(drawn.pixels).save(folder / f"{name}.jpg", quality=95)
        Image.fromarray(drawn.lesion_mask.astype(np.uint8) * 255).save(folder / f"{name}_mask.png")


def draw_everything(data: Path) -> None:
    breakhis(data / "breakhis")
    bach(data / "bach")
    mini_ddsm(data / "mini_ddsm")
    for name in ("camelyon_tiles", "bach_part_b"):
        masked(data / name)
    shutil.copytree(data / "breakhis", data / "breakhis_200x_224")
    shutil.copy(data / "camelyon_tiles" / f"{PHANTOMS[2]}.jpg", data / "one.jpg")


def filled_in(line: str, data: Path, cache: Path, images: Path | None) -> list[str]:
    """The words of a command with everything that a person would put in."""
    words = shlex.split(line)
    dataset = next((name for name in ("mini_ddsm", "bach") if name in words), "breakhis")
    after = {
        "--others": data, "--originals": data / "breakhis", "--folds-file": data / "breakhis", "--out": data / "out",
        "--images": images, "--csv": data / "out.csv", "--source": cache / "resnet50-npm.safetensors",
    }  # fmt: skip
    filled = []
    for before, word in zip(["", *words], words, strict=False):
        if word == "ROOT":
            word = str(data / dataset)
        elif word == "FILE" and "cases" in words:
            word = str(data / ("backup.zip" if {"backup", "restore"} & {*words} else "export.zip"))
        elif word == "NUMBER:SHA256":
            word = f"0:{'0' * 64}"  # where every log begins
        elif word in ("DIR", "OUT") or (word == "FILE" and before == "--source"):
            word = str(after.get(before, data))
        elif word.startswith("PATH") or word == "FILE":
            word = str(data / "one.jpg")
        elif word == "NAME":
            word = "breakhis"
        filled.append(word)
    first = {
        "dala": [sys.executable, "-m", "dala"],
        "python": [sys.executable],
        "torchrun": [sys.executable, "-m", "torch.distributed.run"],
    }[filled[0]]
    return [*first, *filled[1:]]


def place_of(line: str) -> int:
    return next(number for number, word in enumerate(ORDER) if word in line)


def copied(place: Path) -> None:
    """The repository's files, as they are now, without what git ignores."""
    told = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(told, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, default=None, metavar="DIR", help="work here and go on with what was done")
    parser.add_argument("--only", default="", metavar="WORDS", help="commands that hold these words")
    parser.add_argument("--images", type=Path, default=None, metavar="DIR", help="true patches for the load test")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return walk((options.keep or Path(folder)).resolve(), options.only, options.images)


def walk(work: Path, only: str, images: Path | None) -> int:
    repository, data, kept = work / "repository", work / "data", work / "walked.jsonl"
    if not (data / "one.jpg").exists():
        shutil.rmtree(work, ignore_errors=True)
        copied(repository)
        draw_everything(data)
    rows = [json.loads(row) for row in kept.read_text().splitlines()] if kept.exists() else []
    done = {row["command"] for row in rows if row["ended"] == "ran"}
    cache = Path(os.environ.get("DALA_CACHE", work / "cache"))
    surroundings = os.environ | {"DALA_CACHE": str(cache), "PYTHONPATH": str(repository)}
    surroundings |= {"DALA_CASES_FOLDER": str(work / "cases")}
    lines = sorted(
        {line for _, line in commands() if only in line and "walkthrough" not in line} - done,
        key=lambda line: (place_of(line), line),
    )
    for line in lines:
        if "--images" in line and images is None:
            print(f"left out: {line} (wants --images)", flush=True)
            continue
        words, start = filled_in(line, data, cache, images), time.monotonic()
        log = work / f"{len(rows):02d}.log"
        with log.open("wb") as output:
            status = subprocess.run(words, cwd=repository, env=surroundings, stdout=output, stderr=output).returncode
        said = log.read_text(errors="replace")
        ended = "ran" if status == 0 else "failed"
        if status == 1 and "Traceback" not in said and any(word in line for word in MAY_REFUSE):
            ended = "refused a part"
        row = {"command": line, "ended": ended, "seconds": round(time.monotonic() - start), "log": log.name}
        rows.append(row)
        with kept.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{ended:15s}{row['seconds']:5d} s  {line}", flush=True)
        if ended != "ran":
            print("\n".join("    " + text for text in said.splitlines()[-12:]), flush=True)
    bad = [row["command"] for row in {row["command"]: row for row in rows}.values() if row["ended"] == "failed"]
    print(f"{len(rows)} commands run, {len(bad)} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

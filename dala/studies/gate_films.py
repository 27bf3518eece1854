"""Does the mammography model turn away what is no film? Its statistics, and grey photographs and textures before them.

dala gate mini_ddsm --data ROOT
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError
from dala.stats.bootstrap import Interval
from dala.studies.blocks import (
    Block,
    Row,
    Text,
    interval_chart,
    numbers,
    plain_cell,
    point,
    points_table,
)
from dala.studies.mini_ddsm import PART
from dala.studies.options import add_runs
from dala.studies.record import IMAGES, Data, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import Progress, progress
from dala.words import figure

if TYPE_CHECKING:
    from dala.runtime.predict import Model

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

WEIGHTS = "mini_ddsm"
TRAINED, OTHERS = 400, 130  # films, one a case, of the scanners that the model learnt from and of the two others
ACCEPTED = 0.98  # share of the held-out films without a failed check that pass
AXES, FOLDS, CROPS = 16, 5, 6
KEPT_EVERY = 25
PHOTOGRAPHS = (
    "camera", "coins", "moon", "brick", "grass", "gravel", "clock", "cell", "page", "text", "horse", "checkerboard",
    "microaneurysms", "shepp_logan_phantom", "binary_blobs", "astronaut", "chelsea", "coffee", "rocket",
    "hubble_deep_field", "retina", "immunohistochemistry", "colorwheel", "logo",
)  # fmt: skip
FACES = 30


@dataclass(frozen=True, kw_only=True)
class Films(Record):
    """True films of one scanner: how many the checks of the pixels refuse, how many of the others the distance does,
    and the share of those others that passes."""

    letter: str
    images: int = field(metadata=IMAGES)
    by_check: int
    by_distance: int
    passed: Interval


@dataclass(frozen=True, kw_only=True)
class Foreign(Record):
    """Images that are no film: how many the checks let through, how many of these the distance does, the least distance
    among them, and by which check the others fail."""

    name: str
    about: str
    images: int = field(metadata=IMAGES)
    sources: int
    checks_alone: int
    answered: int
    nearest: float | None
    by_check: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class FilmGate(Result):
    """The limit of the distance, what it costs in films, and what it keeps out."""

    weights: str
    trunk: str
    enlarged: int
    data: Data
    axes: int
    limit: float
    median: float
    films: tuple[Films, ...]
    kinds: tuple[Foreign, ...]


# Images that are no film


def photographs() -> Iterator[tuple[str, Pixels]]:
    """The images of scikit-image in grey, each with its name. Raises DataError where scikit-image is missing."""
    try:
        from skimage import data
    except ImportError as error:
        raise DataError(
            "Measuring the gate needs scikit-image's photographs: pip install -r requirements-dev.txt."
        ) from error
    ship: Any = data
    for name in PHOTOGRAPHS:
        yield name, _grey(getattr(ship, name)())
    left, _, disparity = ship.stereo_motorcycle()
    yield "motorcycle", _grey(left)
    yield "disparity", _grey(np.nan_to_num(disparity / np.nanmax(disparity[np.isfinite(disparity)]), posinf=0))


def faces() -> Iterator[tuple[str, Pixels]]:
    """Grey faces of scikit-image, enlarged."""
    from skimage import data

    ship: Any = data
    for number, face in enumerate(ship.lfw_subset()[:FACES]):
        yield f"face{number}", np.asarray(cv2.resize(_grey(face), (250, 250), interpolation=cv2.INTER_CUBIC), np.uint8)


def textures() -> Iterator[tuple[str, Pixels]]:
    """Gradients, discs, waves and noise, 400 x 400: as smooth and grey as a film, and some as bright at one side."""
    y, x = np.mgrid[0:1:400j, 0:1:400j]
    far = np.hypot(x - 0.5, y - 0.5)
    random = np.random.default_rng(0)
    drawn: dict[str, Floats] = {
        "gradient_x": x,
        "gradient_y": y,
        "radial": 1 - far / 0.8,
        "disc": (far < 0.3) * 0.8,
        "halfdisc": (np.hypot(x, y - 0.5) < 0.4) * 0.8,
        "sine": 0.5 + 0.4 * np.sin(20 * x) * np.sin(15 * y),
        "stripes": 0.5 + 0.4 * np.sin(40 * x),
    }
    for sigma in (1, 3, 8, 20, 40):
        blurred = cv2.GaussianBlur(random.normal(size=(400, 400)), (0, 0), sigma)
        drawn[f"noise{sigma}"] = 0.5 + 0.18 * blurred / blurred.std()
    drawn["noise0"] = random.uniform(size=(400, 400))
    cloud = np.zeros((400, 400))
    for octave in range(1, 8):
        side = 2**octave
        layer = cv2.resize(random.normal(size=(side, side)), (400, 400), interpolation=cv2.INTER_CUBIC)
        cloud += np.asarray(layer, np.float64) / 2 ** (octave * 0.9)
    drawn["cloud"] = 0.5 + 0.18 * cloud / cloud.std()
    drawn["vignette"] = np.exp(-4 * far**2)
    drawn["ramp"] = np.clip(1 - 2 * x, 0, 1)
    drawn["rings"] = 0.5 + 0.4 * np.cos(60 * far)
    for name, values in drawn.items():
        yield name, _grey(values)


def crops(image: Pixels, count: int = CROPS) -> Iterator[Pixels]:
    """Square parts of an image, 30 to 90 % of its shorter side."""
    random = np.random.default_rng(1)
    height, width = image.shape[:2]
    for _ in range(count):
        side = int(min(height, width) * random.uniform(0.3, 0.9))
        top, left = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
        yield np.ascontiguousarray(image[top : top + side, left : left + side])


KINDS: dict[str, tuple[str, Callable[[], Iterator[tuple[str, Pixels]]], bool]] = {
    "photographs": ("26 images of scikit-image in grey, whole and in 6 crops each", photographs, True),
    "faces": (f"{FACES} grey faces of scikit-image", faces, False),
    "textures": ("17 gradients, discs, waves and noises, whole and in 6 crops each", textures, True),
}


def _grey(values: NDArray[Any]) -> Pixels:
    """Any image as grey RGB uint8; values from 0 to 1 where it holds fractions."""
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.dtype.kind == "f":
        values = (255 * np.clip(values, 0, 1)).astype(np.uint8)
    if values.ndim == 3:
        values = np.asarray(cv2.cvtColor(np.ascontiguousarray(values[..., :3]), cv2.COLOR_RGB2GRAY))
    return np.repeat(values[..., None], 3, axis=2).astype(np.uint8)


# The measurement


class Seen:
    """What the gate sees of images, by the path that serves users; features are kept in a file and never made twice."""

    def __init__(self, model: Model, kept: Path) -> None:
        self._model, self._kept = model, kept
        self._known: dict[str, NDArray[np.float32]] = {}
        if kept.is_file():
            with np.load(kept) as held:
                self._known = dict(zip(held["keys"].tolist(), held["pooled"], strict=True))

    def __call__(self, image: Pixels) -> tuple[str, NDArray[np.float32] | None]:
        """The check that an image fails ("" for none), and its pooled trunk features (1024,), None where it fails."""
        import torch

        from dala.gate.checks import film_reason
        from dala.preprocess.views import network_input, preprocess

        asked = self._model.card.input
        views = preprocess(image, asked)
        if (reason := film_reason(views.for_gate[0])) is not None:
            return reason.name, None
        key = hashlib.sha256(views.for_network.tobytes()).hexdigest()
        if key not in self._known:
            with torch.no_grad():
                trunk = self._model.runs_on.trunk(network_input(views.for_network, asked.upsampled))
            self._known[key] = trunk.mean((2, 3)).numpy()[0].astype(np.float32)
            if len(self._known) % KEPT_EVERY == 0:
                self.save()
        return "", self._known[key]

    def save(self) -> None:
        """Keep what is known for the next run."""
        from dala.files import replacing

        with replacing(self._kept) as partial:
            np.savez(partial, keys=np.array(list(self._known)), pooled=np.stack(list(self._known.values())))


def chosen(root: Path) -> list[tuple[str, Path]]:
    """Films to fit and to measure with, one a case, with their scanner's letter; DataError where there are too few."""
    from dala.data import mini_ddsm

    # The order of paths must not depend on where the tree lies.
    found = mini_ddsm.load(root, mini_ddsm.LETTERS, "status")
    files = sorted(record.path for record in found.records)
    letters = {record.path: record.letter for record in found.records}
    left = {True: TRAINED, False: OTHERS}
    cases: set[str] = set()
    films = []
    for at in np.random.default_rng(1).permutation(len(files)):
        path = files[at]
        trained = letters[path] in mini_ddsm.TRAINED_LETTERS
        if left[trained] and path.parent.name not in cases:
            left[trained] -= 1
            cases.add(path.parent.name)
            films.append((letters[path], path))
    if len(films) < 4 * AXES:
        raise DataError(f"{root} holds films of {len(films)} cases; the statistics need at least {4 * AXES}.")
    return films


def measure(
    root: Path, runs: Path, bars: Callable[[str], Progress] = lambda name: lambda done, total: None
) -> tuple[Any, Model, FilmGate]:
    """The statistics for the shipped mammography model, that model, and what the gate does with them.

    Films of a fold are scored by a Gaussian fitted on the others, everything else by the mean over the folds. Raises
    DataError for a missing data set.
    """
    from dala.data.pixels import read_rgb
    from dala.gate.familiarity import Familiarity, fit_gaussian, trunk_identity
    from dala.runtime.predict import load_model
    from dala.stats.agreement import share_over_groups

    films = chosen(root)
    model = load_model(WEIGHTS)
    trunk, enlarged = trunk_identity(model.net.trunk), model.card.input.upsampled
    made_of = hashlib.sha256(repr((trunk, enlarged, model.card.input)).encode()).hexdigest()[:8]
    look = Seen(model, runs / f"gate-films-{made_of}.npz")
    letters = np.array([letter for letter, _ in films])
    cases = np.array([path.parent.name for _, path in films])
    bar, looked = bars("films"), []
    for done, (_, path) in enumerate(films, start=1):
        looked.append(look(np.asarray(read_rgb(path))))
        bar(done, len(films))
    look.save()
    failed = np.array([name for name, _ in looked])
    pooled = np.stack([np.zeros(1024, np.float32) if one is None else one for _, one in looked])
    kept = np.flatnonzero(failed == "")
    scores = np.full(len(films), np.inf)
    gaussians = []
    for fold in range(FOLDS):
        others = np.delete(kept, np.s_[fold::FOLDS])
        gaussians.append(fit_gaussian(pooled[others], np.ones(len(others)), AXES))
        scores[kept[fold::FOLDS]] = gaussians[-1].distances(pooled[kept[fold::FOLDS]])
    finite = np.sort(scores[kept])
    limit = float(finite[int(np.ceil(ACCEPTED * len(finite))) - 1])

    rows = []
    for letter in sorted(set(letters)):
        here = kept[letters[kept] == letter]
        passed = scores[here] <= limit
        low, high = share_over_groups(passed, cases[here])
        rows.append(
            Films(
                letter=str(letter),
                images=int((letters == letter).sum()),
                by_check=int((letters == letter).sum()) - len(here),
                by_distance=int((~passed).sum()),
                passed=Interval(value=round(float(passed.mean()), 4), low=round(low, 4), high=round(high, 4)),
            )
        )
    kinds = [_foreign(name, look, gaussians, limit, bars(name)) for name in KINDS]
    look.save()
    familiarity = Familiarity(fit_gaussian(pooled[kept], np.ones(len(kept)), AXES), limit, finite)
    record = FilmGate(
        protocol=f"a Gaussian of pooled layer3 features ({AXES} axes) of {len(kept)} films without a failed check, one "
        f"a case, of all four scanners; {FOLDS} folds by case, each scored by a fit without it, all other images by "
        f"the mean over the folds. The limit is the distance at which {ACCEPTED:.0%} of these films pass. The images "
        "that are no film were in view when the number of axes and this share were chosen. 95 % intervals: bootstrap "
        "over cases",
        command=STUDY.command,
        weights=model.name,
        weights_sha256=str(model.card.fields["sha256"]),
        trunk=trunk,
        enlarged=enlarged,
        data=Data(
            name="Mini-DDSM", letters=tuple(sorted(set(letters.tolist()))), images=len(films), groups=len(set(cases))
        ),
        axes=AXES,
        limit=round(limit, 4),
        median=round(float(np.median(finite)), 4),
        films=tuple(rows),
        kinds=tuple(kinds),
    )
    return familiarity, model, record


def _foreign(name: str, look: Seen, gaussians: Sequence[Any], limit: float, bar: Progress) -> Foreign:
    about, images, cut = KINDS[name]
    items = [(source, part) for source, image in images() for part in (image, *(crops(image) if cut else ()))]
    checks: Counter[str] = Counter()
    distances = []
    for done, (_, pixels) in enumerate(items, start=1):
        failed, features = look(pixels)
        checks[failed] += 1
        if features is not None:
            distances.append(float(np.mean([one.distances(features[None])[0] for one in gaussians])))
        bar(done, len(items))
    return Foreign(
        name=name,
        about=about,
        images=len(items),
        sources=len({source for source, _ in items}),
        checks_alone=checks.pop("", 0),
        answered=sum(one <= limit for one in distances),
        nearest=round(min(distances), 3) if distances else None,
        by_check=dict(checks.most_common()),
    )


# The page


def summary(record: FilmGate) -> str:
    """What the gate of the mammography model keeps out and what it costs."""
    answered, before, images = (
        sum(getattr(kind, name) for kind in record.kinds) for name in ("answered", "checks_alone", "images")
    )
    kept = sum(row.images - row.by_check for row in record.films)
    lost = sum(row.by_distance for row in record.films)
    return (
        f"Of {images:,} grey photographs, faces and textures the mammography model answers {answered} ({before} by the "
        f"checks of the pixels alone), and of {kept:,} films without a failed check the distance refuses {lost}."
    )


def section(record: FilmGate) -> list[Block]:
    """Films that pass by scanner, and the images that are no film."""
    points = [point(f"scanner {row.letter}", row.passed) for row in record.films]
    films: list[Row] = [
        {
            "Scanner": row.letter,
            "Films": str(row.images),
            "Refused by a check": str(row.by_check),
            "Refused by distance": str(row.by_distance),
            "Passed, of those without a failed check": figure(row.passed, percent=True),
        }
        for row in record.films
    ]
    others: list[Row] = [
        {
            "Images": plain_cell(f"{kind.name}: {kind.about}"),
            "Passed the checks": f"{kind.checks_alone} of {kind.images}",
            "Answered": str(kind.answered),
            "Least distance": "none" if kind.nearest is None else f"{kind.nearest:.2f}",
            "By which check": plain_cell(", ".join(f"{name} {count}" for name, count in kind.by_check.items()))
            or "none",
        }
        for kind in record.kinds
    ]
    return [
        interval_chart(points, "Films that pass", "gate-films", percent=True),
        Text(summary(record)),
        Text(f"The limit of the distance is {record.limit:.2f}; the median film is at {record.median:.2f}."),
        numbers("The numbers of the chart", points_table(points, "Films", "Films that pass", percent=True)),
        numbers("Films by scanner", films),
        numbers("Images that are no film", others),
    ]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    add_runs(parser, "features, kept for the next run")
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE", help="the JSON of all figures")


def run(options: argparse.Namespace) -> int:
    from dala.gate.familiarity import SUFFIX, save_familiarity
    from dala.runtime.card import read_card

    familiarity, _, record = measure(options.data, options.runs, progress)
    STUDY.write(record, options.out)
    path = read_card(WEIGHTS)[1].with_suffix(SUFFIX)
    save_familiarity(path, familiarity, record.trunk, record.enlarged)
    for films in record.films:
        print(f"films of scanner {films.letter}  {figure(films.passed)} passed of {films.images - films.by_check}")
    for kind in record.kinds:
        print(f"{kind.name:12s} {kind.answered} of {kind.images} answered ({kind.checks_alone} by the checks alone)")
    print(f"{summary(record)}\nwritten to {options.out} and {path.name}")
    return 0


STUDY = Study(
    "gate_films",
    "gate_mini_ddsm.json",
    FilmGate,
    WEIGHTS,
    "dala gate mini_ddsm --data ROOT",
    part=PART,
    title="What it refuses",
    question="Does the mammography model turn away what is no film?",
    section=section,
    summary=summary,
    verb=Verb(
        "gate",
        "mini_ddsm",
        "fit and measure the gate of the mammography model, statistics beside its weights (10 minutes on two cores)",
        add_arguments,
        run,
    ),
)

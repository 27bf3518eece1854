"""A site: the model fitted to one's own laboratory, in a small file that is checked and laid over the shared model.

NAME.site.safetensors, which `dala adapt` writes, holds the tensors of a head, the mean of the site's images in the
trunk's features, and a JSON of what was measured; it belongs to the weights whose sha256 it names. Trunk, layer4 and
attention stay those of the weights, so that any number of sites and none share one network and its engine.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save_file

from dala.errors import SiteError
from dala.files import replacing
from dala.gate.familiarity import Familiarity, Gaussian
from dala.nets.dala_resnet50 import WIDTHS, DALAResNet50, DualActivatedHead
from dala.runtime.card import SCHEMA as CARD
from dala.runtime.card import Card
from dala.runtime.predict import InUse, Model

SUFFIX = ".site.safetensors"
LARGEST = 8 * 2**20  # bytes: a head in sixteen bits takes 3.8 MB
HEAD, MEAN, NOTES = "head.", "gate.mean", "site"
CHANNELS, TRUNK, CLASSES = sum(WIDTHS.values()), WIDTHS["layer3"], 2
MOST_LISTED = 100
NAME = re.compile(r"\w[\w .()&+'-]{0,39}")  # no sign that could hide, turn or break a line
RESERVED = ("unknown", "none")
SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("site.schema.json").read_text(encoding="utf-8"))

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Site:
    """A site file that was read and found whole: `facts` satisfy `site.schema.json`; `head` are the tensors of a
    `DualActivatedHead` by name; `mean` (1024,) of the trunk's pooled features over the site's images; `sha256` is the
    file's."""

    facts: dict[str, Any]
    head: Mapping[str, NDArray[np.floating]]
    mean: Floats
    sha256: str

    @property
    def name(self) -> str:
        return str(self.facts["name"])


def fit_name(name: str, known: Sequence[str] = ()) -> str:
    """The name of a site, if it may be one: SiteError for other signs than `NAME` has, and for a laboratory that the
    weights `known` already."""
    if NAME.fullmatch(name) is None or name != name.strip():
        raise SiteError(
            "The name of a site has 1 to 40 letters, digits, spaces and . ( ) & + ' - _, and begins with a letter or "
            "digit."
        )
    if name.casefold() in {one.casefold() for one in (*known, *RESERVED)}:
        raise SiteError(f"The name {name} stands for something else already; choose another one for the site.")
    return name


# The file


def save_site(path: Path, facts: dict[str, Any], head: Mapping[str, torch.Tensor], mean: Floats) -> Site:
    """Write a site file, whole or not at all; what was written is read back.

    Raises SiteError where what is given is no site, such as values that sixteen bits cannot hold.
    """
    tensors = {f"{HEAD}{key}": value.detach().cpu().numpy().astype(np.float16) for key, value in head.items()}
    tensors[MEAN] = np.asarray(mean, np.float32)
    with replacing(path) as partial:
        save_file(tensors, partial, {NOTES: json.dumps(facts, ensure_ascii=False, allow_nan=False)})
        site = load_site(partial, path.name)
    path.chmod(0o644)
    return site


def load_site(path: Path, called: str | None = None) -> Site:
    """Read and check a site file; nothing is unpickled. `called`: what the sentences call it, the file's name if None.

    Raises SiteError for a file that is missing, too large, damaged, of another kind, or holds values that are not
    finite.
    """
    shown = f"'{''.join(sign for sign in called or path.name if sign.isprintable())[:100]}'"
    try:
        if not path.is_file():
            raise SiteError(f"There is no site file {shown}; `dala adapt` writes one.")
        with path.open("rb") as file:
            blob = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise SiteError(f"The site file {shown} cannot be opened.") from error
    if len(blob) > LARGEST:
        raise SiteError(f"{shown} is larger than {LARGEST // 2**20} MB, and so no site file.")
    try:
        tensors = load_safetensors(blob)
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        facts = json.loads(header["__metadata__"][NOTES], parse_constant=_no_number)
        jsonschema.validate(facts, SCHEMA)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SiteError(f"{shown} is damaged or no site file; `dala adapt` writes one.") from error
    except jsonschema.ValidationError as error:
        place = "/".join(str(part) for part in error.absolute_path) or "top level"
        raise SiteError(f"{shown} is damaged or no site file: it is not valid at {place}.") from error
    fit_name(facts["name"])
    for key, shape in expected().items():
        if key not in tensors or tensors[key].shape != shape or tensors[key].dtype.kind != "f":
            raise SiteError(f"{shown} is damaged or no site file: {key} is missing or of another shape.")
        if not np.isfinite(tensors[key]).all():
            raise SiteError(f"{shown} holds values that are not finite in {key}.")
    if unknown := sorted(tensors.keys() - expected().keys()):
        raise SiteError(f"{shown} holds {len(unknown)} tensors that are no part of a site.")
    head = {key.removeprefix(HEAD): value for key, value in tensors.items() if key.startswith(HEAD)}
    return Site(facts, head, np.asarray(tensors[MEAN], np.float64), hashlib.sha256(blob).hexdigest())


def expected() -> dict[str, tuple[int, ...]]:
    """Every tensor of a site file with its shape."""
    with torch.device("meta"):
        head = DualActivatedHead(CHANNELS, CLASSES).state_dict()
    return {**{f"{HEAD}{key}": tuple(value.shape) for key, value in head.items()}, MEAN: (TRUNK,)}


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


# Where the files are


def folder_of_sites() -> Path:
    """The folder that `DALA_SITES` names, or `sites` in the working folder."""
    return Path(os.environ.get("DALA_SITES") or "sites")


def file_of(name: str) -> Path:
    """Where the site of this name is written and looked for."""
    return folder_of_sites() / (re.sub(r"[^\w.-]+", "-", name).strip("-.") + SUFFIX)


def listed(folder: Path | None = None) -> tuple[Path, ...]:
    """The site files of a folder, sorted; none where there is no such folder."""
    try:
        found = sorted((folder or folder_of_sites()).glob(f"*{SUFFIX}"))
    except OSError:
        return ()
    return tuple(path for path in found if path.is_file())[:MOST_LISTED]


def find_site(told: str) -> Site:
    """The site of a file's path or, in the folder of sites, of a site's name; SiteError where there is none."""
    path = Path(told)
    if told.endswith(".safetensors") or len(path.parts) != 1:
        return load_site(path)
    return load_site(file_of(told), told)


# The site laid over a model


def with_site(model: Model, site: Site) -> Model:
    """The model of a site: the head is the site's, everything else is shared with `model`, which is not changed.

    Its gate knows the site as one more laboratory. Its card tells the figures and limits of the site alone: those of
    other laboratories were measured with another head. Raises SiteError for a site of other weights.
    """
    facts, card = site.facts, model.card
    if facts["weights_sha256"] != card.fields["sha256"]:
        raise SiteError(
            f"The site {site.name} was fitted to other weights than {model.name} as it is here; fit it again with "
            "`dala adapt`."
        )
    fit_name(site.name, tuple(card.fields.get("laboratories", ())))
    with torch.device("meta"):
        head = DualActivatedHead(CHANNELS, CLASSES)
    tensors = {key: torch.from_numpy(value.astype(np.float32)) for key, value in site.head.items()}
    head.load_state_dict(tensors, strict=True, assign=True)
    net = with_head(model.net, head.eval().requires_grad_(False))
    return Model(net, _card(card, site), _gate(model.familiarity, site), model.runs_on, InUse(site.name, site.sha256))


def with_head(net: DALAResNet50, head: DualActivatedHead) -> DALAResNet50:
    """A network that shares everything with `net` but the head."""
    other = copy.copy(net)
    other._modules = {**net._modules, "head": head}
    return other


def _gate(familiarity: Familiarity | None, site: Site) -> Familiarity | None:
    gate = site.facts["gate"]
    return None if familiarity is None else with_laboratory(
        familiarity, site.name, site.mean, gate["limit"], gate["margin"]
    )  # fmt: skip


def with_laboratory(familiarity: Familiarity, name: str, mean: Floats, limit: float, margin: float) -> Familiarity:
    """The statistics with one more laboratory of this `mean` (C,); its images are familiar, too."""
    known = familiarity.laboratories
    if known is not None:
        known = replace(
            known,
            names=(*known.names, name),
            gaussian=_with_mean(known.gaussian, mean),
            limits=np.append(known.limits, limit),
            margins=np.append(known.margins, margin),
        )
    return replace(familiarity, gaussian=_with_mean(familiarity.gaussian, mean), laboratories=known)


def _with_mean(gaussian: Gaussian, mean: Floats) -> Gaussian:
    return replace(gaussian, mean=np.vstack([np.atleast_2d(gaussian.mean), mean]))


def _card(card: Card, site: Site) -> Card:
    facts, fields = site.facts, card.fields
    counts = {key: facts[key] for key in ("images", "groups", "benign", "malignant")}
    after = facts["after"]
    worth = {**counts, "scores": after["scores"], "answered": after["answered"], "protocol": facts["protocol"]}
    told = {
        **{key: value for key, value in fields.items() if key not in ("unknown_laboratory", "left_out")},
        "laboratories": {site.name: worth},
        "calibration": {
            **fields["calibration"],
            "laboratories": {site.name: facts["thresholds"]} if facts["thresholds"] else {},
            "decides": facts["decides"],
            "protocol": facts["protocol"],
            "guarantee": facts["guarantee"],
        },
    }
    try:
        jsonschema.validate(told, CARD)
    except jsonschema.ValidationError as error:
        raise SiteError(f"The site {site.name} does not fit the card of its weights.") from error
    return Card(told)

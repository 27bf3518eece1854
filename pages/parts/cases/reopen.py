"""A kept image opened anew: what was said of it then, from its record; and what the weights that serve now say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dala.cases.kept import KeptCase, KeptImage
from dala.cases.people import Person
from dala.errors import SiteError
from dala.explanation.gradcam import SignedMap
from dala.export.kept import maps_of
from dala.gate.checks import HISTOLOGY
from dala.intake.patch import Patch
from dala.intake.pixel_size import PixelSize
from dala.opinion import Opinion, display_image
from dala.preprocess.scale import ASSUMED
from dala.runtime.card import SERVED
from dala.runtime.predict import Model
from dala.sites import Site, folder_of_sites, listed
from pages.parts.people import store_or_stop
from pages.parts.second_opinion.modality import judged, patch_of
from pages.parts.second_opinion.scale import key_of
from pages.parts.second_opinion.viewer import Mapped, parse
from pages.parts.session import Settings
from pages.parts.sites import model_with, site_in

MODALITIES = {weights: modality for modality, weights in SERVED.items()}


@dataclass(frozen=True, eq=False)
class Then:
    """An image with its maps as they were when it was kept."""

    patch: Patch
    image: np.ndarray
    maps: dict[str, SignedMap]


@dataclass(frozen=True)
class Served:
    """The model that serves now for an image, and what is not as it was then; None: nothing."""

    model: Model
    modality: str
    changed: str | None


def patch_then(who: Person, case: KeptCase, image: KeptImage) -> Patch | None:
    """The kept image, with the pixel size that it was judged at; None where its bytes were not kept. Raises
    StoreError as the store does, IntakeError for bytes that can no longer be read."""
    if image.sha256 is None:
        return None
    data = store_or_stop().image(who, case.id, image.number)
    if data is None:
        return None
    patch = patch_of(data, image.name or f"image-{image.sha256[:12]}.png")
    record = image.opinion
    if record.get("um_per_pixel") is None:
        return patch
    size = record.get("pixel_size")
    known = None
    if size and size["source"] != ASSUMED:
        known = PixelSize(float(size["rows"]), float(size["columns"]), str(size["source"]), str(size["told"]))
    return replace(patch, pixel_size=known)


def then(patch: Patch, image: KeptImage) -> Then | None:
    """What the maps were; None where the record holds none."""
    maps = maps_of(image.opinion)
    return Then(patch, display_image(patch), maps) if maps else None


def served_for(image: KeptImage) -> Served:
    """The model that serves now for what the image was taken for then. WeightsError where it cannot be loaded."""
    record = image.opinion
    weights, kept_site = str(record.get("weights")), record.get("site")
    modality = MODALITIES.get(weights, HISTOLOGY)
    file, changed = None, None
    if isinstance(kept_site, dict):
        file = file_of_site(str(kept_site.get("sha256")))
        if file is None:
            changed = f"The site {kept_site.get('name')} that was in use then is not on this server"
    try:
        model = model_with(file, SERVED[modality])
    except SiteError as error:
        model, changed = model_with(None, SERVED[modality]), str(error).removesuffix(".")
    fingerprint = str(model.card.fields["sha256"])
    if fingerprint != record.get("weights_sha256"):
        changed = (
            f"Then the weights {weights} ({str(record.get('weights_sha256'))[:12]}) served, now it is {model.name} "
            f"({fingerprint[:12]})"
        )
    return Served(model, modality, changed)


def file_of_site(sha256: str) -> str | None:
    """The file of the site with that digest in this server's folder."""
    for path in listed():
        found = site_in(folder_of_sites() / path.name)
        if isinstance(found, Site) and found.sha256 == sha256:
            return path.name
    return None


def opinion_now(patch: Patch, served: Served) -> Opinion:
    """What the model that serves now says of the image, at the pixel size of then."""
    site = "" if served.model.site is None else served.model.site.sha256
    return judged(patch.sha256, patch.name, served.modality, key_of(patch), site, patch, served.model)


def settings_then(image: KeptImage, mapped: Mapped) -> Settings | None:
    """How the maps were looked at; None where the record of it does not fit these maps."""
    known: Mapping[str, Any] = image.settings
    return parse({key: known[key] for key in Settings.__dataclass_fields__ if key in known}, mapped)

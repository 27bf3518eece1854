"""What slides are, before anybody scans them: format, size, pixel size, tissue, fields, and the time of a scan."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from dala.errors import IntakeError, SlideError
from dala.intake.patch import Patch
from dala.intake.pixel_size import FILE, GivenSize, PixelSize
from dala.runtime.predict import Model
from dala.slides.folder import Listed
from dala.slides.judge import BATCH, Judge
from dala.slides.plan import plan_of
from dala.slides.reader import FIELD_UM, open_slide
from dala.slides.tissue import find_tissue


@dataclass(frozen=True)
class About:
    """One slide: what could be said of it, and the sentence why no more; `um` is (rows, columns), `um_source` "file" or
    "user", `notes` what to know of its pixels, `seconds` what a scan would take where that was asked."""

    name: str
    format: str | None = None
    width: int | None = None
    height: int | None = None
    levels: int | None = None
    um: tuple[float, float] | None = None
    um_source: str | None = None
    tissue_mm2: float | None = None
    fields: int | None = None
    seconds: float | None = None
    reason: str | None = None
    sentence: str | None = None
    notes: tuple[str, ...] = ()


def about(one: Listed, um: GivenSize | None = None) -> About:
    """Open a slide, find its tissue, plan its fields; whatever is wrong is a sentence."""
    known: dict[str, object] = {}
    try:
        with open_slide(one.path, um) as slide:
            known |= {"format": slide.format, "width": slide.size[0], "height": slide.size[1]}
            flat = ("It has no pyramid: the first look at all of it takes long.",) if slide.flat else ()
            known |= {"levels": len(slide.levels), "notes": (*slide.notes, *flat)}
            if slide.um is not None:
                known |= {"um": (slide.um.rows, slide.um.columns), "um_source": slide.um.source}
            tissue = find_tissue(slide)
            known["tissue_mm2"] = None if tissue.mm2 is None else round(tissue.mm2, 3)
            known["fields"] = len(plan_of(slide, tissue).spots)
    except IntakeError as error:
        known |= {"reason": error.name if isinstance(error, SlideError) else "refused", "sentence": str(error)}
    return About(one.name, **known)  # type: ignore[arg-type]


def seconds_per_field(model: Model) -> float:
    """How long the network takes for a field on this machine at this moment, as many batches at once as in a scan: the
    shorter of two times."""
    judge = Judge(model)
    um = model.card.input.um_per_pixel
    assert um is not None
    wide, high = (round(side / um) for side in FIELD_UM)
    field = Patch(np.zeros((high, wide, 3), np.uint8), "", "", "array", (), PixelSize(um, um, FILE))
    batches = [[judge.seen(field)] * BATCH] * model.runs_on.streams
    times = []
    with ThreadPoolExecutor(len(batches)) as pool:
        for _ in range(3):  # the first one compiles
            start = time.perf_counter()
            looked = sum(map(len, pool.map(judge.look, batches)))
            times.append((time.perf_counter() - start) / looked)
    return min(times[1:])

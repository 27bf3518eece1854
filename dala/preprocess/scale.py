"""At how many micrometres per pixel is an image judged: what is known of it, or what is assumed and must be checked."""

from __future__ import annotations

from dataclasses import dataclass

from dala.intake.patch import Patch

ASSUMED = "assumed"
# 0.35 um/px and its 0.7 and 1.4 times: the middle one, and 0.25 and 0.5, of the two usual objectives.
ASSUMED_UM, FACTORS = 0.35, (0.7, 1.4)
LEAST_UM = 120.0  # the longer side of an image is assumed to show at least so much: ten nuclei and their surroundings


@dataclass(frozen=True)
class Scale:
    """Distance of an image's (rows, columns) in micrometres, and who says so: the `source` is "user", "file", "name" or
    "assumed"; `told` is that in a word or two, as in `dala.intake.pixel_size.PixelSize`."""

    um_per_pixel: tuple[float, float]
    source: str
    told: str = ""

    @property
    def known(self) -> bool:
        return self.source != ASSUMED

    @property
    def whence(self) -> str:
        """Where it comes from: "given by the user", "OME-XML", "BreakHis 200X", "assumed"."""
        return {"user": "given by the user", ASSUMED: ASSUMED}.get(self.source, self.told or f"by the {self.source}")

    @property
    def in_words(self) -> str:
        """Such as "0.35 um per pixel"; rows and columns where they differ."""
        rows, columns = (f"{side:.3g}" for side in self.um_per_pixel)
        return f"{columns} um per pixel" if rows == columns else f"{columns} x {rows} um per pixel"

    def times(self, factor: float) -> Scale:
        """The same image, so many times coarser."""
        rows, columns = self.um_per_pixel
        return Scale((factor * rows, factor * columns), self.source, self.told)


def scale_of(patch: Patch) -> Scale:
    """What the patch knows, or else the assumed scale: `ASSUMED_UM`, more where a small image would show too little."""
    size = patch.pixel_size
    if size is not None and size.microscopic:
        return Scale((size.rows, size.columns), size.source, size.told)
    um = max(ASSUMED_UM, LEAST_UM / max(patch.height, patch.width))
    return Scale((um, um), ASSUMED)

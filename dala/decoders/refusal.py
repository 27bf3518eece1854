"""Why a file is not taken, and the bounds that it must keep to while it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn

Kind = Literal["empty", "large", "small", "unsupported", "damaged"]

# The greediest decoder, WebP, holds 16 bytes a pixel for a moment: 0.8 GB here.
MAXIMUM_PIXELS = 48_000_000
MAXIMUM_BYTES = 200 * 2**20  # of one image; the pages let less through
MINIMUM_SIDE = 32  # one cell of the 32-fold reduced feature grid
SLIDE = (
    "open it on the page Slides, scan it with `dala scan`, or export the region as PNG or TIFF, at 20x about 500 x 330 "
    "um or less"
)


class Refused(Exception):
    """A file that is not taken: the kind of refusal, and the rest of a sentence that begins with the file's name."""

    def __init__(self, kind: Kind, why: str) -> None:
        super().__init__(why)
        self.kind, self.why = kind, why


class Large(Exception):
    """An acceptable image that needs more than the bounds of a small one: to be read again with larger ones."""


@dataclass(frozen=True)
class Bounds:
    """At most `most` pixels are accepted, at least `least` on each side; above `at_once` pixels `Large` is raised."""

    most: int = MAXIMUM_PIXELS
    least: int = MINIMUM_SIDE
    at_once: int = MAXIMUM_PIXELS

    def check(self, width: int, height: int) -> None:
        """To be called with the size by the header, before anything is allocated for it."""
        if width * height > self.most:
            raise Refused(
                "large", f"is {width} x {height} pixels; at most {self.most // 1_000_000} megapixels are accepted."
            )
        if min(width, height) < self.least:
            raise Refused(
                "small",
                f"is {width} x {height} pixels; at least {self.least} x {self.least} are needed to see anything.",
            )
        if width * height > self.at_once:
            raise Large


def damaged(why: str) -> NoReturn:
    raise Refused("damaged", why)


def unsupported(why: str) -> NoReturn:
    raise Refused("unsupported", why)

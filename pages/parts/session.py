"""What a session keeps between two runs of a page: one typed object; and the keys of widgets that others speak of.

Streamlit keeps the values of widgets itself, under their keys, and only as long as they are on the page. Everything
else is here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dala.explanation.render import COLOUR_MAPS
from pages.parts.cases.address import Asked

if TYPE_CHECKING:
    from dala.batch import Run
    from dala.cases.deck_records import MadeDeck
    from dala.cases.people import Claims
    from dala.export.report import FirstRead
    from dala.intake.pixel_size import PixelSize
    from dala.opinion import Opinion
    from dala.teaching.cases import Case
    from dala.teaching.reading import Read

KEY = "session"
MOST_WORDS = 200  # of one visit

# Keys of widgets that are set or read elsewhere than where they stand. The addresses of the pages hold the second line.
EXAMPLE, BATCH_FILTER, VIEWER = "example", "batch-filter", "viewer"
PLAIN, READ_FIRST = "plain", "read-first"


def own_read_key(opinion: Opinion) -> str:
    return f"own-read-{opinion.patch.sha256[:12]}"


@dataclass(frozen=True)
class Handed:
    """An image's file that the first page shows, and where it comes from, in words for the user."""

    name: str
    data: bytes
    origin: str = "Your image"


@dataclass(frozen=True)
class ChosenSize:
    """What a user has said of an image's pixels: the choice, as the control names it, and the size; None: unknown."""

    choice: str
    size: PixelSize | None


@dataclass(frozen=True)
class Settings:
    """What a user has set for an image: target, rule and its parameter, opacity 0.1..1, colours and their scale.

    limit: the raw value of the last colour of a fixed scale, None until one was first asked for.
    """

    target: str
    rule: str
    parameter: float
    opacity: float = 0.5
    colour_map: str = next(iter(COLOUR_MAPS))
    fixed: bool = False
    limit: float | None = None


@dataclass(frozen=True)
class Start:
    """Where the viewer was started: the number that its answers carry, the image, and the settings at that time."""

    number: str
    image: str
    settings: Settings


@dataclass
class Viewing:
    """How the maps are looked at: the image and its settings, the viewer's start, and what it said when it failed."""

    image: str | None = None
    settings: Settings | None = None
    start: Start | None = None
    failure: str | None = None


@dataclass
class Dropped:
    """Files that were dropped on the first page for the batch; `fresh` until the batch has been opened with them."""

    files: list[UploadedFile]
    fresh: bool = True


@dataclass
class Round:
    """One pass through a deck of cases: what has been read, and whether the present case is revealed."""

    number: str
    deck: list[Case]
    seed: int = 0
    reads: list[Read] = field(default_factory=list)
    revealed: bool = False

    @property
    def case(self) -> Case | None:
        """The present case, None after the last one."""
        place = len(self.reads) - self.revealed
        return self.deck[place] if place < len(self.deck) else None


@dataclass
class Form:
    """The form by which a case is changed: its id, what tells this form from later ones, the values that it was filled
    with, and what its user knows that the case now says."""

    id: str
    number: str
    filled: dict[str, Any]
    known: dict[str, Any]


@dataclass
class Session:
    """Everything that one person's visit has come to.

    example: the key of the one that is shown; example_turn: how often another thing than its own box has changed it.
    told: what was wrong with the files that were dropped last. taken: the files that were dropped on the first
    page, by Streamlit's number. effect, report: what the effect curve and the PDF were last asked for. overlays: the
    ZIP of the batch. batch_filter, batch_order, batch_place: how its table is looked at; left_out: what was no image.
    usual_size: the choice for the batch's images that tell no pixel size; size_table: a CSV of the sizes of others.
    lesson_image: what the lessons are about. site: the file of the site that is in use; run_site: that of the
    batch, as it was started. pixel_sizes: what was chosen for an image, by its sha256. spoken_of: the example and the
    file that the page was about when it ran last. looked_at: the opinion and
    the number of the field of it that is looked at. slide: the name of the one that is open; slide_um: what was told
    of the pixels of one; field_picked: (column, row) of the field that is asked about, by a slide's path; flight: the
    region to fly to, its number and its box; scan_ran: whether a scan was under way; scan_shown: whether its map may be
    seen.
    made_deck: the deck that was just made; deck_left_out: why cases are not in it; deck_seed: what is offered for the
    next; deck_readers: by a deck's id, the secret by which this reader is known there.
    token: what the address calls this visit, once there is something to come back to.
    kept: the case that an image was kept as. case_opened: the case that is open, and which of its images; cases_listed:
    what was last listed of the cases; cases_opened: how many were opened from the list; recent_cases: titles of those
    that further images may be added to; case_form: that of the case that is open; case_to_delete: the one about
    which it is asked whether that is meant. met: what the log-in says, once tokens know it. words: what was
    written and chosen beside images, by the key of the widget, the last ones.
    """

    handed: Handed | None = None
    example: str | None = None
    example_turn: int = 0
    told: str | None = None
    taken: set[str] = field(default_factory=set)
    dropped: Dropped | None = None
    viewing: Viewing = field(default_factory=Viewing)
    spoken_of: object = None
    effect: tuple[str, str, bool] | None = None
    report: str | None = None
    run: Run | None = None
    batch_filter: str | None = None
    batch_order: str | None = None
    batch_place: int | None = None
    left_out: list[str] = field(default_factory=list)
    usual_size: str | None = None
    size_table: str | None = None
    overlays: bytes | None = None
    round: Round | None = None
    lesson_image: str | None = None
    site: str | None = None
    run_site: str | None = None
    pixel_sizes: dict[str, ChosenSize] = field(default_factory=dict)
    looked_at: tuple[str, int] | None = None
    slide: str | None = None
    slide_um: dict[str, float] = field(default_factory=dict)
    field_picked: dict[str, tuple[int, int]] = field(default_factory=dict)
    flight: tuple[str, tuple[int, int, int, int]] | None = None
    scan_ran: bool = False
    scan_shown: bool = False
    made_deck: MadeDeck | None = None
    deck_left_out: list[str] = field(default_factory=list)
    deck_seed: int | None = None
    deck_readers: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    kept: dict[str, str] = field(default_factory=dict)
    case_opened: str | None = None
    cases_listed: Asked = field(default_factory=Asked)
    cases_opened: int = 0
    recent_cases: dict[str, str] = field(default_factory=dict)
    case_form: Form | None = None
    case_to_delete: str = ""
    met: Claims | None = None
    words: dict[str, Any] = field(default_factory=dict)
    _first_reads: dict[str, FirstRead] = field(default_factory=dict)
    _answers_seen: set[str] = field(default_factory=set)

    def first_read(self, sha256: str) -> FirstRead | None:
        """What was recorded for this image before its answer was shown, if anything."""
        return self._first_reads.get(sha256)

    def record_first_read(self, sha256: str, read: FirstRead) -> None:
        """The first stays: it cannot be rewritten, and after the answer there is none."""
        if not self.answer_seen(sha256):
            self._first_reads.setdefault(sha256, read)

    def answer_seen(self, sha256: str) -> bool:
        return sha256 in self._answers_seen

    def note_answer_seen(self, sha256: str) -> None:
        """From now on a read of this image is no longer the first."""
        self._answers_seen.add(sha256)


def lasting(key: str) -> str:
    """The key of a widget whose value is there again when its page is opened anew: Streamlit forgets the value of what
    is not on the page."""
    words = session().words
    if key in st.session_state:
        words.pop(key, None)  # the last one is that which was on a page last
        words[key] = st.session_state[key]
        for oldest in list(words)[:-MOST_WORDS]:
            del words[oldest]
    elif key in words:
        st.session_state[key] = words[key]
    return key


def session() -> Session:
    """The session of whoever runs this script."""
    if KEY not in st.session_state:
        st.session_state[KEY] = Session()
    found: Session = st.session_state[KEY]
    return found

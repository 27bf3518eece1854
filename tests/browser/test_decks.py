"""A class at a deck in real browsers: a teacher makes it, two students read it, results come live and are revealed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, Page, expect

from dala.cases.deck_records import MadeDeck, NewItem
from dala.cases.decks import Decks
from dala.cases.people import Person, Role
from dala.cases.tokens import Tokens
from tests.browser.test_login import Provider, page_of, provider, settings  # noqa: F401  a fixture
from tests.helpers.access import BOTH, violations
from tests.helpers.browser import (
    PAGE_MS,
    Served,
    downloaded,
    free_port,
    fresh_page,
    go_to,
    serving,
    settle,
    small_patch,
)
from tests.helpers.cases import sqlite_store


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app on an empty store of its own."""
    folder = tmp_path_factory.mktemp("decks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DALA_CASES_FOLDER", str(folder / "cases"))
        for name in ("DALA_DATABASE", "DALA_SAMPLES", "DALA_CASES_IMAGES"):
            patch.delenv(name, raising=False)
        with serving(free_port(), folder / "streamlit.log", warm=False) as found:
            yield found


def made(page: Page, served: Served, axe: str) -> tuple[str, str]:
    """A deck of three drawings: the address for the class and the teacher's own."""
    page.goto(f"{served.url}/teaching?part=With+a+class")
    page.get_by_label("Title", exact=True).fill("Monday", timeout=PAGE_MS)
    page.get_by_label("How many", exact=True).fill("3")
    page.keyboard.press("Enter")
    assert violations(page, axe, BOTH) == []
    page.get_by_role("button", name="Make the deck").click()
    expect(page.get_by_text("The deck is made.")).to_be_visible(timeout=PAGE_MS)
    expect(page.get_by_test_id("stCode")).to_have_count(2)
    students, own = page.get_by_test_id("stCode").all_inner_texts()
    return students.strip(), own.strip()


def begun(page: Page, name: str) -> None:
    page.get_by_label("Your name or number").fill(name, timeout=PAGE_MS)
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_text("Case 1 of 3")).to_be_visible(timeout=PAGE_MS)


def outlined(page: Page, left: float, top: float, right: float, bottom: float) -> None:
    """Draw with the mouse around a part of the image, in shares of it."""
    canvas = page.locator(".marker canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 0.02)]
    for number, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if number == 0:
            page.mouse.down()
    page.mouse.up()
    expect(page.get_by_text("An area is marked.")).to_be_visible()


def answered(page: Page, number: int, call: str, mark: tuple[float, float, float, float] | None = None) -> None:
    expect(page.get_by_text(f"Case {number} of 3")).to_be_visible(timeout=PAGE_MS)
    settle(page)
    if mark is not None:
        outlined(page, *mark)
        settle(page)
    page.get_by_role("radio", name=call).click()
    settle(page)
    page.get_by_role("button", name="Commit").click()


def test_a_class_reads_a_deck_and_its_teacher_reveals_it(
    chromium: Browser,
    served: Served,
    axe: str,
) -> None:
    """That axe finds nothing is looked at on the same pages."""
    decks = Decks(sqlite_store(served.log.parent / "cases"))
    with fresh_page(chromium) as teacher, fresh_page(chromium) as anna:
        address, own = made(teacher, served, axe)
        assert parse_qs(urlsplit(address).query).keys() == {"id"} and parse_qs(urlsplit(own).query).keys() == {
            "id",
            "key",
        }
        teacher.goto(own)
        expect(teacher.get_by_role("heading", name="0 readers, 3 cases")).to_be_visible(timeout=PAGE_MS)

        anna.goto(address)
        anna.get_by_label("Your name or number").wait_for(timeout=PAGE_MS)
        assert violations(anna, axe, BOTH) == []
        begun(anna, "Anna")
        expect(anna.locator(".marker canvas")).to_have_attribute("aria-label", re.compile("Case 1"), timeout=PAGE_MS)
        assert violations(anna, axe, BOTH) == []
        # What the teacher knows the cases by, their answers and the model are nowhere on a student's page.
        assert not re.search(r"Drawing|It is (benign|malignant)|The model", anna.locator("body").inner_text())
        answered(anna, 1, "Malignant", (0.2, 0.2, 0.6, 0.6))
        # Another student, whose page is opened at the end only.
        deck = parse_qs(urlsplit(address).query)["id"][0]
        ben = decks.join(None, deck, "4711")
        decks.answer(None, deck, ben, 1, "benign", ((0.4, 0.4), (0.8, 0.4), (0.8, 0.8), (0.4, 0.8)))

        # Live, without a reload of the teacher's page.
        expect(teacher.get_by_role("heading", name="2 readers, 3 cases")).to_be_visible()
        expect(teacher.get_by_text("● Benign 1, ▲ Malignant 1, ◆ Not sure 0")).to_be_visible()
        expect(teacher.get_by_text("2 marks over one another; where it is brightest, 2")).to_be_visible()
        teacher.get_by_role("button", name="Reveal this case").click()
        expect(teacher.get_by_text("Revealed: students see all of this.")).to_be_visible()

        # A reload goes on where the student was; the first call stays.
        anna.reload()
        answered(anna, 2, "Not sure")
        answered(anna, 3, "Malignant")
        expect(anna.get_by_text(re.compile(r"Of 1 revealed case you were right in [01] of 1"))).to_be_visible(
            timeout=PAGE_MS
        )
        expect(anna.get_by_role("heading", name=re.compile("It is (benign|malignant)"))).to_be_visible()
        expect(anna.get_by_text("● Benign 1, ▲ Malignant 1, ◆ Not sure 0; you said ▲ Malignant.")).to_be_visible()
        assert "4711" not in anna.locator("[data-testid=stMain]").inner_text()

        # The rest is revealed, and comes to who is waiting by itself.
        teacher.get_by_role("button", name="Reveal all cases").click()
        expect(anna.get_by_text(re.compile(r"Of 3 revealed cases .*not sure: 1"))).to_be_visible()
        settle(teacher)
        rows = list(csv.DictReader(io.StringIO(downloaded(teacher, "All answers (CSV)").decode())))
        assert [(row["case"], row["name"], row["call"]) for row in rows] == [
            ("1", "Anna", "malignant"),
            ("1", "4711", "benign"),
            ("2", "Anna", "not sure"),
            ("3", "Anna", "malignant"),
        ]
        # Ben had not answered what has been revealed meanwhile, and cannot any more.
        anna.set_viewport_size({"width": 480, "height": 900})
        anna.goto(f"{address}&reader={ben}")
        expect(anna.get_by_text(re.compile("Of 3 revealed cases"))).to_be_visible(timeout=PAGE_MS)
        expect(anna.get_by_role("button", name="Commit")).to_have_count(0)
        expect(anna.get_by_text("you had not answered")).to_be_visible()

        # axe finds nothing at the last states either, nor in the document of the API.
        assert violations(anna, axe, BOTH) == []
        assert violations(teacher, axe, BOTH) == []
        teacher.goto(f"{served.url}/api/v1/docs")
        teacher.evaluate(axe)
        for theme in BOTH:
            teacher.emulate_media(color_scheme=theme)
            assert teacher.evaluate("async () => (await axe.run(document)).violations.map(one => one.id)") == []


def test_a_deck_is_made_of_ones_own_files(chromium: Browser, served: Served, tmp_path: Path) -> None:
    """What a name tells is filled in, what cannot be read is named, and no other data of a file is kept."""
    names = ("SOB_M_DC-14-2523-200-001.png", "SOB_B_A-14-22549AB-200-002.png", "unknown.png", "letter.png")
    for name in names[:3]:
        comment = PngInfo()
        comment.add_text("Patient", "Nebukadnezar")
        Image.open(io.BytesIO(small_patch())).save(tmp_path / name, pnginfo=comment)
    (tmp_path / names[3]).write_bytes(b"This is a letter and no image.")
    with fresh_page(chromium) as page:
        page.goto(f"{served.url}/teaching?part=With+a+class")
        page.get_by_role("radio", name="Your own files").click(timeout=PAGE_MS)
        page.locator("input[type=file]").set_input_files([tmp_path / name for name in names])
        expect(page.get_by_role("button", name="Make the deck")).to_be_visible(timeout=PAGE_MS)
        settle(page)
        page.get_by_role("button", name="Make the deck").click()
        expect(page.get_by_text("The deck is made.")).to_be_visible(timeout=PAGE_MS)
        expect(page.get_by_text(re.compile("letter.png is left out"))).to_be_visible()
        expect(page.get_by_test_id("stCode")).to_have_count(2)
        address = page.get_by_test_id("stCode").last.inner_text().strip()
    query = parse_qs(urlsplit(address).query)
    folder = served.log.parent / "cases"
    deck = Decks(sqlite_store(folder)).led(None, query["id"][0], query["key"][0])
    truths = {item.truth.name: (item.truth.diagnosis, item.truth.subtype) for item in deck.items if item.truth}
    assert truths == {
        names[0]: ("malignant", "ductal carcinoma"),
        names[1]: ("benign", "adenosis"),
        names[2]: (None, ""),
    }
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert b"Nebukadnezar" not in path.read_bytes()


def deck_of(folder: Path, teacher: Person) -> tuple[Decks, MadeDeck]:
    """A deck of two drawings, made beside the served app in its own store."""
    decks = Decks(sqlite_store(folder))
    items = [
        NewItem(small_patch(name), name, answer, "as drawn", "Look at the edge.", {"status": "outside"})
        for name, answer in (("solid_sheets", "malignant"), ("regular_ducts", "benign"))
    ]
    return decks, decks.make(teacher, "Tuesday", 1, items, anonymous=True)


def test_a_deck_is_open_without_log_in_and_nothing_else_is(
    chromium: Browser,
    provider: Provider,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "cases"))
    monkeypatch.setenv("DALA_API", "open")
    ada = Person(f"{provider.issuer}|1", "Dr. Ada Example", Role.TEACHER)
    decks, made = deck_of(tmp_path / "cases", ada)
    port = free_port()
    with page_of(chromium, tmp_path, port, **settings(port, provider)) as page:
        start = f"http://localhost:{port}"
        address = f"{start}/deck?id={made.id}"
        expect(page.get_by_text("Please log in to use this tool.")).to_be_visible(timeout=PAGE_MS)
        page.goto(address)
        page.get_by_label("Your name or number").fill("Ben", timeout=PAGE_MS)
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_text("Case 1 of 2")).to_be_visible(timeout=PAGE_MS)
        # From there no way leads further in.
        go_to(page, "Teaching")
        expect(page.get_by_text("Please log in to use this tool.")).to_be_visible(timeout=PAGE_MS)
        for path in (f"/deck?id={'x' * 22}", f"/teaching?id={made.id}"):
            page.goto(start + path)
            expect(page.get_by_text("Please log in to use this tool.")).to_be_visible(timeout=PAGE_MS)
        # Not even where the API is open to the server's own machine, for here people log in; a token opens it.
        assert httpx.get(f"{start}/api/v1/cases").status_code == 401
        secret = Tokens(decks.database).create(ada).secret
        found = httpx.get(f"{start}/api/v1/cases", headers={"Authorization": f"Bearer {secret}"})
        assert (found.status_code, found.json()["total"]) == (200, 0)
        # Without the teacher's leave it needs a log-in.
        decks.change(ada, made.id, "", anonymous=False)
        page.goto(address)
        expect(page.get_by_text("Please log in to use this tool.")).to_be_visible(timeout=PAGE_MS)

        # Whose deck it is leads it without a key; being no teacher here, Ada makes no other one.
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_text("Logged in as")).to_be_visible(timeout=PAGE_MS)
        page.goto(address)
        expect(page.get_by_role("heading", name="1 reader, 2 cases")).to_be_visible(timeout=PAGE_MS)
        page.goto(f"{start}/teaching?part=With+a+class")
        expect(page.get_by_text("Only a teacher or an administrator can make a deck.")).to_be_visible(timeout=PAGE_MS)
        expect(page.get_by_role("button", name="Make the deck")).to_have_count(0)

"""The page of slides without a browser: tokens, tiles, what it says of a folder and a slide, scans, the camera."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from dala.errors import SlideError
from dala.slides.folder import Listed
from dala.slides.grid import Grid
from dala.slides.reader import open_slide
from dala.slides.rows import ROWS, Row, line
from dala.slides.scan import Scan
from dala.slides.sources import CONVERTER
from pages.parts.component import FOLDER, component_key
from pages.parts.shared import plain
from pages.parts.slides import catalogue
from pages.parts.slides.catalogue import BETWEEN, Catalogue
from pages.parts.slides.choice import with_command
from pages.parts.slides.scan import scannable
from pages.parts.slides.scanning import Scans, State
from pages.parts.slides.shelf import Shelf, address_of, tile_route
from pages.parts.slides.walk import field_of
from tests.helpers import slides
from tests.helpers.scans import quick_model

PAGE = Path(__file__).resolve().parents[2] / "pages" / "slides.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides of 1,024 x 768 px, of which one tells no pixel size."""
    place = tmp_path_factory.mktemp("slides")
    levels = slides.pyramid(slides.drawn(1024, 768), 2)
    slides.aperio(place / "one.svs", levels)
    slides.generic(place / "untold.tif", levels, um=None)
    return place


def test_a_tile_is_that_of_the_slide_below_any_base_path(folder: Path) -> None:
    shelf = Shelf(lambda session: True)
    token, slide = shelf.open(folder / "one.svs", None, "a", {})
    for base in ("", "tools/dala"):
        client = TestClient(Starlette(routes=[tile_route(base, lambda: shelf)]))
        answer = client.get(address_of(token, base) + "1/0_1.jpg")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.headers["cache-control"].startswith("private")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
        found = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
        with open_slide(folder / "one.svs") as same:
            wanted = same.read_tile(1, 0, 1)
        assert found.shape == wanted.shape and np.abs(found - wanted).mean() < 3
        for wrong in ("1/9_9.jpg", "9/0_0.jpg", "1/-1_0.jpg", "1/a_0.jpg", "1/0_0.png", "../one.svs"):
            assert client.get(address_of(token, base) + wrong).status_code == 404
        assert client.get(address_of("x" * 32, base) + "0/0_0.jpg").status_code == 404
    slide.close()


def test_a_slide_whose_first_look_takes_long_keeps_no_other_waiting(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(lambda session: True)
    (slow, slide), (quick, _) = (shelf.open(folder / "one.svs", None, one, {}) for one in "ab")
    going = threading.Event()
    monkeypatch.setattr(type(slide), "slow", property(lambda self: self is slide))
    read = slide.read_tile

    def waiting(*place: int) -> object:
        assert going.wait(30)
        return read(*place)

    monkeypatch.setattr(slide, "read_tile", waiting)
    client = TestClient(Starlette(routes=[tile_route("", lambda: shelf)]))
    with client, ThreadPoolExecutor(8) as people:
        held = [people.submit(client.get, address_of(slow, "") + "0/0_0.jpg") for _ in range(6)]
        assert client.get(address_of(quick, "") + "0/0_0.jpg").status_code == 200
        assert not any(one.done() for one in held)
        going.set()
        assert {one.result().status_code for one in held} == {200}


def test_a_token_belongs_to_a_session_and_to_who_is_logged_in(folder: Path) -> None:
    living = {"a", "b"}
    shelf = Shelf(lambda session: session in living)
    user = {"_streamlit_user": "A", "theme": "dark"}
    token, slide = shelf.open(folder / "one.svs", None, "a", user)
    assert len(token) >= 32
    assert shelf.open(folder / "one.svs", None, "a", user) == (token, slide), "a rerun of the page opens nothing"
    other, _ = shelf.open(folder / "one.svs", None, "b", {})
    assert other != token
    assert shelf.find(token, user | {"theme": "light"}) is slide
    assert shelf.find(token, {}) is shelf.find(token, {"_streamlit_user": "B"}) is None
    # Another slide in the same session takes the place of the first one.
    again, _ = shelf.open(folder / "untold.tif", 0.5, "a", user)
    assert shelf.find(token, user) is None and shelf.find(again, user) is not None
    with pytest.raises(SlideError, match="closed"):
        slide.read_tile(0, 0, 0)
    # A tab that is closed takes its slide with it.
    living.remove("a")
    assert shelf.find(again, user) is None and shelf.find(other, {}) is not None
    with pytest.raises(SlideError, match="no longer in the folder"):
        shelf.open(folder / "gone.svs", None, "b", {})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["aperio", "ome"])
def test_a_file_that_changes_or_goes_while_it_is_looked_at(kind: str, tmp_path: Path) -> None:
    """No tile of another file is shown in its place, none is a fault of the server, and it goes on when it is back."""
    folder, aside = tmp_path / "slides", tmp_path / "aside"
    folder.mkdir()
    path = folder / ("one.svs" if kind == "aperio" else "one.ome.tiff")
    make = slides.aperio if kind == "aperio" else slides.ome
    make(path, slides.pyramid(slides.drawn(1024, 768), 2))
    shelf = Shelf(lambda session: True)
    token, slide = shelf.open(path, 0.5, "a", {})
    client = TestClient(Starlette(routes=[tile_route("", lambda: shelf)]))  # raises what the route raises

    def status(place: str) -> int:
        return int(client.get(address_of(token, "") + place).status_code)

    assert status("0/0_0.jpg") == 200
    folder.rename(aside)
    assert {status(f"0/{column}_0.jpg") for column in range(4)} == {404}
    with pytest.raises(SlideError, match="out of reach"):
        slide.check()
    with pytest.raises(SlideError, match="the folder is out of reach"):
        shelf.open(path, 0.5, "a", {})
    aside.rename(folder)
    assert {status(f"0/{column}_0.jpg") for column in range(4)} == {200}
    assert shelf.open(path, 0.5, "a", {}) == (token, slide), "the same token as before"
    # Another file of the same name: its tiles are not shown as this one's, and it is opened anew under its own token.
    make(aside, slides.pyramid(slides.drawn(1024, 768, seed=1), 2))
    aside.replace(path)
    assert status("0/1_1.jpg") == 404
    with pytest.raises(SlideError, match="was changed since it was opened"):
        slide.check()
    again, other = shelf.open(path, 0.5, "a", {})
    assert again != token and status("0/0_0.jpg") == 404
    token = again
    assert status("0/0_0.jpg") == 200
    # Cut off: a sentence or a missing tile.
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert status("0/0_0.jpg") == 404
    try:
        shelf.open(path, 0.5, "a", {})
    except SlideError as error:
        assert "damaged" in str(error) or "not a slide" in str(error)
    slide.close()
    other.close()


def app(monkeypatch: pytest.MonkeyPatch, folder: str | None) -> AppTest:
    if folder is None:
        monkeypatch.delenv("DALA_SLIDES", raising=False)
    else:
        monkeypatch.setenv("DALA_SLIDES", folder)
    page = AppTest.from_file(str(PAGE), default_timeout=120)
    page.run()
    assert not page.exception
    return page


def start_button(page: AppTest) -> Button:
    return next(one for one in page.button if str(one.key).startswith("scan-start-"))


@pytest.mark.slow
def test_without_slides_it_says_how_to_have_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "Set `DALA_SLIDES` to a folder" in app(monkeypatch, None).info[0].value
    assert "does not exist" in app(monkeypatch, str(tmp_path / "gone")).error[0].value
    assert "no slides" in app(monkeypatch, str(tmp_path)).info[0].value


@pytest.mark.slow
def test_a_slide_tells_what_it_is_and_is_asked_what_it_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    # Random addresses hold two underscores in a row now and then, which the key of a component may not.
    numbers = itertools.count()
    monkeypatch.setattr("pages.parts.slides.shelf.drawn_token", lambda: f"a__{next(numbers)}___b")
    page = app(monkeypatch, str(folder))
    assert page.selectbox(key="slide-box").options == ["one.svs", "untold.tif"]
    page.selectbox(key="slide-box").set_value("one.svs").run()
    assert not page.exception
    said = " ".join(one.value for one in page.caption)
    assert "Aperio SVS, 1,024 x 768 px, 0.5 x 0.4 mm, 0.499 um per pixel" in said.replace("\\", "")
    assert not page.warning and not start_button(page).disabled
    page.selectbox(key="slide-box").set_value("untold.tif").run()
    assert "how large its pixels are" in page.warning[0].value and start_button(page).disabled
    page.number_input[0].set_value(0.25)
    page.button[0].click().run()
    said = " ".join(one.value for one in page.caption).replace("\\", "")
    assert "0.25 um per pixel (given by you)" in said and not page.warning
    # What was told can be told otherwise; the field that was picked was of another grid.
    page.session_state["session"].field_picked[str(folder / "untold.tif")] = (1, 1)
    page.number_input[0].set_value(0.5)
    next(one for one in page.button if one.label == "Use it").click().run()
    assert not page.exception and not page.session_state["session"].field_picked
    said = " ".join(one.value for one in page.caption).replace("\\", "")
    assert "0.5 um per pixel (given by you)" in said
    monkeypatch.setattr("dala.slides.reader.LARGEST_OVERVIEW", 4000)
    page.number_input[0].set_value(1.9)
    next(one for one in page.button if one.label == "Use it").click().run()
    assert not page.exception and "2 x 1 mm large" in page.error[0].value
    page.number_input[0].set_value(0.25)
    next(one for one in page.button if one.label == "Use it").click().run()
    assert not page.exception and not page.error


@pytest.mark.slow
def test_no_page_waits_for_a_slow_folder(tmp_path: Path) -> None:
    going, searches = threading.Event(), 0

    def slowly(folder: Path) -> Iterator[Listed]:
        nonlocal searches
        searches += 1
        for number in range(4):
            if number == 2:
                going.wait(20)
            if number == 1:
                time.sleep(BETWEEN + 0.1)
            yield Listed(f"{number}.svs", folder / f"{number}.svs")

    one = Catalogue(tmp_path, slowly)
    found = one.look(0)
    assert not found.whole and found.there
    deadline = time.monotonic() + 10
    while not found.slides and time.monotonic() < deadline:
        found = one.look(0.05)
    assert list(found.slides) == ["0.svs", "1.svs"] and not found.whole
    going.set()
    found = one.look(20)
    assert list(found.slides) == ["0.svs", "1.svs", "2.svs", "3.svs"] and found.whole
    assert one.look(0) is found and searches == 1, "it is fresh"


def test_a_folder_that_is_gone_is_said_and_found_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "FRESH", 0.0)
    one = Catalogue(tmp_path / "slides")
    found = one.look(20)
    assert found.whole and not found.there and not found.slides
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "a.svs").touch()
    found = one.look(20)
    assert found.there and list(found.slides) == ["a.svs"]


@pytest.mark.slow
def test_a_slide_that_goes_away_is_no_longer_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(catalogue, "FRESH", 0.0)
    levels = slides.pyramid(slides.drawn(1024, 768), 2)
    for name in ("a.svs", "b.svs"):
        slides.aperio(tmp_path / name, levels)
    page = app(monkeypatch, str(tmp_path))
    page.selectbox(key="slide-box").set_value("b.svs").run()
    assert not page.exception and start_button(page)
    (tmp_path / "b.svs").unlink()
    page.run()
    assert not page.exception and page.selectbox(key="slide-box").options == ["a.svs"]
    assert page.selectbox(key="slide-box").value is None
    slides.aperio(tmp_path / "b.svs", levels)
    page.run()
    assert not page.exception and page.selectbox(key="slide-box").options == ["a.svs", "b.svs"]


def test_where_no_scan_can_be_kept_is_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DALA_SCANS", str(tmp_path / "file"))
    scans = Scans()
    with pytest.raises(SlideError) as error:
        scans.start(folder / "one.svs", None)
    assert error.value.name == "unwritable" and not scans.state(folder / "one.svs").running


@pytest.mark.slow
def test_findings_of_a_file_that_was_replaced_are_not_shown_as_this_one_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "slides" / "a.svs"
    path.parent.mkdir()
    monkeypatch.setenv("DALA_SCANS", str(tmp_path / "scans"))
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: SimpleNamespace(poll=lambda: 0))
    slides.aperio(path, slides.pyramid(slides.drawn(1024, 768), 2))
    with open_slide(path) as slide:
        header = Scan(slide, quick_model(), tmp_path).header
    rows = Scans().folder(path)
    rows.mkdir(parents=True)
    (rows / ROWS).write_bytes(line(header) + line(Row(0, 0, (0, 0, 490, 322), 0.5, "unreadable")))
    page = app(monkeypatch, str(path.parent))
    page.selectbox(key="slide-box").set_value("a.svs").run()
    assert start_button(page).label == "Go on with the scan"
    slides.aperio(path, slides.pyramid(slides.drawn(1024, 768, seed=1), 2))
    page.run()
    assert start_button(page).label == "Scan the slide"
    assert "is of a file that this one has replaced" in " ".join(one.value for one in page.caption)
    start_button(page).click().run()
    assert not page.exception and not rows.exists()


def test_only_a_field_of_the_grid_is_asked_about() -> None:
    grid = Grid((1000, 500), (100.0, 50.0))
    assert field_of([9, 9], grid) == (9, 9)
    for wrong in (None, "0,0", [1], [10, 0], [0, 10], [-1, 0], [0.5, 0], [True, 0], ["0", 0], {"0": 0}):
        assert field_of(wrong, grid) is None, wrong


def ended(scans: Scans, path: Path) -> State:
    """The state of a scan that runs, when it has ended."""
    assert scans.state(path).running
    deadline = time.monotonic() + 180
    while scans.state(path).running and time.monotonic() < deadline:
        time.sleep(0.2)
    return scans.state(path)


@pytest.mark.slow
@pytest.mark.exhaustive(instead="browser/test_slides.py::test_a_slide_is_opened_walked_over_asked_about_and_scanned")
def test_a_scan_runs_in_a_process_of_its_own_and_is_found_again(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("DALA_SCANS", str(tmp_path))
    scans, path = Scans(), folder / "one.svs"
    assert scans.state(path).found is None and not scans.state(path).running
    scans.start(path, None)
    state = ended(scans, path)
    assert state.failure is None and state.found is not None
    header, rows = state.found
    assert len(rows) == header["fields"] > 0
    # A server that was started anew knows it, too.
    again = Scans().state(path)
    assert again.found is not None and len(again.found[1]) == len(rows)


@pytest.mark.slow
def test_a_scan_that_fails_in_its_process_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("DALA_SCANS", str(tmp_path))
    scans, damaged = Scans(), tmp_path / "damaged.svs"
    damaged.write_bytes((folder / "one.svs").read_bytes()[:200])
    scans.start(damaged, None)
    assert "damaged.svs" in str(ended(scans, damaged).failure)


CAMERA = """import {{ around, whole, held, zoomed, under, tilesOf, scaleBar }} from "{path}";
const slide = {{ width: 4000, height: 2000 }}, view = {{ width: 800, height: 600 }};
const all = whole(slide, view), near = zoomed(all, view, 100, 50, 4);
console.log(JSON.stringify({{
  all, fixed: [under(all, view, 100, 50), under(near, view, 100, 50)],
  far: held({{ x: -50, y: 9000, zoom: 1e-6 }}, slide, view), close: zoomed(all, view, 0, 0, 1e6).zoom,
  tiles: tilesOf(all, slide, view, 4, 1),
  sharp: tilesOf({{ x: 300, y: 300, zoom: 1 }}, slide, {{ width: 500, height: 500 }}, 4, 1),
  around: around(tilesOf({{ x: 300, y: 300, zoom: 1 }}, slide, {{ width: 500, height: 500 }}, 4, 1), slide),
  corner: around(tilesOf({{ x: 3900, y: 1900, zoom: 1 }}, slide, {{ width: 100, height: 100 }}, 4, 1), slide),
  bar: scaleBar(0.2, 0.5, 140), long: scaleBar(0.01, 0.5, 140),
}}));"""


def test_the_camera_by_hand(tmp_path: Path) -> None:
    """A slide of 4,000 x 2,000 px in a window of 800 x 600."""
    (tmp_path / "camera.mjs").write_text((FOLDER / "slide" / "camera.js").read_text(encoding="utf-8"))
    script = CAMERA.format(path=tmp_path / "camera.mjs")
    try:
        ran = subprocess.run(["node", "--input-type=module"], input=script, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("node is not installed")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["all"] == {"x": 2000, "y": 1000, "zoom": 0.2}
    for point in told["fixed"]:  # where the pointer is nothing moves: (100 - 400) / 0.2 from the middle
        assert (point["x"], point["y"]) == (pytest.approx(500), pytest.approx(-250))
    assert told["far"] == {"x": 0, "y": 2000, "zoom": pytest.approx(0.16)} and told["close"] == 4
    # At 0.2 a tile of the slide halved twice has pixels of 4: finer than the screen's 5. 4 columns of 1,024 and 2 rows.
    assert [(tile["halvings"], tile["column"], tile["row"]) for tile in told["tiles"]] == [
        (2, column, row) for row in range(2) for column in range(4)
    ]
    assert {(tile["halvings"], tile["column"], tile["row"]) for tile in told["sharp"]} == {
        (0, column, row) for row in range(3) for column in range(3)
    }
    # Around the nine: a column to the right and a row below, for there is nothing above and to the left.
    assert {(tile["halvings"], tile["column"], tile["row"]) for tile in told["around"]} == {
        (0, column, row) for row in range(4) for column in range(4) if 3 in (column, row)
    }
    assert {(tile["column"], tile["row"]) for tile in told["corner"]} == {(14, 6), (15, 6), (14, 7)}
    # 140 px are 350 um: a bar of 200, which is 80 px; and 7,000 um: one of 5 mm.
    assert (told["bar"]["words"], told["bar"]["pixels"]) == ("200 µm", pytest.approx(80))
    assert told["long"]["words"] == "5 mm"


def test_keys_of_components_have_no_two_underscores_and_stay_different() -> None:
    texts = ["".join(letters) for length in range(7) for letters in itertools.product("_.a", repeat=length)]
    keys = [component_key(text) for text in texts]
    assert not any("__" in key for key in keys)
    assert len(set(keys)) == len(texts)
    assert component_key("slide-a_b") == "slide-a_b"


def test_what_cannot_be_scanned_is_not_offered_to_be(folder: Path) -> None:
    for name, um, fine in (("one.svs", None, True), ("one.svs", 0.73, False), ("untold.tif", None, False),
                           ("untold.tif", 0.5, True)):  # fmt: skip
        with open_slide(folder / name, um) as slide:
            assert scannable(slide) is fine


def test_a_command_in_a_sentence_can_be_copied() -> None:
    said = with_command(f"'a--b.tiff' is compressed in a way that is not read (LERC); {CONVERTER}.")
    assert CONVERTER in said and CONVERTER.count("--") == 3
    assert "a--b" not in said, "a name is no Markdown"
    assert with_command("It is *empty*.") == plain("It is *empty*.")


def chooses_a_region() -> None:
    from dataclasses import replace
    from pathlib import Path

    import streamlit as st

    from pages.parts.slides import scan
    from tests.slides.test_findings import findings

    class Chosen:
        @staticmethod
        def dataframe(*_: object, **__: object) -> object:
            return {"selection": {"rows": [st.session_state.get("row", 0)]}}

        def __getattr__(self, name: str) -> object:
            return getattr(st, name)

    found = findings("MM.", "..M", "M..")
    found.rows[1] = replace(found.rows[1], probability=0.97)
    scan.st = Chosen()
    try:
        scan._show_regions(Path("slide.svs"), found)
    finally:
        scan.st = st


def test_a_region_that_is_chosen_is_flown_to_and_asked_about() -> None:
    """Beside the place to which it flew stood the verdict of another field."""
    page = AppTest.from_function(chooses_a_region).run()
    assert not page.exception
    kept = page.session_state["session"]
    assert kept.field_picked == {"slide.svs": (1, 0)} and kept.flight[1][:2] == (0, 0)

"""Names, headers, archives and cards of others: whatever they hold is shown as text, and no foreign host is asked."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from dala.phantoms.film import draw_film
from tests.helpers.browser import (
    PAGE_MS,
    ROOT,
    Served,
    free_port,
    fresh_page,
    go_to,
    script_ended,
    serving,
    settle,
    small_patch,
)
from tests.helpers.dicoms import film_dicom

HOST = "198.51.100.7"  # of no network (RFC 5737)
MARKDOWN = f"![x](http://{HOST}/a.png) [y](http://{HOST}/b) <img src='http://{HOST}/c.png'> :material/home: $x$"
FORMULA = "=HYPERLINK(A1)-1+1"
CJK = "病" * 240
CARD = f"=1+1 -- ada@example.org >= www.example.org ~~ {CJK}"  # a card with markup is refused by itself
DEEP = "[" * 400 + "<b>" * 100


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app with a card that says hostile things wherever it may say anything."""
    root = tmp_path_factory.mktemp("house")
    for name in ("pages", "viewer", "dala", ".streamlit"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("docs", "evidence", "requirements.txt", "pyproject.toml"):
        os.symlink(ROOT / name, root / name)
    shutil.copy(ROOT / "app.py", root)
    (root / "weights").mkdir()
    for file in (ROOT / "weights").iterdir():
        os.symlink(file, root / "weights" / file.name)
    card = json.loads((ROOT / "weights" / "breast.json").read_text(encoding="utf-8"))
    card["title"] = CARD
    card["limits"] = [CARD, FORMULA]
    card["use"] = f"For research {CARD}"
    card["training_data"]["name"] = CARD
    card["calibration"]["guarantee"] = CARD
    (root / "weights" / "breast.json").unlink()
    (root / "weights" / "breast.json").write_text(json.dumps(card), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def hostile(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(free_port(), tmp_path_factory.mktemp("hostile") / "streamlit.log", root=house) as served:
        yield served


def payload(name: str, content: bytes) -> FilePayload:
    return FilePayload(name=name, mimeType="application/octet-stream", buffer=content)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(f"{FORMULA}.png", small_patch(seed=5))
        made.writestr("x<script>document.title='x'</script>.png", small_patch(seed=6))
        made.writestr("![x](http:..", b"no image")
        made.writestr(f"{CJK[:80]}.png", small_patch(seed=7))
        made.writestr("../../up.png", small_patch(seed=8))
    return file.getvalue()


def calm(page: Page, served: Served, asked: list[str]) -> None:
    """Nothing of what was written is an element, nobody else was asked, and nothing failed."""
    hosts = {urlsplit(url).hostname for url in asked if not url.startswith(("blob:", "data:", "about:"))}
    assert hosts == {"localhost"}
    assert page.locator(f"[src*='{HOST}'], [href*='{HOST}']").count() == 0
    assert page.title() != "x"
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert "Traceback" not in served.log.read_text()


def test_whatever_is_written_is_text(hostile: Served, chromium: Browser) -> None:
    film = film_dicom(
        np.asarray(draw_film().pixels)[..., 0],
        PatientName=MARKDOWN[:60],
        StudyDescription=f"![x](http://{HOST}/d.png)",
        ImageComments=MARKDOWN,
        SeriesDescription="<img src=x onerror=document.title='x'>",
    )
    with fresh_page(chromium) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.goto(hostile.url)
        script_ended(page)
        for name, content in (
            (f"![x](http://{HOST}/e.png)<img src=x onerror=document.title='x'>.png", small_patch(seed=5)),
            (f"a\x00\x1b[31m\u202eb{CJK}.png", small_patch(seed=6)),
            (f"{FORMULA}:material/home:.dcm", film),
            (f"{DEEP}.png", b"no image"),
        ):
            page.locator("input[type=file]").first.set_input_files(payload(name, content))
            page.locator(".st-key-image-line, [data-testid=stAlertContainer]").first.wait_for(timeout=PAGE_MS)
            settle(page)
            calm(page, hostile, asked)
        go_to(page, "Batch")
        page.get_by_text("Drop many H&E breast patches").first.wait_for(timeout=PAGE_MS)
        script_ended(page)
        page.locator("input[type=file]").first.set_input_files(payload(f"[z](http://{HOST}/f).zip", archive()))
        page.get_by_role("button", name="Analyse", exact=False).first.click()
        page.get_by_role("button", name="All as CSV").wait_for(timeout=PAGE_MS)
        settle(page)
        calm(page, hostile, asked)
        for link in ("Teaching", "Guide", "Evidence"):
            go_to(page, link)
            page.wait_for_url(f"**/{link.lower()}*", timeout=PAGE_MS)
            settle(page)
            calm(page, hostile, asked)
        page.get_by_role("radio", name="The weights", exact=True).click()
        settle(page)
        expect(page.get_by_text("ada@example.org").first).to_be_attached()  # it is this card
        calm(page, hostile, asked)

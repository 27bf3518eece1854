"""The script of docs/api.md and a client of every address, against the served app beside its pages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import httpx
import numpy as np
import pytest
from PIL import Image

from dala.cases.people import Person, Role
from dala.cases.tokens import Tokens
from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw
from tests.helpers.api import check
from tests.helpers.browser import ROOT, Served, free_port, serving
from tests.helpers.cases import sqlite_store

SCRIPT = re.findall(r"^```py\n(.*?)^```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.M | re.S)
PNG = encode_png(draw("solid_sheets").pixels)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """The app on an empty store of its own."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DALA_CASES_FOLDER", str(folder / "cases"))
        patch.delenv("DALA_DATABASE", raising=False)
        patch.delenv("DALA_API", raising=False)
        with serving(free_port(), folder / "streamlit.log", warm=False) as found:
            yield found, folder / "cases"


@pytest.fixture(scope="module")
def token(served: tuple[Served, Path]) -> str:
    store = sqlite_store(served[1])
    return Tokens(store.database).create(Person("ada", "Ada", Role.READER), "a test").secret


@pytest.mark.slow
def test_the_documents_script_asks_for_opinions(served: tuple[Served, Path], token: str, tmp_path: Path) -> None:
    (source,) = SCRIPT
    (tmp_path / "ask.py").write_text(source, encoding="utf-8")
    (tmp_path / "sheets.png").write_bytes(PNG)
    (tmp_path / "glass.png").write_bytes(encode_png(np.full((460, 700, 3), 245, np.uint8)))
    (tmp_path / "letter.png").write_bytes(b"This is a letter and no image.")
    environment = os.environ | {"DALA_SERVER": served[0].url, "DALA_TOKEN": token}

    def run(*names: str, **other: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "ask.py", "0.35", *names]
        return subprocess.run(line, cwd=tmp_path, env=environment | other, capture_output=True, text=True, timeout=120)

    told = run("sheets.png", "glass.png")
    assert told.returncode == 0, told.stderr
    first, second = told.stdout.splitlines()
    assert re.fullmatch(r"sheets\.png: (benign|malignant|not sure), [01]\.\d\d malignant", first) or "outside" in first
    assert second.startswith("glass.png: outside the model's competence. ")
    if "outside" not in first:
        assert Image.open(tmp_path / "sheets.dt.png").size == Image.open(tmp_path / "sheets.png").size
    refused = run("letter.png")
    assert refused.returncode == 1 and "letter.png" in refused.stderr and "Traceback" not in refused.stderr
    refused = run("sheets.png", DALA_TOKEN="dala_wrong")
    assert refused.returncode == 1 and "not valid" in refused.stderr


@pytest.mark.slow
def test_a_case_is_kept_found_changed_and_deleted(served: tuple[Served, Path], token: str) -> None:
    told = json.loads(urlopen(f"{served[0].url}/api/v1/openapi.json").read())
    hooks = {"response": [lambda answer: check(answer, told)]}
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{served[0].url}/api/v1", headers=headers, event_hooks=hooks, timeout=60) as client:
        made = client.post(
            "/cases",
            files={"image": ("a.png", PNG)},
            data={"pixel_size_um": "0.35", "title": "First", "diagnosis": "malignant", "read_before": "benign"},
        )
        assert made.status_code == 201
        case = made.json()
        path = made.headers["location"].removeprefix("/api/v1")
        assert client.get(path).json() == case
        assert case["images"][0]["opinion"]["pixel_size"]["columns"] == 0.35
        assert client.get(f"{path}/images/1").content == PNG
        assert client.get("/cases", params={"text": "first"}).json()["total"] == 1
        changed = client.patch(path, json={"comment": "Looked at again.", "read_after": "malignant"}).json()
        assert (changed["comment"], changed["read_after"]["call"]) == ("Looked at again.", "malignant")
        assert client.delete(path).status_code == 204
        assert client.get(path).status_code == client.get(f"{path}/images/1").status_code == 404
        # Without the token there is nothing at all, and the pages answer as ever.
        assert httpx.get(f"{served[0].url}/api/v1/cases").status_code == 401
        assert httpx.get(served[0].url).status_code == 200


@pytest.mark.slow
def test_the_server_goes_on_answering_while_it_looks_at_images(served: tuple[Served, Path], token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    url, done, statuses, took = served[0].url, threading.Event(), [], []
    large = encode_png(np.tile(draw("solid_sheets").pixels, (3, 3, 1))[:1380, :2100])

    def ask() -> None:
        with httpx.Client(headers=headers, timeout=120) as client:
            began = time.perf_counter()
            answer = client.post(f"{url}/api/v1/opinion?pixel_size_um=0.35", content=large)
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    with httpx.Client(timeout=60) as client:
        while any(thread.is_alive() for thread in threads):
            began = time.perf_counter()
            assert client.get(f"{url}/_stcore/health").text == "ok"
            slowest = max(slowest, time.perf_counter() - began)
            done.wait(0.02)
    assert {200, 429} >= set(statuses) and 200 in statuses, statuses
    assert slowest < min(took) / 2, "nobody waited for the health check as long as for an image of three megapixels"

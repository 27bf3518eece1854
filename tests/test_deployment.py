"""The image's recipe: its steps are run in a clean folder with nothing but what it copies, and the result is served."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from streamlit import config

from pages.parts.login import problem_of

ROOT = Path(__file__).resolve().parents[1]
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, rest in (line.split(maxsplit=1) for line in lines)]


def arguments(name: str) -> list[str]:
    return [rest for word, rest in instructions() if word == name]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the image's COPY instructions make of this repository."""
    folder = tmp_path_factory.mktemp("image")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for line in arguments("COPY"):
        *sources, target = line.split()
        for source in sources:
            assert f"!{source}" in ignored, f".dockerignore keeps {source} out of the image"
            place = folder / target / source if target.endswith("/") else folder / target
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__", "*.partial"))
            else:
                shutil.copy(ROOT / source, place)
    return folder


def environment(cache: Path) -> dict[str, str]:
    """What ENV sets, with a cache of this test's own."""
    words = shlex.split(" ".join(arguments("ENV")))
    told = dict(word.split("=", 1) for word in words)
    assert told["STREAMLIT_SERVER_ADDRESS"] == "0.0.0.0"
    return {**os.environ, **told, "DALA_CACHE": str(cache), "STREAMLIT_SERVER_ADDRESS": "localhost"}


def test_the_secrets_stay_out_of_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*", "what is not named stays out"
    assert not any("secrets" in line or line in ("!.streamlit", "!.git", "!tests") for line in ignored)


def test_its_user_has_no_rights() -> None:
    words = [word for word, _ in instructions()]
    (user,) = arguments("USER")
    assert int(user) > 1000
    assert words.index("USER") > max(place for place, word in enumerate(words) if word in ("RUN", "COPY"))


@pytest.mark.slow
def test_the_doctor_finds_everything_in_it(image: Path, tmp_path: Path) -> None:
    (step,) = [line for line in arguments("RUN") if "dala doctor" in line]
    command = step.rpartition("&&")[2].split()
    assert command[0] == "python"
    ran = subprocess.run(
        [sys.executable, *command[1:]],
        cwd=image,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 FAIL" in ran.stdout


@pytest.mark.slow
def test_it_is_served_and_its_health_check_knows(image: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    start = json.loads(arguments("CMD")[0])
    check = json.loads(arguments("HEALTHCHECK")[0].partition("CMD ")[2])
    surroundings = environment(tmp_path) | {"STREAMLIT_SERVER_PORT": str(port)}
    assert str(arguments("EXPOSE")[0]) in check[-1]
    checking = [sys.executable, *check[1:-1], check[-1].replace("8501", str(port))]
    assert subprocess.run(checking, capture_output=True).returncode != 0, "nothing is served yet"
    served = subprocess.Popen(
        [sys.executable, *start[1:]], cwd=image, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(checking, capture_output=True).returncode != 0:
            assert served.poll() is None and time.monotonic() < deadline
            time.sleep(0.3)
        with urlopen(f"http://localhost:{port}/", timeout=5) as answer:
            assert b"streamlit" in answer.read().lower()
    except URLError as error:
        pytest.fail(str(error))
    finally:
        served.terminate()
        served.wait(20)


def test_the_service_and_the_proxy_are_as_the_app_needs_them() -> None:
    blocks = dict(re.findall(r"^```(ini|nginx|toml)\n(.*?)^```", DEPLOYMENT, re.MULTILINE | re.DOTALL))
    limit = int(re.search(r"client_max_body_size (\d+)m", blocks["nginx"])[1])  # type: ignore[index]
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert limit >= settings["server"]["maxUploadSize"]
    assert "IPAddressDeny=any" in blocks["ini"] and "ProtectSystem=strict" in blocks["ini"]
    # The example of a log-in is one that the app takes.
    assert problem_of(tomllib.loads(blocks["toml"])["auth"]) is None


def test_every_option_of_streamlit_in_the_document_exists() -> None:
    known = set(config.get_config_options())
    asked = set(re.findall(r"--((?:server|browser)\.\w+)", DEPLOYMENT))
    assert asked and asked <= known

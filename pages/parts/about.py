"""What the frame says on every page: the research-use notice, where images stay, version and build."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st

from dala import __version__
from dala.errors import WeightsError
from dala.runtime.card import SERVED, read_card

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ("localhost", "127.0.0.1", "::1")
NOTICE = "**For research and teaching only, not for diagnosis.**"


def notice() -> str:
    """The notice, and where an image stays: on this machine, or on the server that is visited from another one."""
    host = urlsplit(st.context.url or "").hostname
    return f"{NOTICE} Nothing leaves this {'machine' if host is None or host in LOCAL else 'server'}."


@cache
def about() -> str:
    """The entry About of the menu: version, build and the weights that are served."""
    lines = [f"DALA second opinion, version {__version__}, build {build()}."]
    for modality, name in SERVED.items():
        try:
            digest = str(read_card(name)[0].fields["sha256"])[:12]
            lines.append(f"Weights for {modality}: {name}, fingerprint {digest}.")
        except WeightsError:
            lines.append(f"Weights for {modality}: {name}, missing or damaged.")
    return "\n\n".join([NOTICE, *lines])


def build() -> str:
    """The commit of this checkout, short, with a plus where files differ from it; "of a release" without git."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "of a release"
    return said.stdout.strip() or "of a release"

"""What the tests of several pages need."""

from __future__ import annotations

from typing import Any

import pytest
import streamlit as st

Files = dict[str, tuple[str, Any]]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    """What a page offers for download: file name and content by the button's label."""
    offered: Files = {}
    button = st.delta_generator.DeltaGenerator.download_button

    def keep(self: Any, label: str, data: Any, file_name: str, *rest: Any, **options: Any) -> Any:
        offered[label] = (file_name, data)
        return button(self, label, data, file_name, *rest, **options)

    monkeypatch.setattr(st.delta_generator.DeltaGenerator, "download_button", keep)
    return offered


@pytest.fixture(autouse=True)
def _once(weights_stay_loaded: None, components_stay_found: None) -> None:
    """Of the pages' tests only those of missing weights need them read anew."""

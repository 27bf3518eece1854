"""The server's entry, for `streamlit run app.py`: the pages' frame, and tiles and the HTTP API beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st
from starlette.middleware import Middleware

from dala.api.routes import api_routes
from dala.cases.opening import store_from_environment
from dala.errors import SiteError
from pages.parts.cookie import BrowserCookie
from pages.parts.limits import LARGEST_MB
from pages.parts.login import auth_settings
from pages.parts.memory import share_memory
from pages.parts.slides.shelf import tile_route
from pages.parts.warm import listening

if TYPE_CHECKING:
    from dala.runtime.predict import Model


def model_with_site(name: str, site: str | None) -> Model:
    """The pages' own model, loaded when a page or a program first asks for it. Raises SiteError for an unknown site."""
    from dala.sites import file_of, listed
    from pages.parts.sites import model_with

    if site is None:
        return model_with(None, name)
    file = next((path.name for path in listed() if path.name in (site, file_of(site).name)), None)
    if file is None:
        raise SiteError("There is no site of this name on the server.")
    return model_with(file, name)


share_memory()
base = st.get_option("server.baseUrlPath") or ""
app = st.App(
    "pages/frame.py",
    lifespan=listening,
    routes=[
        tile_route(base),
        *api_routes(base, model_with_site, store_from_environment, lambda: auth_settings() is not None, LARGEST_MB),
    ],
    middleware=[Middleware(BrowserCookie, path=f"/{base.strip('/')}")],
)

"""Which site is in use: the choice among the site files of this server, and the shared model with it; none at first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from dala.errors import SiteError
from dala.gate.checks import HISTOLOGY
from dala.runtime.card import SERVED
from dala.runtime.predict import Model
from dala.sites import Site, folder_of_sites, listed, load_site, with_site
from dala.words import counted
from pages.parts.session import session
from pages.parts.shared import plain, shared_model

NO_SITE = "None"
HELP = (
    "The model as `dala adapt` fitted it to one laboratory. It is for images of that laboratory only, and is named "
    "beside every answer and in every export."
)
KEPT = 8  # models with a site: each is a head of 4 MB
USUAL = SERVED[HISTOLOGY]


# What was read once is kept as long as the file is the same.
@st.cache_resource(show_spinner=False, max_entries=KEPT)
def read(path: str, modified: int, size: int) -> Site | str:
    """The site of a file, or the sentence why it is none."""
    try:
        return load_site(Path(path))
    except SiteError as error:
        return str(error)


@st.cache_resource(show_spinner=False, max_entries=KEPT)
def laid_over(sha256: str, _model: Model, _site: Site) -> Model | str:
    """The model with a site, or the sentence why the site does not fit it."""
    try:
        return with_site(_model, _site)
    except SiteError as error:
        return str(error)


def model_with(file: str | None, name: str) -> Model:
    """The shared model of a name, with the site of this file of the folder if there is one; a site is of the usual
    weights and no others. SiteError where the file is none any more."""
    model = shared_model(name)
    if file is None or name != USUAL:
        return model
    found = site_in(folder_of_sites() / file)
    answer = found if isinstance(found, str) else laid_over(found.sha256, model, found)
    if isinstance(answer, str):
        raise SiteError(answer)
    return answer


def site_in(path: Path) -> Site | str:
    """The site of a file as it is now, or the sentence why it is none."""
    try:
        state = path.stat()
    except OSError:
        return f"The site file '{path.name}' is gone."
    return read(str(path), state.st_mtime_ns, state.st_size)


def loader(file: str | None) -> Callable[[str], Model]:
    """What gives the model of a name, with this site."""
    return lambda name: model_with(file, name)


def model_in_use(name: str = USUAL) -> Model:
    """The model of a name with the site that was chosen; where that cannot be, the sentence, and no page."""
    try:
        return model_with(session().site, name)
    except SiteError as error:
        st.error(plain(str(error)))
        session().site = None
        st.stop()


def choose_site() -> None:
    """The choice of a site, where this server has site files; it holds on both pages until it is changed."""
    files = {path.name: site_in(path) for path in listed()}
    # Also where nothing is in it: what stands behind it keeps its place, whatever files come and go.
    row = st.container(key="site-choice", horizontal=True, vertical_alignment="center", gap="small")
    if not files:
        session().site = None
        return
    sites = {name: found for name, found in files.items() if isinstance(found, Site)}
    kept = session()
    if kept.site not in sites:
        kept.site = None
    row.markdown("Site", help=HELP, width="content")
    choices = [NO_SITE, *sites]
    chosen = row.selectbox(
        "Site",
        choices,
        choices.index(kept.site or NO_SITE),
        format_func=lambda name: name if name == NO_SITE else called(name, sites),
        key="site",
        label_visibility="collapsed",
        width=260,
    )
    kept.site = None if chosen == NO_SITE else chosen
    broken = [found for found in files.values() if isinstance(found, str)]
    if broken:
        row.caption(f"{counted(len(broken), 'file')} cannot be used: {plain(broken[0])}", width="stretch")


def called(file: str, sites: dict[str, Site]) -> str:
    """A site by its name, and by its file where two have the same."""
    name = sites[file].name
    return name if [one.name for one in sites.values()].count(name) == 1 else f"{name} ({file})"

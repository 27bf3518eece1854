"""Who asks: the person of a token, or, where an administrator opened the API, whoever is at this machine."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request

from dala.api.problems import Problem
from dala.cases.people import LOCAL, Person

if TYPE_CHECKING:
    from dala.cases.store import Store

SETTING = "DALA_API"
TOKEN, OPEN, OFF = "token", "open", "off"
SCHEME = "Bearer"
CHALLENGE = {"WWW-Authenticate": SCHEME}
# What a proxy adds, and a browser on behalf of a page: such a request does not come from a program at this machine.
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
NAMES = ("localhost", "localhost.localdomain")


def setting() -> str:
    """`token` (the usual), `open` or `off`; Problem for anything else, so that a slip opens nothing."""
    found = os.environ.get(SETTING, TOKEN).strip().lower() or TOKEN
    if found not in (TOKEN, OPEN, OFF):
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"The setting {SETTING} of this server is not one of {TOKEN}, {OPEN}, {OFF}: ask an administrator.",
        )
    return found


@dataclass(frozen=True)
class Access:
    """Decides who a request is from. store: where tokens are kept, None where nothing is. login: whether people log
    in at the pages."""

    store: Callable[[], Store | None]
    login: Callable[[], bool]

    def person(self, request: Request) -> Person:
        """Whoever asks. Raises Problem, which says what is needed."""
        how = setting()
        if how == OFF:
            raise Problem(HTTPStatus.FORBIDDEN, "The HTTP API is switched off on this server (DALA_API=off).")
        told = request.headers.get("authorization")
        if told is not None:
            return self._of_token(told)
        if how == OPEN and not self.login():
            if at_this_machine(request):
                return LOCAL
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "Without a token only programs on the server's own machine may ask (DALA_API=open): not through a "
                "proxy, not from another machine, and not from a web page.",
            )
        raise Problem(HTTPStatus.UNAUTHORIZED, self._needed(), CHALLENGE)

    def kept_in(self) -> Store:
        """Where cases are kept. Raises Problem where nothing is."""
        store = self.store()
        if store is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "This server keeps no cases (DALA_DATABASE=off).")
        return store

    def _of_token(self, told: str) -> Person:
        from dala.cases.tokens import Tokens  # and the database's library, which pages without cases do without

        scheme, _, token = told.partition(" ")
        store = self.store()
        if store is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, self._needed(), CHALLENGE)
        found = Tokens(store.database).person(token.strip()) if scheme.lower() == SCHEME.lower() else None
        # Where people log in nobody is the local user, who may do everything; a token of a time before is of nobody.
        if found is None or (found.id == LOCAL.id and self.login()):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "This token is not valid: it is unknown, revoked or past its last day.",
                CHALLENGE,
            )
        return found

    def _needed(self) -> str:
        if self.store() is None:
            where = "tokens are kept in the database, which is switched off here (DALA_DATABASE=off)"
        else:
            where = "`dala token create` on the server makes one, and so does everybody's own page of tokens"
        opened = (
            "with log-in no request goes without one"
            if self.login()
            else "an administrator may let programs on the server's own machine ask without one (DALA_API=open)"
        )
        return f"A token is needed (Authorization: Bearer TOKEN): {where}; {opened}."


def at_this_machine(request: Request) -> bool:
    """Whether a program on the server's own machine asks it directly: from a loopback address, by a loopback name,
    neither through a proxy nor for a web page, whatever page that is."""
    headers = request.headers
    if any(name in headers for name in (*FORWARDED, "origin")):
        return False
    if headers.get("sec-fetch-site", "none") != "none":
        return False
    client = request.client
    return client is not None and _loopback(client.host) and _loopback(_host(headers.get("host", "")))


def _host(told: str) -> str:
    """Without the port."""
    if told.startswith("["):
        return told[1:].partition("]")[0]
    return told.partition(":")[0]


def _loopback(host: str) -> bool:
    if host.lower().rstrip(".") in NAMES:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback

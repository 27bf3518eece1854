"""The cookie by which the server knows a browser again, and nothing more of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE, USER_COOKIE = "dala_browser", "_streamlit_user"
BITS = 192  # of what is drawn at random
YEAR = 365 * 24 * 3600


def drawn_token() -> str:
    """What nobody guesses."""
    return secrets.token_urlsafe(BITS // 8)


def of_user(cookies: Mapping[str, str]) -> dict[str, str]:
    """Those that log-in sets; none without log-in."""
    return {name: value for name, value in cookies.items() if name.startswith(USER_COOKIE)}


class BrowserCookie:
    """ASGI middleware: a browser that asks for a page and carries no cookie of ours is given one, which scripts cannot
    read and which says nothing but that it is the same browser."""

    def __init__(self, app: ASGIApp, path: str = "/") -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        known = f"{COOKIE}=" in headers.get("cookie", "")
        secure = scope.get("scheme") == "https" or headers.get("x-forwarded-proto") == "https"

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not known and is_page(message):
                message["headers"] = [*message["headers"], (b"set-cookie", self._cookie(secure))]
            await send(message)

        await self._app(scope, receive, answer)

    def _cookie(self, secure: bool) -> bytes:
        parts = [f"{COOKIE}={drawn_token()}", f"Path={self._path}", f"Max-Age={YEAR}"]
        return "; ".join([*parts, "HttpOnly", "SameSite=Lax", *(["Secure"] if secure else [])]).encode()


def is_page(message: Message) -> bool:
    """Whether an answer is a page and not one of its files."""
    kinds = [value for key, value in message["headers"] if key.lower() == b"content-type"]
    return any(kind.startswith(b"text/html") for kind in kinds)

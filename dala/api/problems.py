"""What the API answers when it cannot answer: a status and one sentence, as application/problem+json (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus

from starlette.responses import Response

from dala.errors import (
    CaseError,
    DalaError,
    DataError,
    EmptyFile,
    Forbidden,
    NotFound,
    QuotaReached,
    RuleError,
    SiteError,
    StoreError,
    TooLarge,
    UnsupportedFormat,
    WeightsError,
)

MEDIA = "application/problem+json"
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
# The first kind that fits; what is none of them is an image that cannot be taken.
STATUSES: tuple[tuple[type[DalaError], HTTPStatus], ...] = (
    (SiteError, HTTPStatus.BAD_REQUEST),
    (WeightsError, HTTPStatus.SERVICE_UNAVAILABLE),
    (RuleError, HTTPStatus.BAD_REQUEST),
    (DataError, HTTPStatus.BAD_REQUEST),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (QuotaReached, HTTPStatus.INSUFFICIENT_STORAGE),
    (CaseError, HTTPStatus.BAD_REQUEST),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (UnsupportedFormat, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (EmptyFile, HTTPStatus.BAD_REQUEST),
)
FAULT = "The server could not answer because of a fault of its own; its log tells more."


class Problem(Exception):
    """Ends a request: a status, a sentence for whoever asked, and headers such as Retry-After."""

    def __init__(self, status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers or {}

    def response(self) -> Response:
        content = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.sentence,
        }
        return Response(
            json.dumps(content, ensure_ascii=False).encode(),
            self.status.value,
            {**HEADERS, **self.headers},
            media_type=MEDIA,
        )


def problem_of(error: DalaError) -> Problem:
    """The same sentence that a page would show, with the status of its kind."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), HTTPStatus.UNPROCESSABLE_ENTITY)
    return Problem(status, str(error))

"""A client of the API that holds every answer to the OpenAPI document, and an app of the API alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dala.api.document import document
from dala.api.routes import api_routes

LARGEST_MB = 2


def client_of(
    models: Callable[..., Any],
    store: Callable[[], Any] = lambda: None,
    login: Callable[[], bool] = lambda: False,
    base: str = "",
    peer: str = "127.0.0.1",
    host: str = "localhost:8501",
) -> TestClient:
    """A program at the server's own machine, or elsewhere by another `peer` and `host`."""
    app = Starlette(routes=api_routes(base, models, store, login, LARGEST_MB))
    client = TestClient(app, base_url=f"http://{host}", client=(peer, 50_000), raise_server_exceptions=False)
    start = f"/{base.strip('/')}" if base else ""
    client.event_hooks = {"response": [lambda answer: check(answer, document(start, LARGEST_MB), start)]}
    return client


def check(answer: Any, told: dict[str, Any], start: str = "") -> None:
    """The answer is one that the document tells of: by its status, its kind and its content."""
    answer.read()
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert "access-control-allow-origin" not in answer.headers
    assert "traceback" not in answer.text.lower()
    operation = operation_of(answer.request, told, start)
    if operation is None:  # not an address of the document
        assert answer.status_code in (404, 405)
        promised = {"schema": {"$ref": "#/components/schemas/Problem"}}
        assert kind == "application/problem+json"
    else:
        responses = operation["responses"]
        assert str(answer.status_code) in responses, (answer.status_code, answer.text)
        contents = responses[str(answer.status_code)].get("content")
        if contents is None:
            assert answer.content == b""
            return
        assert kind in contents
        promised = contents[kind]
        for name in responses[str(answer.status_code)].get("headers", {}):
            assert name in answer.headers
    if kind.endswith("json"):
        valid(answer.json(), promised["schema"], told)
    if answer.status_code >= 400:
        assert answer.json()["status"] == answer.status_code
        assert re.fullmatch(r"[A-Z'].{10,}\.\)?", answer.json()["detail"], re.DOTALL), answer.text


def valid(content: Any, schema: dict[str, Any], told: dict[str, Any]) -> None:
    whole = {**schema, "components": json.loads(json.dumps(told["components"]))}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(content)


def operation_of(request: Any, told: dict[str, Any], start: str) -> dict[str, Any] | None:
    path = request.url.path.removeprefix(start)
    for template, methods in told["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            found: dict[str, Any] | None = methods.get(request.method.lower())
            return found
    return None

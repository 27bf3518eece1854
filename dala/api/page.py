"""The OpenAPI document as one page of plain HTML that asks for nothing from anywhere."""

from __future__ import annotations

import html
import json
import re
from typing import Any

Json = dict[str, Any]

CODE = re.compile("`([^`]+)`")
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; background: Canvas; color: CanvasText; }
a { color: inherit; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 0; font-size: 1.15rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid; }
th:first-child { width: 12rem; font-weight: normal; }
summary { cursor: pointer; }
"""


def page(told: Json) -> str:
    """The document as one page of HTML that asks for nothing from anywhere."""
    info = told["info"]
    parts = [
        f"<h1>{shown(info['title'])}: HTTP API</h1>",
        f"<p><strong>{shown(info['summary'])}</strong> {shown(info['description'])}</p>",
        f"<p>{shown(told['components']['securitySchemes']['token']['description'])}</p>",
        '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>',
    ]
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                parts += _operation(path, method, operation, methods.get("parameters", []))
    for name, schema in told["components"]["schemas"].items():
        text = html.escape(json.dumps(schema, indent=1, ensure_ascii=False))
        parts.append(f"<details><summary>Schema <code>{shown(name)}</code></summary><pre>{text}</pre></details>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{shown(info['title'])}: HTTP API</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>"
    )


def shown(text: str) -> str:
    """Words as HTML; what stands between backticks is code."""
    return CODE.sub(r"<code>\1</code>", html.escape(text))


def _operation(path: str, method: str, operation: Json, of_path: list[Json]) -> list[str]:
    parts = [f"<h2><code>{method.upper()} {shown(path)}</code></h2><p>{shown(operation['summary'])}.</p>"]
    if body := operation.get("requestBody"):
        kinds = ", ".join(f"<code>{shown(kind)}</code>" for kind in body["content"])
        parts.append(f"<p>Body ({kinds}). {shown(body.get('description', ''))}</p>")
    rows = [
        (one["name"], " ".join(filter(None, (one.get("description"), _kind(one["schema"])))))
        for one in [*of_path, *operation.get("parameters", ())]
    ]
    if rows:
        parts.append(_table("Parameters", rows))
    parts.append(_table("Answers", [(status, one["description"]) for status, one in operation["responses"].items()]))
    return parts


def _kind(schema: Json) -> str:
    """What a parameter may be, in a few words."""
    said = "One of " + ", ".join(map(str, schema["enum"])) if "enum" in schema else str(schema["type"]).capitalize()
    if "default" in schema:
        usual = schema["default"]
        said += f"; usually {str(usual).lower() if isinstance(usual, bool) else usual}"
    return f"{said}."


def _table(caption: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th scope="row"><code>{shown(name)}</code></th><td>{shown(text)}</td></tr>' for name, text in rows
    )
    return f"<details open><summary>{caption}</summary><table>{cells}</table></details>"

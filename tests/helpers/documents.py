"""What the documents tell people to type, and the words that they must not use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HISTORY = ROOT / "CHANGELOG.md"  # it speaks of what was, too
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PRESENT = [document for document in DOCUMENTS if document != HISTORY]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = r"(?:dala|python|torchrun) "
INLINE = re.compile(rf"`({PROGRAMS}[^`]+)`")

DIALECT = re.compile(
    r"\b(pictures?|pupils?|judg(?:e|es|ed|ing)|told|disturb\w*|mend(?:s|ed|ing)?|by heart|pupil's"
    r"|put(?:s|ting)? (?:it|them|this|everything) (?:away|back)|learnt by|knows? colou?rs? alone)\b",
    re.IGNORECASE,
)
"""Words of which the field has better ones: image, student, analyse, perturb, remove, reset (docs/glossary.md)."""


def commands() -> list[tuple[str, str]]:
    """Every command line of a block or a sentence that calls this project's program or Python, with its document."""
    found = []
    for document in PRESENT:
        text = document.read_text(encoding="utf-8")
        lines = [
            line for kind, block in BLOCK.findall(text) if kind in ("", "sh", "bash") for line in block.splitlines()
        ]
        lines += [" ".join(one.split()) for one in INLINE.findall(BLOCK.sub("", text))]
        for line in lines:
            line = line.partition("  #")[0].strip()
            if re.match(PROGRAMS, line):
                found += [(document.name, one) for one in alternatives(line)]
    return sorted(set(found))


def alternatives(line: str) -> list[str]:
    """`a|b c [--d E]` as the four commands that it stands for."""
    optional = re.search(r"\[([^\]]+)\] ?", line)
    if optional:
        with_it, without = line.replace(optional[0], f"{optional[1]} "), line.replace(optional[0], "")
        return [*alternatives(with_it.strip()), *alternatives(without.strip())]
    choice = re.search(r"\S*\|\S*", line)
    if choice:
        return [one for name in choice[0].split("|") for one in alternatives(line.replace(choice[0], name, 1))]
    return [line]


def terms(glossary: str) -> dict[str, str]:
    """The glossary's terms with their definitions, in its order; a term that is there twice raises ValueError."""
    found: dict[str, str] = {}
    for term, definition in re.findall(r"^\*\*(.+?)\*\*: (.+?)(?=\n\n|\n?\Z)", glossary, re.MULTILINE | re.DOTALL):
        if term in found:
            raise ValueError(f"{term} is explained twice")
        found[term] = " ".join(definition.split())
    return found


def sentences(module: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string of a module that a person may read: it holds a space and is no docstring."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                if " " in text.strip() or text[:1].isupper():
                    yield node.lineno, text

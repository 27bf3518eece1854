"""What the documents tell people to type."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:PYTHONPATH=\. )?(?:python|torchrun) [^`]+)`")


def commands() -> list[tuple[str, str]]:
    """Every command line of a block or a sentence that calls Python, with its document."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        lines = [
            line for kind, block in BLOCK.findall(text) if kind in ("", "sh", "bash") for line in block.splitlines()
        ]
        lines += [" ".join(one.split()) for one in INLINE.findall(BLOCK.sub("", text))]
        for line in lines:
            line = line.partition("  #")[0].strip()
            if re.match(r"(PYTHONPATH=\. )?(python|torchrun) ", line):
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

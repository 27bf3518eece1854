"""What is installed, under which licence: `dala licences`.

Like the doctor it imports nothing but the standard library at the top, and it believes what packages say of themselves:
their licence expression, else their classifiers, else their free field (core metadata 2.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

UNKNOWN = "not stated"
LONGEST = 60  # characters of a free field, in which some packages put the whole text
STRONG = re.compile(r"\bA?GPL|\bGNU (AFFERO )?GENERAL PUBLIC|\bSSPL|\bCC[- ]BY[- ]NC", re.IGNORECASE)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Licence:
    """One installed package. `needed`: the app requires it, itself or through another package."""

    name: str
    version: str
    licence: str
    needed: bool

    @property
    def strong(self) -> bool:
        """Whether whoever passes on a work that contains it must put all of it under the same terms."""
        offered = re.split(r"\s+OR\s+", self.licence)
        return all(STRONG.search(one) is not None for one in offered)


def installed(required: Iterable[str]) -> list[Licence]:
    """Every installed package by name; `required` are the requirements that the needed ones follow from."""
    packages = {_plain(one.metadata["Name"]): one for one in metadata.distributions() if one.metadata["Name"]}
    needed: set[str] = set()
    waiting = [_plain(found[0]) for line in required if (found := NAME.match(line.strip()))]
    while waiting:
        name = waiting.pop()
        if name in needed or name not in packages:
            continue
        needed.add(name)
        waiting += [_plain(found[0]) for line in packages[name].requires or [] if (found := _applies(line))]
    return [
        Licence(one.metadata["Name"], one.version, _licence(one.metadata), name in needed)
        for name, one in sorted(packages.items())
    ]


def _plain(name: str) -> str:
    """As package indexes compare names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _applies(line: str) -> re.Match[str] | None:
    """The name in a requirement, unless it is of an extra that nobody asked for. Other conditions are taken as met:
    what is not needed on this system is not installed on it."""
    return None if re.search(r";.*\bextra\b", line) else NAME.match(line)


def _licence(told: metadata.PackageMetadata) -> str:
    if "License-Expression" in told:
        return str(told["License-Expression"])
    classes = [one for one in told.get_all("Classifier") or [] if one.startswith("License ::")]
    named = [one.rsplit(" :: ", 1)[-1] for one in classes if one.count(" :: ") > 1 or "OSI" not in one]
    free = next(iter(str(told["License"]).splitlines()), "") if "License" in told else ""
    return " and ".join(named) or (free if len(free) <= LONGEST else free[: LONGEST - 1] + "…") or UNKNOWN


def table(found: list[Licence]) -> str:
    """Name, version and licence as aligned text, closed by a line that counts them."""
    widths = [max((len(getattr(one, part)) for one in found), default=0) for part in ("name", "version")]
    lines = [
        f"{'app  ' if one.needed else '     '}{one.name:<{widths[0]}}  {one.version:<{widths[1]}}  {one.licence}"
        for one in found
    ]
    strong = [one.name for one in found if one.needed and one.strong]
    needed = sum(one.needed for one in found)
    verdict = f"under the GPL or the like: {', '.join(strong)}" if strong else "none of them under the GPL or the like"
    return "\n".join([*lines, "", f"{len(found)} packages, {needed} of them needed by the app (app), {verdict}."])


def main(required: Iterable[str]) -> int:
    """Print the table; 1 if a package that the app needs is under a strong copyleft, else 0."""
    found = installed(required)
    print(table(found))
    return int(any(one.needed and one.strong for one in found))

"""Draw the rooms of the house and the arrows between them, from the imports of the code itself: docs/architecture.svg.

    python docs/architecture.py

A room is a package or a module directly under `dala/`, or a folder of scripts beside it; an arrow goes from the room
that imports to the room that is imported. An arrow that others imply (a -> c beside a -> b -> c) is left out, and so
are those to the three modules at the bottom, which everything may use.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DRAWING = ROOT / "docs" / "architecture.svg"
GROUND = ("errors", "files", "words")
ENTRIES = ("__init__", "__main__")  # the package's own front doors, which are in no room

WIDTH, MARGIN, BOX, HEIGHT, LEVEL = 980, 20, 124, 34, 78

Graph = dict[str, set[str]]
Arrow = tuple[str, str]
Stop = tuple[str, int]  # a room, or an arrow on its way, in a row counted from the lowest


def rooms(root: Path = ROOT) -> Graph:
    """Every room with the rooms that it imports, anywhere in its modules."""
    found: Graph = {}
    for module in sorted([*(root / "dala").rglob("*.py"), *(root / "pages").rglob("*.py")]):
        room = room_of(module.relative_to(root).with_suffix("").parts)
        if room is not None:
            tree = ast.parse(module.read_text(encoding="utf-8"))
            found.setdefault(room, set()).update(other for other in imported(tree) if other != room)
    return {room: others & found.keys() for room, others in found.items()}


def room_of(parts: tuple[str, ...]) -> str | None:
    """The room of a module by the parts of its dotted name; None for what is not ours or in no room."""
    if parts[0] != "dala":
        return parts[0]
    return None if len(parts) < 2 or parts[1] in ENTRIES else parts[1]


def imported(tree: ast.AST) -> Iterator[str]:
    """What a module imports by the names that rooms may have; `from dala import x` names x."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for room in (room_of(tuple(name.split("."))) for name in names):
            if room is not None:
                yield room


def levels(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """How many arrows each room stands above the lowest; ValueError names the rooms of a circle."""
    found: dict[str, int] = {}

    def level(room: str, above: tuple[str, ...] = ()) -> int:
        if room in above:
            raise ValueError("The rooms import each other in a circle: " + " -> ".join([*above, room]))
        if room not in found:
            found[room] = max((level(other, (*above, room)) + 1 for other in sorted(graph[room])), default=0)
        return found[room]

    for room in sorted(graph):
        level(room)
    return found


def reduced(graph: Mapping[str, set[str]]) -> list[Arrow]:
    """The arrows that no others imply, sorted."""

    def reached(room: str) -> set[str]:
        return graph[room].union(*(reached(other) for other in graph[room]))

    return sorted(
        (room, other)
        for room, others in graph.items()
        for other in others
        if not any(other in reached(between) for between in others)
    )


def stops(arrow: Arrow, level: Mapping[str, int]) -> list[Stop]:
    """Where an arrow passes: its two rooms, and a place of its own in every row between, beside the rooms there."""
    one, other = arrow
    between = [(f"{one} imports {other}", row) for row in range(level[one] - 1, level[other], -1)]
    return [(one, level[one]), *between, (other, level[other])]


def places(paths: Sequence[list[Stop]], level: Mapping[str, int]) -> dict[Stop, float]:
    """The x of every stop: in each row, from the top, in the order of the means of what points to them."""
    x: dict[Stop, float] = {}
    members = {*level.items(), *(stop for path in paths for stop in path)}
    for row in range(max(level.values()), -1, -1):
        wish = {}
        for stop in sorted(stop for stop in members if stop[1] == row):
            above = [x[one] for path in paths for one, other in pairwise(path) if other == stop]
            wish[stop] = sum(above) / len(above) if above else WIDTH / 2
        wide = {stop: BOX if stop[0] in level else 0 for stop in wish}
        gap, left = (WIDTH - sum(wide.values())) / len(wide), 0.0
        for stop in sorted(wish, key=lambda stop: (wish[stop], stop)):
            x[stop] = left + (gap + wide[stop]) / 2
            left += gap + wide[stop]
    return x


def drawing(graph: Mapping[str, set[str]]) -> str:
    """The graph as an SVG: one row a level, importers above what they import, the ground below everything."""
    walls = {room: others - {*GROUND} for room, others in graph.items() if room not in GROUND}
    level = levels(walls)
    paths = {arrow: stops(arrow, level) for arrow in reduced(walls)}
    x = places(list(paths.values()), level)
    top = max(level.values())

    def y(row: int) -> int:
        return MARGIN + HEIGHT // 2 + (top - row) * LEVEL

    height = y(-1) + HEIGHT // 2 + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="15" text-anchor="middle" role="img">',
        "<title>The rooms of the code and what imports what</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for (one, other), path in paths.items():
        (start, *between, end) = path
        points = [(x[start], y(start[1]) + HEIGHT // 2)]
        points += [(x[stop], y(stop[1]) + side * HEIGHT // 2) for stop in between for side in (-1, 1)]
        points.append((x[end], y(end[1]) - HEIGHT // 2 - 1))
        lines.append(
            f'<polyline points="{" ".join(f"{px:.0f},{py}" for px, py in points)}" fill="none" stroke="#555" '
            f'marker-end="url(#head)"><title>{one} imports {other}</title></polyline>'
        )
    lines += [box(room, x[room, row], y(row), BOX, "#e8eef7") for room, row in sorted(level.items())]
    lines.append(box(" · ".join(GROUND), WIDTH / 2, y(-1), WIDTH - 2 * MARGIN, "#eee"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def box(label: str, x: float, y: int, width: int, fill: str) -> str:
    return (
        f'<rect x="{x - width / 2:.0f}" y="{y - HEIGHT // 2}" width="{width}" height="{HEIGHT}" rx="5" '
        f'fill="{fill}" stroke="#333"/><text x="{x:.0f}" y="{y + 5}">{label}</text>'
    )


if __name__ == "__main__":
    try:
        DRAWING.write_text(drawing(rooms()), encoding="utf-8")
    except ValueError as error:
        sys.exit(str(error))

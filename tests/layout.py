"""Rooms, levels and edges of the package: `python -m tests.layout` prints them; `tests/test_layout.py` bounds them."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGE = "prefect_foxapi"


@dataclass(frozen=True)
class Layout:
    """Imports between the rooms of the package.

    Attributes:
        rooms: The modules and packages at the top.
        edges: Pairs of rooms of which the first imports the second.
        upward: Those edges that the layers of the import contract forbid.
        circles: Rooms that import each other, directly or through others.
        levels: Rooms by the length of the longest chain of imports below them.
    """

    rooms: frozenset[str]
    edges: frozenset[tuple[str, str]]
    upward: frozenset[tuple[str, str]]
    circles: frozenset[str]
    levels: dict[int, list[str]]


def read_layout() -> Layout:
    """Return the layout of the package, imports for type checkers left out."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    rooms = frozenset(name.removeprefix(f"{PACKAGE}.") for name in graph.find_children(PACKAGE))
    edges = {
        (importer.split(".")[1], imported.split(".")[1])
        for importer in graph.modules - {PACKAGE}
        for imported in graph.find_modules_directly_imported_by(importer) - {PACKAGE}
    }
    edges = {(importer, imported) for importer, imported in edges if importer != imported}
    height = _heights_in_contract()
    upward = {(importer, imported) for importer, imported in edges if height[importer] <= height[imported]}
    below = _reachable(rooms, edges)
    circles = {room for room in rooms if room in below[room]}
    levels: dict[int, list[str]] = {}
    for room in sorted(rooms):
        levels.setdefault(_longest_chain(room, edges - upward), []).append(room)
    return Layout(rooms, frozenset(edges), frozenset(upward), frozenset(circles), dict(sorted(levels.items())))


def _heights_in_contract() -> dict[str, int]:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = [
        contract["layers"]
        for contract in configuration["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers" and contract.get("containers") == [PACKAGE]
    ]
    return {
        room.strip("()"): height
        for height, layer in enumerate(reversed(layers))
        for room in re.split(r"\s*[|:]\s*", layer)
    }


def _reachable(rooms: frozenset[str], edges: set[tuple[str, str]]) -> dict[str, set[str]]:
    below = {room: {imported for importer, imported in edges if importer == room} for room in rooms}
    for _ in rooms:
        for found in below.values():
            found |= {further for room in tuple(found) for further in below[room]}
    return below


def _longest_chain(room: str, edges: set[tuple[str, str]]) -> int:
    return 1 + max((_longest_chain(imported, edges) for importer, imported in edges if importer == room), default=0)


def main() -> int:
    """Print the layout. Returns 1 where an edge runs upward or in a circle."""
    layout = read_layout()
    for level, rooms in reversed(layout.levels.items()):
        print(f"level {level}: {', '.join(rooms)}")
    print(f"{len(layout.rooms)} rooms, {len(layout.levels)} levels, {len(layout.edges)} edges")
    print(f"{len(layout.upward)} edges upward, {len(layout.circles)} rooms in circles")
    return 1 if layout.upward or layout.circles else 0


if __name__ == "__main__":
    sys.exit(main())

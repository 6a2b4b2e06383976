"""Prints constraints.txt: what is installed beside this script's interpreter, in two parts.

The second part is what Prefect brings. The Makefile leaves it out where it installs another Prefect.
"""

from __future__ import annotations

import re
from importlib.metadata import distribution, distributions, requires

from packaging.requirements import Requirement

PROJECT = "prefect-foxapi"
NOT_PINNED = {PROJECT, "pip", "setuptools", "wheel"}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str, extras: frozenset[str] = frozenset(), seen: set[tuple[str, str]] | None = None) -> set[str]:
    """A distribution and everything that it requires here."""
    seen = set() if seen is None else seen
    for extra in {"", *extras}:
        if (normalized(name), extra) in seen:
            continue
        seen.add((normalized(name), extra))
        for line in requires(name) or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                closure(wanted.name, frozenset(wanted.extras), seen)
    return {found for found, _ in seen}


def main() -> None:
    names = {normalized(found.metadata["Name"]) for found in distributions()} - NOT_PINNED
    of_prefect = closure("prefect") & names
    print("# Made by `make constraints`: what .[dev,docs] installs.")
    for title, part in (("This package and its tools", names - of_prefect), ("Prefect", of_prefect)):
        print(f"\n# {title}")
        for name in sorted(part):
            print(f"{name}=={distribution(name).version}")


if __name__ == "__main__":
    main()

"""The examples of a Markdown file, and how one is run."""

from __future__ import annotations

import ast
import asyncio
import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import iscoroutine
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"(<!-- notest[^\n]*-->\n)?^( *)```python[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_SAYS_SOMETHING = re.compile(r"^\s*assert |__main__|^def test_", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A block of Python.

    Attributes:
        page: The file.
        line: The number of its first line.
        code: The code.
        runs: Whether it is to be run.
    """

    page: Path
    line: int
    code: str
    runs: bool

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def checks_something(self) -> bool:
        """Whether running it can fail for another reason than a wrong name."""
        return bool(_SAYS_SOMETHING.search(self.code))

    def run(self, folder: Path) -> dict[str, Any]:
        """Run it as a script, and then its tests; return its names."""
        # From a file, since Prefect reads the source of a flow.
        path = folder / f"example_{self.line}.py"
        path.write_text(self.code, encoding="utf-8")
        tree = compile(self.code, str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
        if tree.co_flags & 0x80:  # a coroutine: the cell of a notebook
            running = eval(tree, names)
            assert iscoroutine(running)
            asyncio.run(running)
        else:
            names = runpy.run_path(str(path), run_name="__main__")
        for name, function in names.items():
            if name.startswith("test_"):
                function()
        return names


def examples(page: Path) -> Iterator[Example]:
    """Every block of Python in a file."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        yield Example(page, text[: found.start(3)].count("\n"), found.group(3), runs=found.group(1) is None)

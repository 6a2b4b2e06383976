"""A type checker knows what the tasks return."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("inferred_types.py")


def test_pyright_infers_the_types_of_results(tmp_path: Path) -> None:
    # Elsewhere, as a user's file: under this project's own rules, Prefect's types are errors.
    program = tmp_path / PROGRAM.name
    source = PROGRAM.read_text(encoding="utf-8")
    program.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(program)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    lines = source.splitlines()
    errors = [
        (lines[found["range"]["start"]["line"]].strip(), found.get("rule"))
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    ]
    # The last three lines show that it looks at all.
    expected = zip(lines[-3:], ("reportArgumentType", "reportCallIssue", "reportAssertTypeFailure"), strict=True)
    assert errors == [(line.strip(), rule) for line, rule in expected]

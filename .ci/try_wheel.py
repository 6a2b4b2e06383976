"""Installs a wheel into a clean environment, as a user does, and makes a generation with it: `try_wheel.py FILE`.

What it needs is not pinned: a release that breaks users shows here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

FLOW = """
import sysconfig

import prefect_foxapi
from prefect import flow
from prefect_foxapi import FoxAPICredentials, generate
from prefect_foxapi.emulator import Emulator


@flow
def capital(credentials: FoxAPICredentials) -> str:
    return generate("The capital of France?", model="gpt-5.5", credentials=credentials).text


if __name__ == "__main__":
    assert prefect_foxapi.__file__.startswith(sysconfig.get_path("purelib")), prefect_foxapi.__file__
    with Emulator() as emulator:
        emulator.script(when="capital", answer="Paris.")
        credentials = FoxAPICredentials(api_key=emulator.api_key, base_url=emulator.url)
        assert [capital(credentials), capital(credentials)] == ["Paris.", "Paris."]
        assert len(emulator.ledger()) == 1
    print("one generation, paid for once")
"""
WITHOUT_EMULATOR = """
import prefect_foxapi

for name in prefect_foxapi.__all__:
    getattr(prefect_foxapi, name)
try:
    from prefect_foxapi.emulator import Emulator

    Emulator()
except ImportError as error:
    assert "prefect-foxapi[emulator]" in str(error), error
else:
    raise AssertionError("the emulator's dependencies are installed without its extra")
print("without the emulator's extra: everything imports, and the emulator names it")
"""


def main(wheel: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = folder / "environment" / ("Scripts" if os.name == "nt" else "bin") / "python"
        venv.create(folder / "environment", with_pip=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))}
        environment |= {
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        }

        def run(*command: str | Path) -> None:
            subprocess.run([python, *command], check=True, cwd=folder, env=environment)

        def install(what: str) -> None:
            run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", what)

        def run_script(text: str) -> None:
            # Prefect reads a flow's source: from a file.
            (folder / "script.py").write_text(text)
            run("script.py")

        install(str(wheel))
        run_script(WITHOUT_EMULATOR)
        install(f"{wheel}[emulator]")
        run_script(FLOW)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

"""Which names of the package a pickle needs."""

from __future__ import annotations

import io
import pickle
from typing import Any

import cloudpickle
from pydantic import BaseModel

from prefect_foxapi.models import Generation


class Answer(BaseModel):
    """An output type."""

    text: str


def imported_names(content: bytes) -> set[str]:
    """Load a pickle; returns what it imports from the package, as `module:name`."""
    names: set[str] = set()

    class Recorder(pickle.Unpickler):
        def find_class(self, module: str, name: str, /) -> Any:
            if module.split(".")[0] == "prefect_foxapi":
                names.add(f"{module}:{name}")
            return super().find_class(module, name)

    Recorder(io.BytesIO(content)).load()
    return names


def imported_by_value() -> list[str]:
    """What the pickle of a generic class imports that was parametrized within a function.

    cloudpickle finds no such class by its name, and takes its definition into the pickle. No such pickle is in the
    fixture: only the same version of Python and of pydantic reads it.
    """
    typed = Generation[Answer](generation_id="gen-1", model="gpt-5.5", parsed=Answer(text="blue"))
    return sorted(imported_names(cloudpickle.dumps(typed)))

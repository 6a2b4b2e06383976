"""What this version stores names the same classes and fields, so that 0.1.0 reads it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefect_foxapi.emulator import Emulator
from tests.compatibility.archive import in_home, unpack
from tests.compatibility.exchange import API_KEY, store
from tests.compatibility.pickles import imported_names

# What a value in JSON says about the class of an object.
CLASS_NAMES = ("__class__", "__type__", "__exc_type__")
# A field of the generations of this version. 0.1.0 keeps it as an unknown field.
ADDED = "parsed_types"


@pytest.fixture(scope="module")
def records(
    prefect_api: None, manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Path, Path]]]:
    """The files of each result: that of then, and that of now."""
    then = unpack(tmp_path_factory.mktemp("then"))
    with in_home(tmp_path_factory.mktemp("now")) as now, Emulator(api_key=API_KEY, duration=0.02) as emulator:
        stored = store(emulator)
        yield {
            name: (then / "storage" / entry["record"], now / "storage" / stored[name]["record"])
            for name, entry in manifest["calls"].items()
        }


def test_files_have_the_same_names(records: dict[str, tuple[Path, Path]]) -> None:
    for then, now in records.values():
        # A key differs, since the base URL is another one.
        assert re.sub("[0-9a-f]{64}", "KEY", then.name) == re.sub("[0-9a-f]{64}", "KEY", now.name)


def test_records_name_the_same_serializer(records: dict[str, tuple[Path, Path]]) -> None:
    serializers = {name: [_read(path)["metadata"]["serializer"] for path in paths] for name, paths in records.items()}
    assert {name: [then, now] for name, (then, now) in serializers.items() if then != now} == {}


def test_json_has_the_same_classes_and_fields(records: dict[str, tuple[Path, Path]]) -> None:
    shapes = {
        name: [_shape(json.loads(_read(path)["result"])) for path in paths]
        for name, paths in records.items()
        if _read(paths[0])["metadata"]["serializer"]["type"] == "json"
    }
    assert len(shapes) > 40
    assert {name: [then, now] for name, (then, now) in shapes.items() if then != now} == {}


def test_json_names_the_classes_of_an_answer_a_second_time_apart_from_it(
    records: dict[str, tuple[Path, Path]],
) -> None:
    """0.1.0 finds them within `parsed`. This version obeys the names beside it alone."""
    named: list[str] = []
    for name, (then, now) in records.items():
        if name.startswith("output type"):
            old, new = (json.loads(_read(path)["result"])["data"] for path in (then, now))
            assert ADDED not in old
            assert sorted(new[ADDED].values()) == sorted(_names_in(new["parsed"]))
            assert set(_names_in(old["parsed"])) == set(_names_in(new["parsed"]))
            named += new[ADDED].values()
    assert len(set(named)) > 7


def test_pickles_import_the_same_names(records: dict[str, tuple[Path, Path]]) -> None:
    imported = {
        name: [imported_names(base64.decodebytes(_read(path)["result"].encode())) for path in paths]
        for name, paths in records.items()
        if _read(paths[0])["metadata"]["serializer"]["type"] == "pickle"
    }
    assert all(then for then, _ in imported.values())
    assert {name: [then - now, now - then] for name, (then, now) in imported.items() if then != now} == {}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())


def _shape(value: Any) -> Any:
    """The names in JSON data, without its values; of a list, each kind of item once."""
    if isinstance(value, dict):
        items = sorted((name, item) for name, item in value.items() if name != ADDED)
        return {name: item if name in CLASS_NAMES else _shape(item) for name, item in items}
    if isinstance(value, list):
        return sorted({json.dumps(_shape(item)) for item in value})
    return "value"


def _names_in(value: Any) -> list[str]:
    """The names of classes in the data of an answer."""
    if isinstance(value, dict):
        own = [value["__type__"]] if "__type__" in value else []
        return own + [name for item in value.values() for name in _names_in(item)]
    return [name for item in value for name in _names_in(item)] if isinstance(value, list) else []

"""The generation key: equal for equal requests however they are written, and another for anything that matters."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from prefect_foxapi import FoxAPICredentials, generate, stream_generation, submit_generation
from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.attachments import audio, document, image, video
from prefect_foxapi.models.generation_key import (
    IN_THE_KEY,
    NOT_IN_THE_KEY,
    canonical_json,
    digests_of,
    generation_key,
    salted_key,
)
from prefect_foxapi.models.messages import assistant, system, user
from prefect_foxapi.models.requests import GenerationRequest, KeyRole, build_request
from tests.models.golden.requests import ACCOUNT, BASE_URL, FILES, City, keys
from tests.support.outputs import Capital

ROOT = Path(__file__).parents[2]
GOLDEN: dict[str, str] = json.loads((ROOT / "tests" / "models" / "golden" / "keys.json").read_text(encoding="utf-8"))


def key(prompt: Any = "count 1 to 3", *, stream: bool = False, output_type: Any = None, **parameters: Any) -> str:
    identity = {"account": ACCOUNT, "base_url": BASE_URL, "sample": 0}
    identity |= {name: parameters.pop(name) for name in list(identity) if name in parameters}
    request = build_request(
        prompt, model=parameters.pop("model", "gpt-5.5"), output_type=output_type, stream=stream, parameters=parameters
    )
    return generation_key(request, **identity)


# Keys are kept for ever: in ledgers, and in result storage that many machines share.


def test_keys_are_those_of_all_time() -> None:
    assert len(GOLDEN) >= 15
    assert keys() == GOLDEN


def test_golden_keys_are_all_different() -> None:
    same = {"seed plain_text", "seed text_array"}, {"data URI", "local file"}
    for names in same:
        assert len({GOLDEN[name] for name in names}) == 1
    assert len(set(GOLDEN.values())) == len(GOLDEN) - len(same)
    assert all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in GOLDEN.values())


INTERPRETERS = [Path(sys.executable), *sorted(ROOT.glob(".venv-*/bin/python"))]


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
@pytest.mark.parametrize("interpreter", INTERPRETERS, ids=lambda path: path.parts[-3])
def test_keys_are_the_same_in_every_process(interpreter: Path, hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [str(interpreter), "-m", "tests.models.golden.requests"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == GOLDEN


# Differently written, and equal


@pytest.mark.parametrize(
    "prompt",
    [
        ["count 1 to 3"],
        user("count 1 to 3"),
        [user("count 1 to 3")],
        [{"role": "user", "content": "count 1 to 3"}],
        [{"content": "count 1 to 3", "role": "user"}],
        [{"type": "text", "text": "count 1 to 3"}],
        [{"role": "user", "content": [{"text": "count 1 to 3", "type": "text"}]}],
        {"role": "user", "content": "count 1 to 3", "name": None},
    ],
)
def test_same_prompt_written_differently(prompt: Any) -> None:
    assert key(prompt) == key("count 1 to 3")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"max_tokens": None, "temperature": None, "top_p": None, "stop": None}, {}),
        ({"max_tokens": 64, "temperature": 1}, {"temperature": 1.0, "max_tokens": 64}),
        ({"temperature": 0}, {"temperature": -0.0}),
        ({"stop": ("a", "b")}, {"stop": ["a", "b"]}),
        ({"logit_bias": {"a": 1, "b": 2.0}}, {"logit_bias": {"b": 2, "a": 1.0}}),
        ({"tools": [{"x": {"a": 1, "b": 2}}]}, {"tools": [{"x": {"b": 2, "a": 1}}]}),
        ({"model": " gpt-5.5 "}, {}),
        ({"stream": True}, {}),
        ({"output_type": Capital}, {"output_type": Capital}),
    ],
)
def test_same_parameters_written_differently(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(**one) == key(**other)


def test_tool_calls_written_differently() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": ""}}
    short = {"id": "c", "function": {"name": "look"}}
    assert key([user("x"), assistant(tool_calls=[call])]) == key([user("x"), assistant(tool_calls=[short])])
    dicts = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert key(dicts) == key([user("x"), assistant(tool_calls=[call])])


def test_origin_written_differently() -> None:
    for base_url in ("https://api.foxapi.cc/", " https://API.foxapi.cc:443"):
        block = FoxAPICredentials(api_key=SecretStr("sk-a"), base_url=base_url)
        assert block.client_config.base_url == BASE_URL


# Anything that can change the answer changes the key.

BASE: dict[str, Any] = {
    "prompt": [system("Be terse."), user("Look.", image("https://e.org/1.png")), assistant("Yes?"), user("Well?")],
    "model": "gemini-3-pro-preview",
    "max_tokens": 64,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": ["a", "b"],
    "seed": 1,
    "tools": [{"type": "function", "function": {"name": "look"}}],
}
CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "model": lambda asked: asked.update(model="gemini-3-flash"),
    "max_tokens": lambda asked: asked.update(max_tokens=65),
    "max_tokens left out": lambda asked: asked.pop("max_tokens"),
    "temperature": lambda asked: asked.update(temperature=0.50001),
    "top_p": lambda asked: asked.update(top_p=1),
    "stop": lambda asked: asked.update(stop=["b", "a"]),
    "stop left out": lambda asked: asked.pop("stop"),
    "further parameter": lambda asked: asked.update(seed=2),
    "further parameter's kind": lambda asked: asked.update(seed="1"),
    "true is not one": lambda asked: asked.update(seed=True),
    "further parameter left out": lambda asked: asked.pop("seed"),
    "another parameter": lambda asked: asked.update(n=1),
    "a parameter that is null": lambda asked: asked.update(n=None),
    "within a parameter": lambda asked: asked["tools"][0]["function"].update(name="listen"),
    "sample": lambda asked: asked.update(sample=1),
    "account": lambda asked: asked.update(account="sales"),
    "base url": lambda asked: asked.update(base_url="https://eu.foxapi.cc"),
    "output type": lambda asked: asked.update(output_type=Capital),
    "another output type": lambda asked: asked.update(output_type=City),
    "output type in a list": lambda asked: asked.update(output_type=list[Capital]),
    "text": lambda asked: asked["prompt"].__setitem__(3, user("Well!")),
    "space": lambda asked: asked["prompt"].__setitem__(3, user("Well? ")),
    "role": lambda asked: asked["prompt"].__setitem__(3, system("Well?")),
    "order": lambda asked: asked["prompt"].reverse(),
    "one message less": lambda asked: asked["prompt"].pop(0),
    "one message twice": lambda asked: asked["prompt"].append(user("Well?")),
    "name": lambda asked: asked["prompt"].__setitem__(3, {"role": "user", "content": "Well?", "name": "Ada"}),
    "text in two parts": lambda asked: asked["prompt"].__setitem__(3, user("Well", "?")),
    "url": lambda asked: asked["prompt"].__setitem__(1, user("Look.", image("https://e.org/2.png"))),
    "kind of attachment": lambda asked: asked["prompt"].__setitem__(1, user("Look.", document("https://e.org/1.png"))),
    "attachment first": lambda asked: asked["prompt"].__setitem__(1, user(image("https://e.org/1.png"), "Look.")),
    "detail": lambda asked: asked["prompt"].__setitem__(
        1, user("Look.", {"type": "image_url", "image_url": {"url": "https://e.org/1.png", "detail": "low"}})
    ),
    "cache control": lambda asked: asked["prompt"].__setitem__(
        0, system({"type": "text", "text": "Be terse.", "cache_control": {"type": "ephemeral"}})
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_single_change(change: Callable[[dict[str, Any]], Any]) -> None:
    asked = deepcopy(BASE)
    change(asked)
    assert key(**asked) != key(**BASE)


def test_changes_do_not_meet_each_other() -> None:
    found: dict[str, str] = {}
    for name, change in CHANGES.items():
        asked = deepcopy(BASE)
        change(asked)
        assert found.setdefault(key(**asked), name) == name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON)
def test_parameter_s_key_is_that_of_its_json(value: Any) -> None:
    there_and_back = json.loads(json.dumps(value))
    assert key(metadata=value) == key(metadata=there_and_back)
    assert key(metadata={"deep": value}) == key(metadata={"deep": reversed_keys(there_and_back)})


@given(one=JSON, other=JSON)
def test_different_json_has_different_keys(one: Any, other: Any) -> None:
    assert (canonical_json(one) == canonical_json(other)) == same_json(one, other)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reversed_keys(value[name]) for name in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


def same_json(one: Any, other: Any) -> bool:
    """Equality of JSON: numbers by value, and neither true nor false is one."""
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(same_json(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


@given(one=st.text(min_size=1), other=st.text(min_size=1))
def test_different_prompts_have_different_keys(one: str, other: str) -> None:
    if one.strip() and other.strip():
        assert (key(one) == key(other)) == (one == other)


# Files count by their content.

HELPERS = {"image": image, "video": video, "audio": audio, "document": document}


@pytest.mark.parametrize("helper", HELPERS.values(), ids=HELPERS.keys())
def test_file_counts_by_its_content(tmp_path: Path, helper: Callable[..., Any]) -> None:
    one, copy, other = tmp_path / "a.png", tmp_path / "folder" / "b.png", tmp_path / "c.png"
    copy.parent.mkdir()
    for path, content in ((one, b"same"), (copy, b"same"), (other, b"else")):
        path.write_bytes(content)
    model = "gemini-3-pro-preview"
    reference = key(["x", helper(one)], model=model)
    assert key(["x", helper(copy)], model=model) == reference
    assert key(["x", helper(b"same", name="d.png")], model=model) == reference
    assert key(["x", helper(other)], model=model) != reference
    one.write_bytes(b"changed")
    assert key(["x", helper(one)], model=model) != reference


def test_kinds_of_attachment_count(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"same")
    found = {key(["x", helper(path)], model="gemini-3-pro-preview") for helper in HELPERS.values()}
    assert len(found) == len(HELPERS)


def test_key_says_nothing_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"same")
    monkeypatch.chdir(tmp_path)
    assert key(["x", image(Path("a.png"))]) == key(["x", image(tmp_path / "a.png")])


def test_upload_has_no_influence(tmp_path: Path) -> None:
    """The key is made before anything is uploaded; what is sent in the end has another URL each time."""
    path = tmp_path / "a.png"
    path.write_bytes(b"same")
    request = GenerationRequest.build(["x", image(path)], model="gpt-5.5")
    digests = digests_of(request)
    identity = {"account": ACCOUNT, "base_url": BASE_URL}
    reference = generation_key(request, **identity)
    assert generation_key(request, **identity, digests=digests) == reference
    for upload in ("https://files.foxapi.cc/1", "https://files.foxapi.cc/2"):
        request.with_attachments({path.as_uri(): upload})
        assert generation_key(request, **identity) == reference
        sent = request.with_attachments({path.as_uri(): upload})
        assert generation_key(sent, **identity, digests={upload: digests[path.as_uri()]}) == reference


def test_digests(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    parts = [image(tmp_path / "photo.png"), image(FILES["photo.png"], name="x.png"), image("https://e.org/x.png")]
    found = digests_of(GenerationRequest.build(["x", *parts, *parts], model="gpt-5.5"))
    assert len(found) == 2
    assert len(set(found.values())) == 1


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"same")
    request = GenerationRequest.build(["x", image(path)], model="gpt-5.5")
    path.unlink()
    with pytest.raises(InvalidRequest) as caught:
        generation_key(request, account=ACCOUNT, base_url=BASE_URL)
    assert caught.value.field == "messages.0.content.1.image_url"


@pytest.mark.parametrize(
    "sample", [None, "1", 1.5, object(), [1], 2**1024, -(10**5000)], ids=lambda value: type(value).__name__
)
def test_sample_is_a_whole_number(sample: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        key(sample=sample)
    assert caught.value.field == "sample"


# Everything is classified.


def arguments_of(task: Any) -> set[str]:
    return set(inspect.signature(task.fn).parameters)


FIELDS = {
    "GenerationRequest": set(GenerationRequest.model_fields),
    "FoxAPICredentials": {name for name in FoxAPICredentials.model_fields if not name.startswith("_")},
    "generate": arguments_of(generate),
    "stream_generation": arguments_of(stream_generation),
    "submit_generation": arguments_of(submit_generation),
}


@pytest.mark.parametrize("owner", FIELDS)
def test_everything_is_classified_as_in_or_out(owner: str) -> None:
    undecided = FIELDS[owner] - IN_THE_KEY - NOT_IN_THE_KEY
    assert undecided == set(), "say in generation_key.py whether it is part of the key"


def test_field_without_a_role_is_refused() -> None:
    class Undecided(GenerationRequest):
        seed: int | None = None

    class Twice(GenerationRequest):
        seed: Annotated[int | None, KeyRole.IN_THE_KEY, KeyRole.NOT_IN_THE_KEY] = None

    for kind in (Undecided, Twice):
        with pytest.raises(TypeError, match="seed"):
            kind.fields_with(KeyRole.IN_THE_KEY)


def test_roles_of_the_fields() -> None:
    roles = {role: GenerationRequest.fields_with(role) for role in KeyRole}
    assert roles[KeyRole.NOT_IN_THE_KEY] == {"stream"} == NOT_IN_THE_KEY & set(GenerationRequest.model_fields)
    assert roles[KeyRole.IN_THE_KEY] == IN_THE_KEY & set(GenerationRequest.model_fields)


def test_nothing_is_both_or_gone() -> None:
    assert not IN_THE_KEY & NOT_IN_THE_KEY
    assert set().union(*FIELDS.values()) == IN_THE_KEY | NOT_IN_THE_KEY


def test_what_the_request_says_out_is_out_and_the_rest_is_in() -> None:
    values: dict[str, Any] = {
        "model": "m",
        "messages": [user("other")],
        "stream": True,
        "max_tokens": 9,
        "temperature": 0.1,
        "top_p": 0.2,
        "stop": "x",
    }
    assert set(values) == set(GenerationRequest.model_fields)
    reference = GenerationRequest.build("x", model="gemini")
    identity = {"account": ACCOUNT, "base_url": BASE_URL}
    for name, value in values.items():
        changed = GenerationRequest.model_validate({**reference.body(), name: value})
        is_out = generation_key(changed, **identity) == generation_key(reference, **identity)
        assert is_out == (name in NOT_IN_THE_KEY), name


def test_salted_keys() -> None:
    salts = [(), ("a",), ("b",), ("a", "b"), ("ab",), ("a", ""), ("", "a")]
    assert len({salted_key("0" * 64, *salt) for salt in salts}) == len(salts)
    assert salted_key("0" * 64, "a") != salted_key("1" * 64, "a")
    assert salted_key("0" * 64, "a") == salted_key("0" * 64, "a")


async def test_key_of_a_known_file_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    """Prefect computes a cache key on the event loop; once the digest is known, the file is not read there."""
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    request = GenerationRequest.build(["x", document(path)], model="gemini-3-pro-preview")
    clock = time.perf_counter
    started = clock()
    await asyncio.to_thread(digests_of, request)
    needed = clock() - started
    # A file that has just changed is read each time.
    is_new = True
    while is_new:
        is_new = time.time_ns() - path.stat().st_ctime_ns < 200_000_000
        await asyncio.to_thread(digests_of, request)
    known = clock()
    generation_key(request, account=ACCOUNT, base_url=BASE_URL)
    assert clock() - known < needed / 4

"""Pairs of requests that must have different keys, and pairs that must have the same.

Run as a program, it prints the keys of all of them, as a process makes them that has made no key before. With the
argument `reversed` it makes them in the reverse order.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from annotated_types import Ge, Gt
from pydantic import BaseModel, Field, create_model
from typing_extensions import TypedDict

from prefect_foxapi.models.attachments import audio, document, image, video
from prefect_foxapi.models.messages import Attachment, ImagePart, TextPart, UserMessage, assistant, system, user
from tests.models.golden.requests import key_of

T = TypeVar("T")
Asked = dict[str, Any]
Pair = tuple[Asked, Asked]

PNG, JPEG, PDF = b"\x89PNG\r\n\x1a\n pixels", b"\xff\xd8\xff\xe0 pixels", b"%PDF-1.7\n%"
TABLE = b"a,b\n1,2\n"
FILES = {
    **{f"table.{extension}": TABLE for extension in ("csv", "pdf", "txt", "tsv", "json", "xyz", "CSV")},
    **{f"pixels.{extension}": PNG for extension in ("png", "jpg", "gif", "PNG")},
    **{f"photo.{extension}": JPEG for extension in ("jpg", "jpeg", "png")},
    **{f"sound.{extension}": b"ID3 sound" for extension in ("mp3", "wav", "ogg")},
    **{f"clip.{extension}": b"frames" for extension in ("mp4", "webm")},
    **{f"report.{extension}": PDF for extension in ("pdf", "txt")},
    "other.png": PNG + b"!",
    "copy of pixels.png": PNG,
    "copy of table.csv": TABLE,
}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


class Page(BaseModel, Generic[T]):
    items: list[T]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Reversed(Enum):
    BLUE = "blue"
    RED = "red"


class City(BaseModel):
    name: str
    population: int | None = None


class Town(BaseModel):
    name: str
    population: int | None = None


def _city(*, doc: str | None = None, **fields: Any) -> type[BaseModel]:
    """A class of the same name, made anew."""
    known: dict[str, Any] = {"name": (str, ...), "population": (int | None, None)}
    return create_model("City", __doc__=doc, __module__=__name__, **{**known, **fields})


class Point(NamedTuple):
    x: float
    y: float


@dataclass
class Place:
    street: str
    number: int = 1


class Terms(TypedDict):
    words: list[str]


class Tagged(BaseModel):
    tags: set[str] = {"alpha", "beta", "gamma", "delta", "epsilon"}
    frozen: frozenset[Colour] = frozenset({Colour.RED, Colour.BLUE})
    nested: dict[str, set[str]] = {"a": {"x", "y", "z", "w"}}
    pages: Page[set[str]] = Page[set[str]](items=[{"p", "q", "r", "s"}])


def _plain(**asked: Any) -> Asked:
    return {"prompt": "count 1 to 3", "model": "gpt-5.5", **asked}


def _typed(output_type: Any) -> Asked:
    return _plain(output_type=output_type)


def _with(**parameters: Any) -> Asked:
    return _plain(parameters=parameters)


def _said(*prompt: Any) -> Asked:
    return {"prompt": list(prompt), "model": "gemini-3-pro-preview"}


def _inline(media_type: str, content: bytes = TABLE) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _part(kind: str, url: str, **further: Any) -> Any:
    return {"type": kind, kind: {"url": url, **further}}


def different(folder: Path) -> dict[str, Pair]:
    """Pairs that must have different keys."""
    types: dict[str, tuple[Any, Any]] = {
        "union": (int | str, str | int),
        "union of three": (int | str | float, int | float | str),
        "list of a union": (list[int | str], list[str | int]),
        "dict of a union": (dict[str, int | str], dict[str, str | int]),
        "tuple of unions": (tuple[int | str, ...], tuple[str | int, ...]),
        "union in a union": (list[int | str] | None, list[str | int] | None),
        "annotated union": (Annotated[int | str, "x"] | None, list[Annotated[str | int, "x"]]),
        "literal": (Literal["a", "b"], Literal["b", "a"]),
        "list of a literal": (list[Literal["a", "b"]], list[Literal["b", "a"]]),
        "literal of three": (Literal[1, 2, 3], Literal[3, 2, 1]),
        "literal one and true": (Literal[1], Literal[True]),
        "list of literal one and true": (list[Literal[1]], list[Literal[True]]),
        "literal zero and false": (Literal[0, 1], Literal[False, True]),
        "literal number and text": (Literal[1], Literal["1"]),
        "enum": (Colour, Reversed),
        "number": (int, float),
        "number and boolean": (int, bool),
        "generic model": (Page[int], Page[str]),
        "list and set": (list[int], set[int]),
        "list and tuple": (list[int], tuple[int, ...]),
        "date and time": (date, datetime),
        "constraint": (Annotated[int, Ge(1)], Annotated[int, Gt(1)]),
        "description": (Annotated[int, Field(description="a")], Annotated[int, Field(description="b")]),
        "name of a class": (City, Town),
        "docstring of a class": (_city(doc="A city."), _city(doc="A town.")),
        "further field": (_city(), _city(mayor=(str, ...))),
        "default of a field": (_city(mayor=(str, "a")), _city(mayor=(str, "b"))),
        "default true and one": (_city(mayor=(Any, True)), _city(mayor=(Any, 1))),
        "alias": (_city(mayor=(str, Field(alias="a"))), _city(mayor=(str, Field(alias="b")))),
        "order of fields": (_city(a=(str, ...), b=(str, ...)), _city(b=(str, ...), a=(str, ...))),
        "none and no output type": (type(None), None),
    }
    parameters: dict[str, tuple[Asked, Asked]] = {
        "true and one": ({"seed": True}, {"seed": 1}),
        "false and zero": ({"logprobs": False}, {"logprobs": 0}),
        "true and one, deep": ({"metadata": {"a": [True]}}, {"metadata": {"a": [1]}}),
        "number and text": ({"seed": 1}, {"seed": "1"}),
        "null and nothing": ({"seed": None}, {}),
        "null and zero": ({"seed": None}, {"seed": 0}),
        "empty list and empty object": ({"metadata": []}, {"metadata": {}}),
        "order of stop": ({"stop": ["a", "b"]}, {"stop": ["b", "a"]}),
        "stop": ({"stop": "a"}, {"stop": "b"}),
        "stop of two": ({"stop": ["a", "b"]}, {"stop": ["a"]}),
        "stop twice": ({"stop": ["a", "a"]}, {"stop": ["a"]}),
        "stop of a list's text": ({"stop": '["a"]'}, {"stop": ["a"]}),
        "empty stop": ({"stop": ""}, {}),
        "text in another list": ({"modalities": ["text"]}, {"modalities": "text"}),
        "large numbers": ({"seed": 2**53}, {"seed": 2**53 + 1}),
        "close numbers": ({"temperature": 0.1}, {"temperature": 0.1 + 2**-55}),
        "sign": ({"frequency_penalty": 1}, {"frequency_penalty": -1}),
        "max_tokens": ({"max_tokens": 64}, {"max_tokens": 65}),
        "top_p": ({"top_p": 0.1}, {"temperature": 0.1}),
        "order of tools": ({"tools": [TOOL, {}]}, {"tools": [{}, TOOL]}),
        "name of a parameter": ({"top_k": 1}, {"top_a": 1}),
        "response format": ({"response_format": {"type": "text"}}, {"response_format": {"type": "json_object"}}),
    }
    prompts: dict[str, Pair] = {
        "space": (_said("a b"), _said("a  b")),
        "space at the end": (_said("a"), _said("a ")),
        "line ends": (_said("a\nb"), _said("a\r\nb")),
        "composed and decomposed": (_said("\u00e9"), _said("e\u0301")),
        "case": (_said("a"), _said("A")),
        "two texts": (_said("ab"), _said("a", "b")),
        "where texts are divided": (_said("ab", "c"), _said("a", "bc")),
        "two messages": (_said("a", "b"), _said(user("a"), user("b"))),
        "role": (_said(user("a")), _said(system("a"))),
        "order of messages": (_said(user("a"), assistant("b")), _said(assistant("b"), user("a"))),
        "empty answer and none": (
            _said(user("a"), {"role": "assistant", "content": "", "tool_calls": [CALL]}),
            _said(user("a"), {"role": "assistant", "content": None, "tool_calls": [CALL]}),
        ),
        "arguments of a tool call": (
            _said(user("a"), assistant(tool_calls=[CALL])),
            _said(user("a"), assistant(tool_calls=[{**CALL, "function": {"name": "look", "arguments": '{"at":1}'}}])),
        ),
        "url and its text": (_said("a", "https://e.org/x.png"), _said("a", TextPart(text="https://e.org/x.png"))),
        "query of a url": (_said(image("https://e.org/x.png?a")), _said(image("https://e.org/x.png?b"))),
        "order of attachments": (
            _said(image("https://e.org/x.png"), image("https://e.org/y.png")),
            _said(image("https://e.org/y.png"), image("https://e.org/x.png")),
        ),
        "detail": (
            _said(_part("image_url", "https://e.org/x.png", detail="low")),
            _said(_part("image_url", "https://e.org/x.png", detail="high")),
        ),
    }
    attachments: dict[str, tuple[Any, Any]] = {
        "csv and pdf": (document(folder / "table.csv"), document(folder / "table.pdf")),
        "csv and text": (document(folder / "table.csv"), document(folder / "table.txt")),
        "csv and tsv": (document(folder / "table.csv"), document(folder / "table.tsv")),
        "text and json": (document(folder / "table.txt"), document(folder / "table.json")),
        "csv and unknown": (document(folder / "table.csv"), document(folder / "table.xyz")),
        "png and jpeg": (image(folder / "pixels.png"), image(folder / "pixels.jpg")),
        "gif and jpeg": (image(folder / "pixels.gif"), image(folder / "pixels.jpg")),
        "jpeg and png": (image(folder / "photo.jpg"), image(folder / "photo.png")),
        "mp3 and wav": (audio(folder / "sound.mp3"), audio(folder / "sound.wav")),
        "wav and ogg": (audio(folder / "sound.wav"), audio(folder / "sound.ogg")),
        "mp4 and webm": (video(folder / "clip.mp4"), video(folder / "clip.webm")),
        "pdf and text": (document(folder / "report.pdf"), document(folder / "report.txt")),
        "names of bytes": (document(TABLE, name="a.csv"), document(TABLE, name="a.pdf")),
        "names of pixels": (image(PNG, name="a.png"), image(PNG, name="a.webp")),
        "data URIs": (document(_inline("text/csv")), document(_inline("text/plain"))),
        "charset of a data URI": (
            document(_inline("text/plain;charset=utf-8")),
            document(_inline("text/plain;charset=utf-16")),
        ),
        "data URI and file": (document(_inline("text/plain")), document(folder / "table.csv")),
        "content": (image(folder / "pixels.png"), image(folder / "other.png")),
        "kind of part": (image(folder / "pixels.png"), document(_inline("image/png", b"other"))),
        "kind of part with equal bytes": (
            _part("audio_url", _inline("x/y")),
            _part("video_url", _inline("x/y")),
        ),
        "field named like the digest": (
            _part("file_url", _inline("text/plain"), sha256="a"),
            _part("file_url", _inline("text/plain"), sha256="b"),
        ),
        "field named like the media type": (
            _part("file_url", _inline("text/plain"), media_type="text/csv"),
            _part("file_url", _inline("text/csv")),
        ),
    }
    callers: dict[str, Pair] = {
        "sample": (_plain(sample=0), _plain(sample=1)),
        "sample below zero": (_plain(sample=1), _plain(sample=-1)),
        "sample true and two": (_plain(sample=True), _plain(sample=2)),
        "account": (_plain(account="a"), _plain(account="b")),
        "base url": (_plain(base_url="https://a.example"), _plain(base_url="https://b.example")),
        "path": (_plain(path="/v1/images/generations"), _plain()),
        "model": (_plain(model="gpt-5.5"), _plain(model="GPT-5.5")),
    }
    return {
        **{f"output type: {name}": (_typed(one), _typed(other)) for name, (one, other) in types.items()},
        **{f"parameter: {name}": (_with(**one), _with(**other)) for name, (one, other) in parameters.items()},
        **{f"prompt: {name}": pair for name, pair in prompts.items()},
        **{f"attachment: {name}": (_said("Look.", a), _said("Look.", b)) for name, (a, b) in attachments.items()},
        **callers,
    }


def same(folder: Path) -> dict[str, Pair]:
    """Pairs that must have the same key."""
    types: dict[str, tuple[Any, Any]] = {
        "class": (City, City),
        "optional": (int | None, None | int),
        "class made anew": (_city(), _city()),
        "list made anew": (list[City], list[City]),
        "union": (int | str, int | str),
        "union with a repetition": (int | str, int | str | int),
        "union in brackets": (int | str | float, int | (str | float)),
        "literal": (Literal["a", "b"], Literal["a", "b"]),
        "literal with a repetition": (Literal["a", "b"], Literal["a", "b", "a"]),
        "generic model": (Page[City], Page[City]),
        "generic model of a union": (Page[int | str], Page[int | str]),
        "annotation without a meaning": (Annotated[int, "a"], Annotated[int, "b"]),
        "annotation with equal numbers": (Annotated[int, Ge(1)], Annotated[int, Field(ge=1.0)]),
        "description": (Annotated[int, Field(description="a")], Annotated[int, Field(description="a")]),
        "docstring with other indents": (_city(doc="A city.\n    It is large."), _city(doc="A city.\nIt is large.")),
        "sets in defaults": (Tagged, Tagged),
        "set in a default made anew": (
            _city(mayor=(set[str], {"a", "b", "c", "d"})),
            _city(mayor=(set[str], {"d", "c", "b", "a"})),
        ),
        "named tuple": (Point, Point),
        "dataclass": (Place, Place),
        "typed dict": (Terms, Terms),
        "enum": (Colour, Colour),
        "decimal": (Decimal, Decimal),
        "uuid": (dict[str, UUID], dict[str, UUID]),
    }
    parameters: dict[str, tuple[Asked, Asked]] = {
        "stop alone": ({"stop": "a"}, {"stop": ["a"]}),
        "stop alone in a tuple": ({"stop": "a"}, {"stop": ("a",)}),
        "empty stop alone": ({"stop": ""}, {"stop": [""]}),
        "stop of two": ({"stop": ["a", "b"]}, {"stop": ("a", "b")}),
        "null": ({"stop": None, "max_tokens": None, "temperature": None, "top_p": None}, {}),
        "whole number": ({"temperature": 1}, {"temperature": 1.0}),
        "negative zero": ({"temperature": 0}, {"temperature": -0.0}),
        "whole number, deep": ({"metadata": {"a": [1.0]}}, {"metadata": {"a": [1]}}),
        "large whole number": ({"seed": 1e15}, {"seed": 10**15}),
        "order": ({"seed": 1, "top_k": 2}, {"top_k": 2, "seed": 1}),
        "order within": ({"metadata": {"a": 1, "b": 2}}, {"metadata": {"b": 2, "a": 1}}),
        "kind of mapping": ({"metadata": {"a": 1}}, {"metadata": OrderedDict(a=1)}),
        "kind of sequence": ({"modalities": ["text"]}, {"modalities": ("text",)}),
        "names that are numbers": ({"logit_bias": {1: 2}}, {"logit_bias": {"1": 2}}),
        "extra body": ({"extra_body": {"novel": 1}}, {"extra_body": {"novel": 1.0}}),
        "extra body and parameter": ({"extra_body": {"seed": 1}}, {"seed": 1}),
        "text of the same letters": ({"user": "\u00e9"}, {"user": "".join(["\u00e9"])}),
    }
    prompts: dict[str, Pair] = {
        "text": (_plain(), _plain(prompt=["count 1 to 3"])),
        "message": (_plain(), _plain(prompt=user("count 1 to 3"))),
        "list of a message": (_plain(), _plain(prompt=[user("count 1 to 3")])),
        "tuple": (_plain(), _plain(prompt=("count 1 to 3",))),
        "dict": (_plain(), _plain(prompt=[{"role": "user", "content": "count 1 to 3"}])),
        "part": (_plain(), _plain(prompt=[{"type": "text", "text": "count 1 to 3"}])),
        "name of null": (_plain(), _plain(prompt={"role": "user", "content": "count 1 to 3", "name": None})),
        "message of a class": (_plain(), _plain(prompt=[UserMessage(content="count 1 to 3")])),
        "spaces about a model": (_plain(), _plain(model=" gpt-5.5 ")),
        "stream": (_plain(), _plain(stream=True)),
        "url in a list": (_said("a", "https://e.org/x.png"), _said("a", image("https://e.org/x.png"))),
        "url in short": (
            _said("a", {"type": "image_url", "image_url": "https://e.org/x.png"}),
            _said("a", ImagePart(image_url=Attachment(url="https://e.org/x.png"))),
        ),
        "tool call in short": (
            _said(user("a"), assistant(tool_calls=[{"id": "c", "function": {"name": "look"}}])),
            _said(
                user("a"),
                assistant(tool_calls=[{"id": "c", "type": "function", "function": {"name": "look", "arguments": ""}}]),
            ),
        ),
    }
    attachments: dict[str, tuple[Any, Any]] = {
        "copy": (image(folder / "pixels.png"), image(folder / "copy of pixels.png")),
        "copy of a table": (document(folder / "table.csv"), document(folder / "copy of table.csv")),
        "extension in capitals": (document(folder / "table.csv"), document(folder / "table.CSV")),
        "two extensions of a type": (image(folder / "photo.jpg"), image(folder / "photo.jpeg")),
        "path alone": (image(folder / "pixels.png"), folder / "pixels.png"),
        "bytes": (image(folder / "pixels.png"), image(PNG, name="x.png")),
        "bytes of a table": (document(folder / "table.csv"), document(TABLE, name="x.csv")),
        "data URI": (image(folder / "pixels.png"), image(_inline("image/png", PNG))),
        "data URI of a table": (document(folder / "table.csv"), document(_inline("text/csv"))),
        "data URI in capitals": (document(_inline("text/csv")), document(_inline("TEXT/CSV"))),
        "data URI without base64": (document(_inline("text/csv")), document("data:text/csv,a%2Cb%0A1%2C2%0A")),
        "data URI without a type": (document(_inline("text/plain")), document(_inline(""))),
        "spaces in a media type": (
            document(_inline("text/plain;charset=utf-8")),
            document(f"data:text/plain;CHARSET=UTF-8;base64,{base64.b64encode(TABLE).decode()}"),
        ),
    }
    callers: dict[str, Pair] = {
        "sample true": (_plain(sample=1), _plain(sample=True)),
        "sample false": (_plain(sample=0), _plain(sample=False)),
        "no sample": (_plain(), _plain(sample=0)),
    }
    return {
        **{f"output type: {name}": (_typed(one), _typed(other)) for name, (one, other) in types.items()},
        **{f"parameter: {name}": (_with(**one), _with(**other)) for name, (one, other) in parameters.items()},
        **{f"prompt: {name}": pair for name, pair in prompts.items()},
        **{f"attachment: {name}": (_said("Look.", a), _said("Look.", b)) for name, (a, b) in attachments.items()},
        **callers,
    }


def keys(arranged: Callable[[list[Any]], Iterator[Any]] = iter) -> dict[str, str]:
    """The keys of all requests, made in the order that `arranged` gives them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in FILES.items():
            (folder / file).write_bytes(content)
        asked = [
            (f"{group}: {pair} ({side})", request)
            for group, pairs in (("different", different(folder)), ("same", same(folder)))
            for pair, requests in pairs.items()
            for side, request in zip("ab", requests, strict=True)
        ]
        return {name: key_of(request) for name, request in arranged(asked)}


def shuffled(seed: int) -> Callable[[list[Any]], Iterator[Any]]:
    """Return a function that arranges in a random order."""
    return lambda items: iter(random.Random(seed).sample(items, len(items)))


if __name__ == "__main__":
    json.dump(keys(reversed if sys.argv[1:] == ["reversed"] else iter), sys.stdout, indent=1, sort_keys=True)

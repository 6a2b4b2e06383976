"""Chain real media through several generations into a typed result.

Every file of a folder, and every URL, is described by a model that takes its kind, all at the same time; the
descriptions go into one more generation, which returns a `Brief`. Run it again, and it costs nothing.

    python flows/media_brief.py                   # without a key: against a local emulator of FoxAPI
    FOXAPI_API_KEY=sk-… python flows/media_brief.py
"""

from __future__ import annotations

import asyncio
import mimetypes
from collections import Counter
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from emulated import emulator_without_key
from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from pydantic import BaseModel, DirectoryPath, Field, HttpUrl

from prefect_foxapi import Generation, agenerate, alist_models, audio, document, image, video

SAMPLES = Path(__file__).parent / "samples"
HELPERS = {
    "image": (image, "vision"),
    "video": (video, "video"),
    "audio": (audio, "audio"),
    "document": (document, "file"),
}


class Item(BaseModel):
    """What is known of one file."""

    name: str = Field(description="The file's name.")
    kind: str = Field(description="image, video, audio or document.")
    facts: str = Field(description="What there is to know, in one or two sentences.")


class Brief(BaseModel):
    """What an editor needs to know about a set of media."""

    title: str
    summary: str
    items: list[Item] = Field(description="One for each file.")
    tags: list[str]


class Models(BaseModel):
    """Which models do the work."""

    describe: list[str] = Field(
        default=["gpt-5.5", "claude-opus-4-7", "gemini-3-pro-preview"],
        description="Models that describe; for each file the first one that takes its kind.",
    )
    write: str = Field(default="gpt-5.5", description="The model that writes the brief.")


Medium = tuple[str, str, Path | str]
"""A name, a kind and where it is."""


@flow(name="media-brief", log_prints=True)
async def media_brief(
    folder: DirectoryPath | None = None,
    urls: Annotated[list[HttpUrl], Field(description="Media on the web, besides the folder's.")] = [],  # noqa: B006
    models: Models = Models(),  # noqa: B008
    output: Path = Path("brief.json"),
) -> Brief:
    """Write a brief of all media in a folder and at some URLs.

    Args:
        folder: A folder with images, videos, sound and documents, on the machine that runs the flow. By default the
            samples beside this file, where no URLs are given.
        urls: Media on the web, besides the folder's.
        models: The models to use.
        output: Where the brief is written, as JSON.
    """
    if folder is None and not urls:
        folder = SAMPLES
    media = [*found_in(folder), *(at(str(url)) for url in urls)]
    if not media:
        raise ValueError(f"there are no media in {folder}: give a folder with some, or URLs")
    takes = {model.id: set(model.capabilities) for model in await alist_models()}
    states = await asyncio.gather(*(describe(medium, models.describe, takes) for medium in media))
    descriptions = [await state.aresult() for state in states]
    written = await agenerate(
        "Write a brief of these media for an editor.\n\n"
        + "\n\n".join(
            f"## {name} ({kind})\n{said.text}" for (name, kind, _), said in zip(media, descriptions, strict=True)
        ),
        model=models.write,
        output_type=Brief,
        max_tokens=4096,
        return_state=True,
    )
    generation: Generation[Brief] = await written.aresult()
    brief = generation.parsed
    await asyncio.to_thread(output.write_text, brief.model_dump_json(indent=2) + "\n", "utf-8")
    markdown = as_markdown(brief)
    await acreate_markdown_artifact(markdown, key="media-brief", description=brief.title)
    print(markdown)
    print(what_was_paid([*states, written], [*descriptions, generation]))
    return brief


async def describe(medium: Medium, models: list[str], takes: dict[str, set[str]]):
    """Describe one file with the first model that takes its kind."""
    name, kind, where = medium
    helper, needed = HELPERS[kind]
    model = next((model for model in models if needed in takes.get(model, ())), None)
    if model is None:
        raise ValueError(f"none of {', '.join(models)} takes {name}, which needs {needed}")
    return await agenerate(
        [f"Describe this {kind} in a few sentences. Say what is in it, not what you think of it.", helper(where)],
        model=model,
        max_tokens=1024,
        return_state=True,
    )


def found_in(folder: Path | None) -> list[Medium]:
    """Return the media in a folder, by name."""
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder else []
    return [(path.name, kind, path) for path in files if (kind := kind_of(path.name)) in HELPERS]


def at(url: str) -> Medium:
    """Return the medium at a URL. An unknown kind counts as a document."""
    name = Path(urlsplit(url).path).name or url
    kind = kind_of(name)
    return name, kind if kind in HELPERS else "document", url


def kind_of(name: str) -> str:
    """Return `image`, `video`, `audio`, `document` or an empty string, by the name of a file."""
    family = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
    return "document" if family == "application" else family


def as_markdown(brief: Brief) -> str:
    """Return the brief as Markdown."""
    items = "\n".join(f"- **{item.name}** ({item.kind}): {item.facts}" for item in brief.items)
    return f"# {brief.title}\n\n{brief.summary}\n\n{items}\n\nTags: {', '.join(brief.tags)}\n"


def what_was_paid(states, generations: list[Generation]) -> str:
    """Return a line with where each generation came from."""
    ways = Counter(
        "cached" if state.name == "Cached" else generation.origin
        for state, generation in zip(states, generations, strict=True)
    )
    told = ", ".join(f"{number} {way}" for way, number in sorted(ways.items()))
    return f"{len(generations)} generations ({told}): {ways['billed']} submitted to FoxAPI"


if __name__ == "__main__":
    with emulator_without_key():
        asyncio.run(media_brief())

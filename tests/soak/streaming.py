"""Many streams at once that break in every way that the emulator knows."""

from __future__ import annotations

import asyncio
import random

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.emulator import Emulator

AT_ONCE = 100
MODEL = "gpt-5.5"
BREAKS = (
    {"kind": "sse_drop"},
    {"kind": "sse_no_done"},
    {"kind": "sse_error"},
    {"kind": "sse_silence", "seconds": 0.2},
)


async def stream_many(draw: random.Random) -> dict[str, int]:
    """Counts of streams that were broken, and of those that did not end with the text that was paid for."""
    counts = {"streams": AT_ONCE, "billed": 0, "broken": 0, "wrong text": 0, "paid twice": 0}
    with Emulator(duration=lambda *_: draw.uniform(0.05, 1.0), seed=draw.randrange(2**32)) as emulator:
        for broken in BREAKS:
            emulator.add_fault(endpoint="stream", probability=0.15, **broken)
        async with FoxAPIClient(emulator.api_key, base_url=emulator.url) as client:

            async def one(number: int) -> bool:
                prompt = f"stream {number}"
                heard: list[str] = []
                messages = [{"role": "user", "content": prompt}]
                submitted = await client.submit({"model": MODEL, "messages": messages, "stream": True})
                wait = GenerationWaiter(client, submitted.id, model=MODEL, age=0.0)
                snapshot, reader = await wait.by_stream(lambda chunk: heard.append(chunk.text))
                [paid] = [choice.message.content or "" for choice in snapshot.completion().choices]
                told = "".join(heard)
                # A stream that gives way to polls told the beginning.
                return paid == told if reader.complete else paid.startswith(told)

            right = await asyncio.gather(*map(one, range(AT_ONCE)))
        requests = emulator.counts().get(("GET", "stream"), 0)
        counts["billed"] = len(emulator.ledger())
        counts["broken"] = max(0, requests - AT_ONCE)
        counts["wrong text"] = right.count(False)
        counts["paid twice"] = counts["billed"] - AT_ONCE
    return counts

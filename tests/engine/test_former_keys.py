"""A request whose key differs from that of version 0.1.0 is not paid for again, unless the row can be another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.engine.calls import CacheScope, GenerationCall, Result
from prefect_foxapi.engine.clients import ClientPool
from prefect_foxapi.engine.engine import GenerationEngine
from prefect_foxapi.errors import AmbiguousSubmission
from prefect_foxapi.ledger import Claimant, GenerationIdentity, Lease, Ledger
from prefect_foxapi.models.attachments import document
from prefect_foxapi.models.content.digests import ContentDigest
from prefect_foxapi.models.generation_key import digests_of, former_key, generation_key
from prefect_foxapi.models.requests import GenerationRequest, build_request
from tests.models.golden.former_keys import key_of_0_1_0
from tests.support.factories import Clock, sqlite_url

ACCOUNT = "research"
SPELLINGS: dict[str, tuple[dict[str, Any], Any]] = {
    "stop alone in a list": ({"stop": ["END"]}, 0),
    "sample true": ({}, True),
    "sample false": ({}, False),
    "both": ({"stop": ["END"]}, True),
}
each_spelling = pytest.mark.parametrize("spelling", SPELLINGS)


@dataclass
class Service:
    """An engine, its ledger and its emulator, and what version 0.1.0 left in that ledger."""

    emulator: Emulator
    ledger: Ledger
    engine: GenerationEngine
    clock: Clock

    def call(
        self, spelling: str = "stop alone in a list", prompt: Any = "count 1 to 3", **changes: Any
    ) -> GenerationCall:
        parameters, sample = SPELLINGS[spelling]
        request = build_request(prompt, model="gemini-3-pro-preview", parameters=parameters)
        identity: dict[str, Any] = {
            "account": ACCOUNT,
            "base_url": self.emulator.url,
            "sample": sample,
            "digests": digests_of(request),
        }
        call = GenerationCall(
            request=request,
            config=ClientConfig(self.emulator.api_key, base_url=self.emulator.url),
            account=ACCOUNT,
            key=generation_key(request, **identity),
            digests=identity["digests"],
            cache_scope=CacheScope(),
            claimant=Claimant.here(),
            former_key=former_key(request, **identity),
        )
        return replace(call, **changes)

    async def claim(self, key: str) -> Lease:
        identity = GenerationIdentity(key, ACCOUNT, self.emulator.url, "gemini-3-pro-preview")
        lease = await self.ledger.claim(identity, Claimant("host", 1, "version 0.1.0"), deadline=60)
        assert isinstance(lease, Lease)
        return lease

    async def pay(self, key: str, call: GenerationCall, *, collect: bool) -> str:
        """Pay for a call under a key, as 0.1.0 did. Returns the id."""
        async with FoxAPIClient(call.config) as client:
            lease = await self.claim(key)
            snapshot = await client.submit(call.request)
            await self.ledger.accepted(lease, snapshot.id)
            while collect and not (found := await client.get(snapshot.id)).results:
                pass
            if collect:
                await self.ledger.completed(
                    snapshot.id, Result(found).stored(), account=ACCOUNT, base_url=self.emulator.url
                )
        return snapshot.id


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    clock = Clock()
    ledger, clients = Ledger(sqlite_url(tmp_path), clock=clock), ClientPool()
    with Emulator(duration=0.01) as emulator:
        yield Service(emulator, ledger, GenerationEngine(ledger, clients), clock)
        await clients.aclose()
        await ledger.aclose()


def old_key(call: GenerationCall, spelling: str = "stop alone in a list") -> str:
    return key_of_0_1_0(call.request, account=ACCOUNT, base_url=call.config.base_url, sample=SPELLINGS[spelling][1])


@each_spelling
async def test_result_of_the_former_key_is_replayed(service: Service, spelling: str) -> None:
    call = service.call(spelling)
    assert old_key(call, spelling) == call.former_key != call.key
    paid = await service.pay(old_key(call, spelling), call, collect=True)
    generation = await service.engine.generate(call)
    assert (generation.generation_id, generation.origin) == (paid, "replayed")
    assert len(service.emulator.ledger()) == 1


@each_spelling
async def test_generation_of_the_former_key_is_collected(service: Service, spelling: str) -> None:
    call = service.call(spelling)
    paid = await service.pay(old_key(call, spelling), call, collect=False)
    generation = await service.engine.generate(call)
    assert generation.generation_id == paid
    assert len(service.emulator.ledger()) == 1
    rows = await service.ledger.find([old_key(call, spelling), call.key])
    assert [(row.key, row.state.value) for row in rows.values()] == [(old_key(call, spelling), "completed")]


async def test_claim_of_the_former_key_is_waited_for(service: Service) -> None:
    call = service.call()
    lease = await service.claim(old_key(call))
    asking = asyncio.ensure_future(service.engine.generate(call))
    async with FoxAPIClient(call.config) as client:
        snapshot = await client.submit(call.request)
    assert not asking.done()
    await service.ledger.accepted(lease, snapshot.id)
    assert (await asking).generation_id == snapshot.id
    assert len(service.emulator.ledger()) == 1


@pytest.mark.parametrize("lost", ["answer", "process"])
async def test_ambiguous_submission_of_the_former_key_is_not_repeated(service: Service, lost: str) -> None:
    call = service.call()
    lease = await service.claim(old_key(call))
    if lost == "answer":
        await service.ledger.unknown(lease, "the response was lost")
    else:
        service.clock.step(61)
    with pytest.raises(AmbiguousSubmission) as caught:
        await service.engine.generate(call)
    assert caught.value.key == old_key(call)
    assert service.emulator.ledger() == []
    assert (await service.engine.generate(replace(call, on_ambiguous="resubmit"))).origin == "billed"
    # From now on, its own key answers.
    assert (await service.engine.generate(call)).origin == "replayed"
    assert len(service.emulator.ledger()) == 1


async def test_decision_about_the_former_key_counts(service: Service) -> None:
    call = service.call()
    await service.ledger.unknown(await service.claim(old_key(call)), "the response was lost")
    await service.ledger.settle(old_key(call), "allow_resubmit")
    assert (await service.engine.generate(call)).origin == "billed"


async def test_failure_of_the_former_key_is_paid_anew(service: Service) -> None:
    call = service.call()
    lease = await service.claim(old_key(call))
    await service.ledger.accepted(lease, "gen-1")
    await service.ledger.failed("gen-1", {"message": "it broke"}, account=ACCOUNT, base_url=service.emulator.url)
    assert (await service.engine.generate(call)).origin == "billed"
    assert (await service.engine.generate(call)).origin == "replayed"


async def test_former_result_that_is_too_old_is_paid_anew(service: Service) -> None:
    call = service.call(cache_scope=CacheScope(max_age=10))
    await service.pay(old_key(call), call, collect=True)
    service.clock.step(11)
    assert (await service.engine.generate(call)).origin == "billed"


async def test_own_key_comes_first(service: Service) -> None:
    call = service.call()
    await service.pay(old_key(call), call, collect=True)
    paid = await service.pay(call.key, call, collect=True)
    assert (await service.engine.generate(call)).generation_id == paid


@pytest.mark.parametrize("salt", [("refresh", "flow run", "0"), ("no-cache", "flow run", "0")])
async def test_call_of_a_flow_run_that_0_1_0_began_is_found(service: Service, salt: tuple[str, ...]) -> None:
    scope = CacheScope(salt=salt)
    call = service.call(cache_scope=scope)
    paid = await service.pay(scope.key_for(old_key(call)), call, collect=True)
    assert (await service.engine.generate(call)).generation_id == paid


async def test_equal_requests_of_both_spellings_are_paid_once(service: Service) -> None:
    requests = [build_request("count 1 to 3", model="gpt-5.5", parameters={"stop": stop}) for stop in ("a", ["a"])]
    calls = [
        replace(
            service.call(),
            request=request,
            key=generation_key(request, account=ACCOUNT, base_url=service.emulator.url),
            former_key=former_key(request, account=ACCOUNT, base_url=service.emulator.url),
        )
        for request in requests
    ]
    await asyncio.gather(*(service.engine.generate(call) for call in calls))
    assert len(service.emulator.ledger()) == 1


# Equal bytes of several media types had one key: its row can be that of any of them.


def table(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"a,b\n1,2\n")
    return path


async def test_equal_bytes_of_other_media_types_are_paid_for_separately(service: Service, tmp_path: Path) -> None:
    calls = [
        service.call(prompt=["Sum it up.", document(table(tmp_path, name))])
        for name in ("a.csv", "a.pdf", "a.md", "b.csv")
    ]
    await service.pay(old_key(calls[0]), service.call(), collect=True)
    generations = [await service.engine.generate(call) for call in calls]
    assert [generation.origin for generation in generations] == ["billed", "billed", "billed", "replayed"]
    assert len(service.emulator.ledger()) == 4
    # Each of them was uploaded as what it is.
    assert service.emulator.counts()["POST", "upload"] == 3


async def test_file_of_the_media_type_that_its_content_implies_keeps_its_key(service: Service, tmp_path: Path) -> None:
    contents = {"a.png": b"\x89PNG\r\n\x1a\n pixels", "a.pdf": b"%PDF-1.7\n%", "a.txt": b"words"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    requests: list[GenerationRequest] = [
        build_request(["Look.", tmp_path / name], model="gemini-3-pro-preview") for name in contents
    ]
    for request in requests:
        identity = {"account": ACCOUNT, "base_url": service.emulator.url}
        assert generation_key(request, **identity) == key_of_0_1_0(request, **identity, sample=0)
        assert former_key(request, **identity) is None


def test_nothing_is_looked_up_where_the_former_key_can_be_another_s(tmp_path: Path) -> None:
    for name, is_looked_up in (("a.txt", True), ("a.csv", False), ("a.pdf", False), ("a.unknown", False)):
        request = build_request(
            ["Look.", document(table(tmp_path, name))], model="gemini-3-pro-preview", parameters={"stop": ["END"]}
        )
        found = former_key(request, account=ACCOUNT, base_url="https://e.org")
        assert (found is not None) == is_looked_up, name


def test_digest_tells_media_types_apart() -> None:
    one, other = ContentDigest("0" * 64, "text/csv", b""), ContentDigest("0" * 64, "application/pdf", b"")
    assert one != other

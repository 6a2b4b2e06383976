"""The service behind the routes: it accepts generations, and knows what they are at any time."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect_foxapi.emulator.answers.chunks import chunks_of
from prefect_foxapi.emulator.answers.completions import Chat, answer_to
from prefect_foxapi.emulator.answers.media import MEDIA_KEPT, MadeMedia
from prefect_foxapi.emulator.answers.scripts import Script, ScriptBook
from prefect_foxapi.emulator.protocol.content import Content, digest_of, read_url
from prefect_foxapi.emulator.protocol.errors import not_found
from prefect_foxapi.emulator.protocol.models import MEDIA_MODELS, Model
from prefect_foxapi.emulator.protocol.validation import check_chat, check_media
from prefect_foxapi.emulator.state.billing import Books, Submission
from prefect_foxapi.emulator.state.clock import Clock
from prefect_foxapi.emulator.state.durations import Duration
from prefect_foxapi.emulator.state.faults import FaultPlan, FaultRule
from prefect_foxapi.emulator.state.files import FileStore
from prefect_foxapi.emulator.state.generations import Generation

_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Settings:
    """How the emulator behaves; each field is explained at the argument of `Emulator` that sets it."""

    api_keys: tuple[str, ...]
    duration: Duration
    models: Sequence[Model]
    late_results: float
    credits: int
    report_credits: bool
    refuse_library_agents: bool
    max_body: int
    max_file: int
    storage: int
    max_chunks: int
    keep_alive: float
    seed: int


class Gateway:
    """One FoxAPI, in memory.

    Args:
        settings: How it behaves.
        clock: Its time.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.models = {model.id: model for model in settings.models}
        self.scripts = ScriptBook()
        self.faults = FaultPlan(settings.seed)
        self.books = Books.opened(settings.api_keys, settings.credits)
        self.files = FileStore(clock.now, max_file=settings.max_file, capacity=settings.storage)
        self.media: dict[str, MadeMedia] = {}
        self._media_models = {model.id: model for model in MEDIA_MODELS}
        self._generations: dict[str, Generation] = {}

    def reset(self) -> None:
        """Forget everything but the settings and the time."""
        self.scripts.clear()
        self.faults = FaultPlan(self.settings.seed)
        self.books = Books.opened(self.settings.api_keys, self.settings.credits)
        self.files.clear()
        self.media.clear()
        self._generations.clear()

    def generation(self, generation_id: str, account: str) -> Generation:
        """A generation of an account.

        Raises:
            Problem: There is none.
        """
        found = self._generations.get(generation_id)
        if found is None or found.account != account:
            raise not_found(f"The task `{generation_id}` does not exist.")
        return found

    def submit_chat(self, body: dict[str, Any], account: str, path: str, fault: FaultRule | None) -> Generation:
        """Accept and bill a chat request.

        Raises:
            Problem: It is refused, and costs nothing.
        """
        known: dict[str, Content | None] = {}

        def read(url: str) -> Content | None:
            if url not in known:
                known[url] = read_url(url, self.files.read_own)
            return known[url]

        model, attachments = check_chat(body, self.models, read)
        chat = Chat(body, model, attachments, digest_of(body, read))
        script = self.scripts.take("\n".join(chat.texts))
        answer = answer_to(chat, script)
        price = model.price(answer.usage["prompt_tokens"], answer.usage["completion_tokens"])
        accepted = self._accept("llm", body, chat.digest, account, path, price, fault, script)
        results = [answer.as_completion(chat, accepted.created)]
        if not body.get("stream"):
            return self._keep(replace(accepted, results=results))
        chunks = chunks_of(
            answer,
            chat,
            created=accepted.created,
            starts=accepted.starts,
            ends=accepted.ends,
            most=self.settings.max_chunks,
        )
        whole = accepted.failure is None and not accepted.cancelled
        sent = chunks if whole else chunks[: len(chunks) // 2]
        return self._keep(replace(accepted, results=results, streamed=True, chunks=sent))

    def submit_media(
        self, kind: str, body: dict[str, Any], account: str, path: str, origin: str, fault: FaultRule | None
    ) -> Generation:
        """Accept and bill a request for images, videos or audio.

        Raises:
            Problem: It is refused, and costs nothing.
        """
        model, wanted = check_media(body, kind, self._media_models)
        digest = digest_of(body, lambda url: read_url(url, self.files.read_own))
        script = self.scripts.take(body["prompt"])
        accepted = self._accept(kind, body, digest, account, path, model.price * wanted, fault, script)
        scripted = None if script is None else script.results
        results = self._make_media(accepted, digest, wanted, origin) if scripted is None else scripted
        further = {
            **accepted.further,
            "task_info": {"can_cancel": False, "estimated_time": round(accepted.duration, 3)},
        }
        return self._keep(replace(accepted, results=results, further=further))

    def _make_media(self, accepted: Generation, digest: str, wanted: int, origin: str) -> list[Any]:
        results: list[Any] = []
        for number in range(wanted):
            own_digest = digest_of({"request": digest, "number": number}, lambda _: None)
            name = f"{accepted.id}-{number}"
            made = self.media[name] = MadeMedia(accepted.kind, own_digest, accepted.ends + MEDIA_KEPT)
            results.append({"url": f"{origin}/media/{name}.{made.suffix}"})
        return results

    def _accept(
        self,
        kind: str,
        body: dict[str, Any],
        digest: str,
        account: str,
        path: str,
        price: int,
        fault: FaultRule | None,
        script: Script | None,
    ) -> Generation:
        created = self.clock.now()
        name: str = body["model"]
        duration = self.settings.duration(name, body) if script is None or script.duration is None else script.duration
        late = self.settings.late_results if script is None or script.late_results is None else script.late_results
        failure: Mapping[str, str] | None = None if script is None else script.fail
        if fault is not None and fault.kind == "late_results":
            late = fault.seconds
        if fault is not None and fault.kind == "fail":
            failure = {"code": fault.code or "server_error", "message": fault.message}
        reserved = {"usage": {"credits_reserved": price, "user_group": "default"}}
        generation = Generation(
            id=f"task-{kind}-{int(created)}-{''.join(secrets.choice(_ALPHABET) for _ in range(8))}",
            kind=kind,
            model=name,
            account=account,
            created=created,
            duration=max(duration, 0.001),
            late=late,
            failure=failure,
            cancelled=script is not None and script.cancel,
            further=reserved if self.settings.report_credits else {},
        )
        number = self.books.accounts[account].number
        self.books.bill(account, Submission(generation.id, digest, name, path, created, body, price, number))
        return generation

    def _keep(self, generation: Generation) -> Generation:
        self._generations[generation.id] = generation
        return generation

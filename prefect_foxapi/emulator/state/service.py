"""The emulated service: it accepts and bills generations, and returns them."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect_foxapi.emulator.answers.chunks import split_into_chunks
from prefect_foxapi.emulator.answers.completions import ChatRequest, build_answer
from prefect_foxapi.emulator.answers.media import MEDIA_LIFETIME, GeneratedMedia
from prefect_foxapi.emulator.answers.scripts import Script, ScriptQueue
from prefect_foxapi.emulator.protocol.content import Content, digest_of, read_url
from prefect_foxapi.emulator.protocol.errors import not_found
from prefect_foxapi.emulator.protocol.models import MEDIA_MODELS, Model
from prefect_foxapi.emulator.protocol.validation import check_chat, check_media
from prefect_foxapi.emulator.state.billing import BillingLedger, Submission
from prefect_foxapi.emulator.state.clock import Clock
from prefect_foxapi.emulator.state.durations import Duration
from prefect_foxapi.emulator.state.fault_rules import FaultInjector
from prefect_foxapi.emulator.state.faults import Fault
from prefect_foxapi.emulator.state.files import FileStore
from prefect_foxapi.emulator.state.generations import Generation

_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Settings:
    """The settings of the emulator. `Emulator` documents each as an argument."""

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


@dataclass(frozen=True)
class SubmissionContext:
    """The circumstances of a submission.

    Attributes:
        account: The API key.
        path: The path of the request.
        base_url: The base URL by which the client reaches the emulator.
        fault: The fault that hits the request.
    """

    account: str
    path: str
    base_url: str
    fault: Fault


class EmulatedService:
    """One FoxAPI, in memory.

    Args:
        settings: The settings.
        clock: The clock.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.models = {model.id: model for model in settings.models}
        self.scripts = ScriptQueue()
        self.faults = FaultInjector(settings.seed)
        self.billing = BillingLedger.open(settings.api_keys, settings.credits)
        self.files = FileStore(clock.now, max_file=settings.max_file, capacity=settings.storage)
        self.media: dict[str, GeneratedMedia] = {}
        self._media_models = {model.id: model for model in MEDIA_MODELS}
        self._generations: dict[str, Generation] = {}

    def reset(self) -> None:
        """Delete everything but the settings and the time."""
        self.scripts.clear()
        self.faults.reset()
        self.billing = BillingLedger.open(self.settings.api_keys, self.settings.credits)
        self.files.clear()
        self.media.clear()
        self._generations.clear()

    def generation(self, generation_id: str, account: str) -> Generation:
        """Return a generation of an account.

        Raises:
            ApiError: The account has no such generation.
        """
        generation = self._generations.get(generation_id)
        if generation is None or generation.account != account:
            raise not_found(f"The task `{generation_id}` does not exist.")
        return generation

    def submit_chat(self, body: dict[str, Any], context: SubmissionContext) -> Generation:
        """Accept and bill a chat request, and return its generation.

        Raises:
            ApiError: The request is refused, and not billed.
        """
        contents: dict[str, Content | None] = {}

        def read(url: str) -> Content | None:
            if url not in contents:
                contents[url] = read_url(url, self.files.read_upload)
            return contents[url]

        model, attachments = check_chat(body, self.models, read)
        request = ChatRequest(body, model, attachments, digest_of(body, read))
        script = self.scripts.take("\n".join(request.texts))
        answer = build_answer(request, script)
        price = model.price(answer.usage["prompt_tokens"], answer.usage["completion_tokens"])
        generation = self._accept("llm", body, request.digest, price, script, context)
        results = [answer.as_completion(request, generation.created)]
        if not body.get("stream"):
            return self._save(replace(generation, results=results))
        chunks = split_into_chunks(
            answer,
            request,
            created=generation.created,
            starts=generation.starts,
            ends=generation.ends,
            max_chunks=self.settings.max_chunks,
        )
        completes = generation.failure is None and not generation.cancelled
        sent = chunks if completes else chunks[: len(chunks) // 2]
        return self._save(replace(generation, results=results, streamed=True, chunks=sent))

    def submit_media(self, kind: str, body: dict[str, Any], context: SubmissionContext) -> Generation:
        """Accept and bill a request for images, videos or audio, and return its generation.

        Raises:
            ApiError: The request is refused, and not billed.
        """
        model, count = check_media(body, kind, self._media_models)
        digest = digest_of(body, lambda url: read_url(url, self.files.read_upload))
        script = self.scripts.take(body["prompt"])
        generation = self._accept(kind, body, digest, model.price * count, script, context)
        scripted = None if script is None else script.results
        results = self._generate_media(generation, digest, count, context.base_url) if scripted is None else scripted
        task_info = {"can_cancel": False, "estimated_time": round(generation.duration, 3)}
        extra_fields = {**generation.extra_fields, "task_info": task_info}
        return self._save(replace(generation, results=results, extra_fields=extra_fields))

    def _generate_media(self, generation: Generation, digest: str, count: int, base_url: str) -> list[Any]:
        results: list[Any] = []
        for number in range(count):
            result_digest = digest_of({"request": digest, "number": number}, lambda _: None)
            name = f"{generation.id}-{number}"
            media = GeneratedMedia(generation.kind, result_digest, generation.ends + MEDIA_LIFETIME)
            self.media[name] = media
            results.append({"url": f"{base_url}/media/{name}.{media.suffix}"})
        return results

    def _accept(
        self,
        kind: str,
        body: dict[str, Any],
        digest: str,
        price: int,
        script: Script | None,
        context: SubmissionContext,
    ) -> Generation:
        created = self.clock.now()
        model: str = body["model"]
        script = script or Script("")
        duration = self.settings.duration(model, body) if script.duration is None else script.duration
        usage = {"usage": {"credits_reserved": price, "user_group": "default"}}
        generation = context.fault.on_accept(
            Generation(
                id=f"task-{kind}-{int(created)}-{''.join(secrets.choice(_ALPHABET) for _ in range(8))}",
                kind=kind,
                model=model,
                account=context.account,
                created=created,
                duration=max(duration, 0.001),
                late_results=self.settings.late_results if script.late_results is None else script.late_results,
                failure=script.fail,
                cancelled=script.cancel,
                extra_fields=usage if self.settings.report_credits else {},
            )
        )
        number = self.billing.accounts[context.account].number
        submission = Submission(generation.id, digest, model, context.path, created, body, price, number)
        self.billing.bill(context.account, submission)
        return generation

    def _save(self, generation: Generation) -> Generation:
        self._generations[generation.id] = generation
        return generation

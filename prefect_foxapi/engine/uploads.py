"""Uploads of local attachments before a submission."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.errors import AuthenticationError, FoxAPIError, InvalidRequest
from prefect_foxapi.hooks import CapabilitiesUnavailable, Hook, emit
from prefect_foxapi.models.account import Capabilities, UploadedFile
from prefect_foxapi.models.content.digests import ContentDigest, file_digest, inline_content, local_path
from prefect_foxapi.models.requests import GenerationRequest, check_content

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger

# FoxAPI keeps an upload for 72 hours, and a generation that is submitted late in them needs it, too.
_UPLOAD_LIFETIME = 66 * 3600.0
# Characters above which inline content is uploaded: FoxAPI may refuse bodies of more than about 20 MB.
_INLINE_LIMIT = 256 * 1024


class AttachmentUploader:
    """Prepares requests for submission: checks content, and uploads each content once.

    Args:
        hooks: Called with what happens.
    """

    def __init__(self, *, hooks: Sequence[Hook] = ()) -> None:
        self._hooks = hooks
        self._uploading: dict[tuple[str, str, str], asyncio.Lock] = {}

    async def prepare(
        self,
        request: GenerationRequest,
        digests: dict[str, ContentDigest],
        *,
        client: FoxAPIClient,
        ledger: Ledger,
        account: str,
    ) -> GenerationRequest:
        """Return the request in the form in which it is sent.

        Raises:
            UnsupportedContent: The model does not support a kind of attachment.
            FoxAPIError: An upload failed; nothing was paid.
        """
        attachments = {part.attachment.url: part.attachment for _, part in request.attachments()}
        if not attachments:
            return request
        check_content(request, await self._live_capabilities(client))
        large = [
            url
            for url, attachment in attachments.items()
            if attachment.is_local or (attachment.is_inline and len(url) > _INLINE_LIMIT)
        ]
        uploaded = await asyncio.gather(
            *(self._uploaded(url, digests[url], client=client, ledger=ledger, account=account) for url in large)
        )
        return request.with_attachments(dict(zip(large, uploaded, strict=True)))

    async def _uploaded(
        self, url: str, digest: ContentDigest, *, client: FoxAPIClient, ledger: Ledger, account: str
    ) -> str:
        # FoxAPI keeps the media type of an upload: equal bytes of another type are another upload.
        content = f"{digest.media_type} {digest.sha256}"
        identity = (content, account, client.base_url)
        lock = self._uploading.setdefault(identity, asyncio.Lock())
        try:
            async with lock:
                known = await ledger.find_upload(content, account=account, base_url=client.base_url)
                if known is not None:
                    return known
                if url.startswith("data:"):
                    uploaded = await client.upload(inline_content(url)[1])
                else:
                    uploaded = await _upload_file(local_path(url), digest.sha256, client)
                await ledger.remember_upload(
                    content,
                    account=account,
                    base_url=client.base_url,
                    url=uploaded.url,
                    expires_at=ledger.clock() + _UPLOAD_LIFETIME,
                )
                return uploaded.url
        finally:
            if not lock.locked():
                self._uploading.pop(identity, None)

    async def _live_capabilities(self, client: FoxAPIClient) -> Capabilities | None:
        try:
            return await client.capabilities()
        except AuthenticationError:
            raise
        except FoxAPIError as error:
            emit(self._hooks, CapabilitiesUnavailable(str(error)))
            return None


async def _upload_file(path: Path, digest: str, client: FoxAPIClient) -> UploadedFile:
    uploaded = await client.upload(path)
    # The key names this content. Another content must neither be paid for nor be found under it.
    if await asyncio.to_thread(file_digest, path) != digest:
        raise InvalidRequest(f"file: {path} changed while it was uploaded; try again when it is complete", field="file")
    return uploaded

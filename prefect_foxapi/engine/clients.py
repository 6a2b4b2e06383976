"""The clients of a process, one for each configuration."""

from __future__ import annotations

from collections.abc import Sequence

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.hooks import Hook


class ClientPool:
    """Shares clients among calls, so that they share connections and cool-downs.

    Args:
        hooks: The hooks of every client.
    """

    def __init__(self, *, hooks: Sequence[Hook] = ()) -> None:
        self.hooks = tuple(hooks)
        self.submission_deadline = 0.0
        """Seconds within which every submission that is sent is answered or counts as lost."""
        self._clients: dict[ClientConfig, FoxAPIClient] = {}

    def get(self, config: ClientConfig) -> FoxAPIClient:
        """Return the client of a configuration."""
        client = self._clients.get(config)
        if client is None:
            client = self._clients[config] = FoxAPIClient(config, hooks=self.hooks)
            self.submission_deadline = max(self.submission_deadline, config.submission_deadline)
        return client

    async def aclose(self) -> None:
        """Close every client."""
        for client in self._clients.values():
            await client.aclose()

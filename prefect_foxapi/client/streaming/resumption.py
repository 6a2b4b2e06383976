"""A resumed connection: whether it goes on where the last one ended, or begins anew although it was asked not to."""

from __future__ import annotations

from array import array

from prefect_foxapi.models.completions import ChatCompletionChunk

# More chunks in a row that equal the beginning are no coincidence.
_MOST_HELD = 100


class ReceivedChunks:
    """Fingerprints of the chunks that were received, by which they are recognised if they come again."""

    def __init__(self) -> None:
        self._fingerprints = array("q")
        self._is_recognisable = False

    def __len__(self) -> int:
        return len(self._fingerprints)

    def __getitem__(self, position: int) -> int:
        return self._fingerprints[position]

    @property
    def is_recognisable(self) -> bool:
        """Whether the same chunks once more are a repetition, rather than an answer that repeats itself.

        The first chunk of an answer usually names its role. Chunks that are all alike tell nothing.
        """
        return self._is_recognisable

    def add(self, chunk: ChatCompletionChunk) -> None:
        """Add the next chunk."""
        found = fingerprint(chunk)
        opens = not self._fingerprints and any(choice.delta.role for choice in chunk.choices)
        self._is_recognisable = self._is_recognisable or opens or bool(len(self) and found != self[0])
        self._fingerprints.append(found)


def fingerprint(chunk: ChatCompletionChunk) -> int:
    """Return a number that equal chunks share, whenever they were sent."""
    return hash(chunk.choices)


class Resumption:
    """The chunks of one connection, without those that repeat what was received before.

    Chunks that equal the beginning of the stream are held back until it is decided: another one shows that the
    connection goes on, and all that were received before show that it begins anew. The count of the stream, where it
    has one, tells later whether this was right.

    Args:
        received: What was received before this connection.
    """

    def __init__(self, received: ReceivedChunks) -> None:
        self._received = received
        self._expected = len(received) if received.is_recognisable else 0
        self._repeated = 0
        self._held: list[ChatCompletionChunk] = []

    def take(self, chunk: ChatCompletionChunk) -> list[ChatCompletionChunk]:
        """Return the chunks that are new, now that the connection has given one more.

        Args:
            chunk: The next chunk.
        """
        if self._repeated < self._expected and self._received[self._repeated] == fingerprint(chunk):
            self._repeated += 1
            self._held.append(chunk)
            if self._repeated > _MOST_HELD:
                self._held.clear()
            return []
        new = [*([] if self._repeated == self._expected else self._held), chunk]
        self._held, self._expected, self._repeated = [], 0, 0
        return new

    def rest(self, total: int | None) -> list[ChatCompletionChunk]:
        """Return the chunks that are new, now that the stream has ended.

        Args:
            total: How many chunks the stream says it has, or None.
        """
        is_continuation = self._repeated < self._expected or total == self._expected + self._repeated
        return self._held if is_continuation else []

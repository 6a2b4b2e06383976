"""Requests and results as frozen data, and the key that identifies a request.

Stored results name their classes by this path, so every class that a task returns is importable from here.
"""

from typing import Any

from prefect_foxapi.compatibility import moved_name
from prefect_foxapi.models.account import Credits, Model, UploadedFile
from prefect_foxapi.models.completions import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    CompletionMessage,
    Delta,
    FunctionCall,
    FunctionCallDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from prefect_foxapi.models.generations import (
    Generation,
    GenerationSnapshot,
    StreamLink,
    SubmittedGeneration,
    UnsettledGeneration,
)

__all__ = [
    "ChatCompletion",
    "ChatCompletionChunk",
    "Choice",
    "ChunkChoice",
    "CompletionMessage",
    "Credits",
    "Delta",
    "FunctionCall",
    "FunctionCallDelta",
    "Generation",
    "GenerationSnapshot",
    "Model",
    "StreamLink",
    "SubmittedGeneration",
    "ToolCall",
    "ToolCallDelta",
    "UnsettledGeneration",
    "UploadedFile",
    "Usage",
]


def __getattr__(name: str) -> Any:
    # Pickles of 0.1.0 import more than the public names.
    return moved_name("models", name)

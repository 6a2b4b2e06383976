"""Requests and results as frozen data, and the key that identifies a request.

Stored results name their classes by this path, so every class that a task returns is importable from here.
"""

from prefect_foxapi.models.account import Credits, Model, UploadedFile
from prefect_foxapi.models.base import (
    GenerationId,
    Index,
    WireModel,
    checked_generation_id,
    null_as_empty,
    null_as_zero,
)
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
    Origin,
    StreamLink,
    SubmittedGeneration,
    UnsettledGeneration,
)

# Names of version 0.1.0, of which pickles hold the last two.
Wire, _or_empty, _or_first = WireModel, null_as_empty, null_as_zero

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
    "GenerationId",
    "GenerationSnapshot",
    "Index",
    "Model",
    "Origin",
    "StreamLink",
    "SubmittedGeneration",
    "ToolCall",
    "ToolCallDelta",
    "UnsettledGeneration",
    "UploadedFile",
    "Usage",
    "Wire",
    "WireModel",
    "checked_generation_id",
]

"""What is sent and what comes back, as frozen data, and the key that names a request.

Stored results name their classes by this path, so every class that a task returns is importable from here.
"""

from prefect_foxapi.models.generations import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    CompletionMessage,
    Credits,
    Delta,
    FunctionCall,
    FunctionCallDelta,
    Generation,
    GenerationSnapshot,
    Model,
    StreamLink,
    SubmittedGeneration,
    ToolCall,
    ToolCallDelta,
    UnsettledGeneration,
    UploadedFile,
    Usage,
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

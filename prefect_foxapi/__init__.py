"""Tasks that make generations with FoxAPI, each paid for once.

| task | what it does |
| --- | --- |
| `generate` | pays once, waits, returns a `Generation` |
| `stream_generation` | the same, reading the answer while it is written |
| `submit_generation`, `wait_for_generation` | the two halves of `generate` |
| `upload_file` | uploads a file, which FoxAPI keeps for 72 hours |
| `list_models`, `get_credits` | available models and remaining credits |
| `list_unsettled`, `settle` | what was submitted and never collected, and what to do about it |

Each task has an asynchronous twin: `agenerate`, `astream_generation`, and so on.

Example:
    from prefect import flow
    from prefect_foxapi import generate

    @flow
    def capital():
        return generate("The capital of France?", model="gpt-5.5", max_tokens=64).text
"""

import lazy_loader  # pyright: ignore[reportMissingTypeStubs]

from prefect_foxapi import compatibility

# The public names are listed in `__init__.pyi`. Each is imported when it is first used: the emulator and the
# commands do not wait for Prefect.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore

compatibility.install()

"""Output for programs: what `--json` prints. The names of the fields are stable; new ones may be added.

| command | JSON |
| --- | --- |
| `ledger list --json` | an array of submissions |
| `ledger show KEY --json` | an object with `key`, `submissions` and `decisions`, each array from the oldest on |
| `ledger settle KEY ACTION --json` | an object with `key`, `action`, `generation_id` and `text` (`collect` only) |
| `ledger usage --json` | an array of sums, one for each day, model and flow |

Times are Unix seconds. What is not known is `null`.

A submission:

| field | meaning |
| --- | --- |
| `key` | generation key |
| `attempt` | 1 for the key's first submission |
| `current` | whether the key stands for this submission now |
| `state` | `submitting`, `submitted`, `completed`, `failed`, `ambiguous`, `refused` or `forgotten` |
| `kind`, `model` | `llm`, `image`, `video` or `audio`; name of the model |
| `account`, `base_url` | who pays, and at which FoxAPI |
| `generation_id` | FoxAPI's id |
| `host`, `pid` | machine and process that submitted it |
| `flow_run_id`, `flow_name`, `task_run_id` | its Prefect run |
| `claimed_at`, `deadline`, `accepted_at`, `finished_at`, `expires_at` | times |
| `reason`, `error` | why it is ambiguous, refused or forgotten; FoxAPI's error object of a failed one |
| `billed` | false where the result belongs to another key's submission |
| `permitted` | whether an ambiguous submission may be submitted again |
| `result_kept` | whether the ledger keeps the result |
| `credits`, `prompt_tokens`, `completion_tokens` | what it cost |

A decision: `action` (`forget`, `allow_resubmit` or `resubmit`), `found` (the state at that time), `generation_id`,
`by`, `at`.

A sum: `day` (UTC, `YYYY-MM-DD`), `model`, `flow_name`, `submissions`, `ambiguous`, `failed`, `credits`,
`prompt_tokens`, `completion_tokens`.
"""

from __future__ import annotations

import json

from prefect_foxapi.ledger import Decision, Submission, Usage

__all__ = ["decision_object", "print_json", "submission_object", "usage_object"]


def print_json(data: object) -> None:
    """Print JSON on stdout, in ASCII: nothing in it is a control character or reorders a terminal's text."""
    # `json` escapes every control character but DEL.
    print(json.dumps(data, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f"))


def submission_object(row: Submission) -> dict[str, object]:
    """Return a submission as JSON data."""
    return {
        "key": row.key,
        "attempt": row.attempt,
        "current": row.current,
        "state": row.state.value,
        "kind": row.kind,
        "model": row.model,
        "account": row.account,
        "base_url": row.base_url,
        "generation_id": row.generation_id,
        "host": row.claimant.host,
        "pid": row.claimant.pid,
        "flow_run_id": row.claimant.flow_run_id,
        "flow_name": row.claimant.flow_name,
        "task_run_id": row.claimant.task_run_id,
        "claimed_at": row.claimed_at,
        "deadline": row.deadline,
        "accepted_at": row.accepted_at,
        "finished_at": row.finished_at,
        "expires_at": row.expires_at,
        "reason": row.reason,
        "error": row.error,
        "billed": row.billed,
        "permitted": row.permitted,
        "result_kept": row.result_kept,
        "credits": row.credits,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
    }


def decision_object(decision: Decision) -> dict[str, object]:
    """Return a decision as JSON data."""
    return {
        "action": decision.action,
        "found": decision.found.value,
        "generation_id": decision.generation_id,
        "by": decision.by,
        "at": decision.at,
    }


def usage_object(usage: Usage) -> dict[str, object]:
    """Return the sums of one day, model and flow as JSON data."""
    return {
        "day": usage.day,
        "model": usage.model,
        "flow_name": usage.flow_name,
        "submissions": usage.submissions,
        "ambiguous": usage.ambiguous,
        "failed": usage.failed,
        "credits": usage.credits,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }

"""The billing ledger: accounts, prices, the digests of requests, and the number of requests."""

from __future__ import annotations

from typing import Any

import httpx

from prefect_foxapi.emulator import Emulator


def test_generations_of_other_accounts_are_not_found(start: Any, connect: Any) -> None:
    emulator = start(api_key=("sk-one", "sk-two"))
    one, two = connect(emulator), connect(emulator, authorization="Bearer sk-two")
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
    generation_id = one.post("/v1/llm/generations", json=body).json()["id"]
    two.post("/v1/llm/generations", json=body)
    assert one.get(f"/v1/tasks/{generation_id}").status_code == 200
    assert two.get(f"/v1/tasks/{generation_id}").status_code == 404
    assert [submission.account for submission in emulator.ledger()] == [0, 1]
    assert list(emulator.times().values()) == [2]


def test_balance_and_ledger_agree(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    submit()
    submit("count 1 to 3 " * 2000, model="claude-opus-4-7", max_tokens=100)
    submit()
    costs = [submission.credits for submission in emulator.ledger()]
    assert costs[0] == costs[2] < costs[1]
    assert api.get("/v1/account/credits").json()["balance"] == emulator.balance == 1_000_000 - sum(costs)


def test_digest_depends_on_content_not_on_urls(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    def upload() -> str:
        return api.post("/v1/files/upload/base64", json={"file_data": "aGVsbG8="}).json()["url"]

    def about(url: str, **fields: Any) -> None:
        text = {"type": "text", "text": "what is it?"}
        content = [text, {"type": "image_url", "image_url": {"url": url}}]
        submit([{"role": "user", "content": content}], **fields)

    about(upload())
    about(upload(), stream=True)
    about("data:image/png;base64,aGVsbG8=")
    assert list(emulator.times().values()) == [3]
    about("data:image/png;base64,aGVsbG9v")
    about("https://example.com/x.png")
    about(upload(), temperature=0.5)
    assert sorted(emulator.times().values()) == [1, 1, 1, 3]


def test_requests_are_counted(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    generation_id = submit()["id"]
    for _ in range(3):
        api.get(f"/v1/tasks/{generation_id}")
    api.get("/v1/account/credits", headers={"authorization": "Bearer wrong"})
    assert emulator.counts() == {("POST", "submit"): 1, ("GET", "task"): 3, ("GET", "credits"): 1}

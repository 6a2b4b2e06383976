"""Text from outside cannot control the terminal, and nothing is cut off."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from prefect_foxapi.cli.tables import printable
from prefect_foxapi.ledger import GenerationIdentity, Lease, Ledger
from tests.cli.conftest import SCRIPT, Command
from tests.support.factories import BASE_URL, OWNER, claimant, sqlite_url

C0, DEL, C1 = [chr(code) for code in range(0x20)], "\x7f", [chr(code) for code in range(0x80, 0xA0)]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNSAFE = {*C0, DEL, *C1, *BIDI, "\u2028", "\u2029"}
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x9b31m\x1b]52;c;cm0gLXJm\x1b\\\r\b\x7f\u202egnp.exe\u2066\u200f"
    "\n│ forged │\n[red]kept[/red]"
)
LONG = "m" * 400
KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize("character", sorted(UNSAFE), ids=lambda character: f"U+{ord(character):04X}")
def test_an_unsafe_character_becomes_an_escape(character: str) -> None:
    safe = printable(f"a{character}b")
    assert safe.isascii()
    assert safe.isprintable()
    assert safe.encode().decode("unicode_escape") == f"a{character}b", "one can still see what it was"


def test_every_control_character_of_unicode_is_covered() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDI:
            assert printable(character).isascii(), f"U+{code:04X}"


@pytest.mark.parametrize("text", ["plain", "1 + 2", "é 日本語 👩‍👩‍👧 שלום مرحبا", "[bold]no markup[/bold]", "\\x1b"])
def test_other_text_stays(text: str) -> None:
    assert printable(text) == text


def test_only_texts_of_several_lines_keep_line_feeds_and_tabs() -> None:
    assert printable("a\tb\nc\r\x1b", multiline=True) == "a\tb\nc\\x0d\\x1b"
    assert printable("a\tb\nc") == "a\\x09b\\x0ac"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger whose every text is hostile, or long."""
    url = sqlite_url(tmp_path)

    async def fill() -> None:
        ledger = Ledger(url)
        for key, model in ((f"a{KEY}", HOSTILE), (f"b{KEY}", LONG), (f"c{HOSTILE}", "gpt-5.5")):
            who = claimant(HOSTILE, flow_name=HOSTILE, host=HOSTILE)
            lease = await ledger.claim(GenerationIdentity(key, OWNER["account"], BASE_URL, model), who, deadline=60)
            assert isinstance(lease, Lease)
            await ledger.accepted(lease, f"gen-{key}-{HOSTILE}")
        await ledger.failed(
            f"gen-c{HOSTILE}-{HOSTILE}", {"code": HOSTILE, "message": HOSTILE}, key=f"c{HOSTILE}", **OWNER
        )
        await ledger.settle(f"b{KEY}", "forget", by=HOSTILE)
        await ledger.aclose()

    asyncio.run(fill())
    return url


COMMANDS = [("list",), ("list", "--all"), ("show", "a"), ("show", "b"), ("show", "c"), ("usage",)]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_pipe_gets_no_control_characters(url: str, command: Command, arguments: tuple[str, ...]) -> None:
    done = command("ledger", *arguments, "--url", url)
    assert done.code == 0
    assert UNSAFE & set(done.out) == {"\n"}
    assert "\n│ forged │" not in done.out
    assert "[red]kept[/red]" in done.out


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_json_is_ascii_and_exact(url: str, command: Command, arguments: tuple[str, ...]) -> None:
    done = command("ledger", *arguments, "--url", url, json=True)
    assert set(done.out) - {"\n"} <= {chr(code) for code in range(0x20, 0x7F)}
    assert HOSTILE in json.dumps(done.data, ensure_ascii=False) or any(HOSTILE in text for text in texts(done.data))


def texts(data: object) -> list[str]:
    if isinstance(data, dict):
        return [text for value in data.values() for text in texts(value)]
    if isinstance(data, list):
        return [text for value in data for text in texts(value)]
    return [data] if isinstance(data, str) else []


def test_an_error_message_is_safe(url: str, command: Command) -> None:
    for arguments in (("show", HOSTILE), ("settle", f"c{HOSTILE}", "allow-resubmit"), ("list", HOSTILE), (HOSTILE,)):
        done = command("ledger", *arguments, "--url", url)
        assert (done.code in (1, 2), done.out) == (True, "")
        assert UNSAFE & set(done.err) <= {"\n"}


def test_nothing_is_cut_off_in_a_pipe(url: str, command: Command) -> None:
    line = next(line for line in command("ledger", "list", "--all", "--url", url).out.splitlines() if LONG in line)
    for part in (f"b{KEY}", f"gen-b{KEY}", "forgotten"):
        assert part in line
    assert f"{LONG} (llm)" in command("ledger", "show", "b", "--url", url).out


@pytest.mark.parametrize("arguments", [("list", "--all"), ("show", "c"), ("usage",)], ids=" ".join)
def test_a_narrow_terminal_gets_colours_and_nothing_else(url: str, home: Path, arguments: tuple[str, ...]) -> None:
    columns = 40
    master, slave = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "PREFECT_HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm-256color"}
    environment["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"  # Prefect announces it otherwise
    program = subprocess.Popen(
        [SCRIPT, "ledger", *arguments, "--url", url],
        env={**environment, "COLUMNS": str(columns)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    printed = read_all(master)
    assert program.wait(60) == 0
    assert "\x1b[" in printed, "rich tables"
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    assert UNSAFE & set(text) == {"\r", "\n"}, "the terminal driver makes line ends of \\n"
    assert "…" not in text
    assert max(len(line) for line in text.splitlines() if line[:1] in "│┃┡├└┏┌") <= columns


def read_all(terminal: int) -> str:
    parts: list[bytes] = []
    # Linux reports the end as an error, macOS as an empty read.
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:
        pass
    os.close(terminal)
    return b"".join(parts).decode()

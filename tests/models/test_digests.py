"""The digest of a file follows its content, also where its size and its times are as before."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prefect_foxapi.models.attachments import document
from prefect_foxapi.models.content.digests import content_digest, file_digest
from prefect_foxapi.models.messages import Attachment

ONE, OTHER = b"one content", b"other words"
Rewrite = Callable[[Path, bytes], None]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def settled(path: Path) -> None:
    """Ask for a digest until the file has not changed for long enough that it is remembered."""
    is_new = True
    while is_new:
        is_new = time.time_ns() - path.stat().st_ctime_ns < 200_000_000
        assert file_digest(path) == sha256(path.read_bytes())


def in_place(path: Path, content: bytes) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def copied_with_times(path: Path, content: bytes) -> None:
    before = path.stat()
    source = path.with_name("source")
    source.write_bytes(content)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    subprocess.run(["cp", "-p", str(source), str(path)], check=True)


def copied_by_python(path: Path, content: bytes) -> None:
    before = path.stat()
    source = path.with_name("source")
    source.write_bytes(content)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.copy2(source, path)


def replaced(path: Path, content: bytes) -> None:
    before = path.stat()
    source = path.with_name("source")
    source.write_bytes(content)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    source.replace(path)


def deleted_and_written(path: Path, content: bytes) -> None:
    """On some file systems, the new file gets the inode of the old one."""
    before = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


REWRITES = [in_place, copied_with_times, copied_by_python, replaced, deleted_and_written]
each_rewrite = pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.__name__)


@each_rewrite
def test_digest_follows_a_file_that_is_rewritten_with_equal_size_and_times(tmp_path: Path, rewrite: Rewrite) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(ONE)
    settled(path)
    assert file_digest(path) == sha256(ONE)
    before = path.stat()
    rewrite(path, OTHER)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert file_digest(path) == sha256(OTHER)


@each_rewrite
def test_digest_follows_a_file_that_is_rewritten_again_and_again(tmp_path: Path, rewrite: Rewrite) -> None:
    """Faster than the clock of the file system: it has the same times each time, those of its inode included."""
    path = tmp_path / "a.txt"
    path.write_bytes(ONE)
    for _ in range(50):
        for content in (OTHER, ONE):
            rewrite(path, content)
            assert file_digest(path) == sha256(content)


def test_digest_follows_a_link_that_is_set_to_another_file(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "other"]
    for file, content in zip(files, (ONE, OTHER), strict=True):
        file.write_bytes(content)
        os.utime(file, ns=(10**18, 10**18))
    settled(files[1])
    link = tmp_path / "a.txt"
    for file, content in zip(files, (ONE, OTHER), strict=True):
        link.unlink(missing_ok=True)
        link.symlink_to(file)
        assert file_digest(link) == sha256(content)


def test_digest_of_an_attachment_follows_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(ONE)
    attachment: Attachment = document(path).attachment
    settled(path)
    in_place(path, OTHER)
    found = content_digest(attachment, "file_url")
    assert found
    assert (found.sha256, found.head) == (sha256(OTHER), OTHER)

"""
Reading a source tree: which files count, and their text. Bounded; links are not followed, binary files not read.

Patterns are the usual globs: ``*`` within a folder, ``**`` over folders.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from golive.errors import UnavailableError
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import FilesProbe, Target

FILES_MAX = 50_000
FILE_BYTES_MAX = 2 * 1024 * 1024
_SHOWN = 3
_NEVER = {".git", "node_modules", ".venv", "venv", "__pycache__"}


@dataclass(frozen=True, slots=True)
class Finding:
    """A place in the tree, line from 1 (0: the file itself), and what is wrong there."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


def files(target: Target) -> Iterator[tuple[str, Path]]:
    """
    Every file of the tree as (path relative to it with ``/``, absolute path), in a stable order.

    Raises: UnavailableError when there is no tree, or it has more files than a source tree has.
    """
    root = target.root
    if root is None or not root.is_dir():
        raise UnavailableError(f"no source tree to look at ({root if root is not None else 'none given'}).")
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _NEVER)
        for name in sorted(names):
            count += 1
            if count > FILES_MAX:
                raise UnavailableError(f"{root}: more than {FILES_MAX} files. Point golive at the source tree.")
            path = Path(folder, name)
            yield path.relative_to(root).as_posix(), path


def sources(target: Target) -> Iterator[tuple[str, str]]:
    """The files that run in production as (relative path, text)."""
    probe: FilesProbe = target.files
    for name, path in files(target):
        if matches(name, probe.source) and not matches(name, probe.exclude):
            text = read(path)
            if text is not None:
                yield name, text


def read(path: Path) -> str | None:
    """The text of a file; None when it is too large, binary, no plain file, or cannot be read."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_BYTES_MAX:  # a pipe has no end
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return None if b"\0" in data[:1024] else data.decode("utf-8", "replace")


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether the relative path *name* fits one of the globs."""
    return any(_regex(pattern).fullmatch(name) for pattern in patterns)


def judge(findings: list[Finding], looked_at: str, wrong: str) -> Outcome:
    """PASS without findings; otherwise FAIL with the first few of them and all in the evidence."""
    if not findings:
        return passed(looked_at)
    shown = "; ".join(str(finding) for finding in findings[:_SHOWN])
    more = f" and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    listed = [{"file": finding.file, "line": finding.line, "text": finding.text} for finding in findings[:500]]
    return failed(f"{len(findings)} {wrong}: {shown}{more}", findings=listed)


def scan(target: Target, look: Callable[[str, str], Iterator[Finding]]) -> tuple[list[Finding], int]:
    """Call *look* with name and text of every production file; what it found, and how many files there were."""
    findings: list[Finding] = []
    count = 0
    for name, text in sources(target):
        count += 1
        findings += look(name, text)
    return findings, count


@lru_cache
def _regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts), re.DOTALL)

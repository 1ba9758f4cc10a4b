"""
Running a well-kept tool of somebody else for a gate: found or named, bounded in time and output, never half believed.

A tool is looked for on PATH, then beside the interpreter golive runs in (a virtual environment nobody activated). One
that is missing, too slow, or ends in a way it does not document is UNAVAILABLE with the end of what it printed: only an
answer the gate can read is a PASS or a FAIL.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from golive.errors import UnavailableError
from golive.gates import tree
from golive.gates.outcome import Outcome
from golive.gates.target import Target

OUTPUT_MAX = 8 * 1024 * 1024
"""Bytes of an answer that are read; a longer one is UNAVAILABLE, for its end would be missing."""
TAIL_MAX = 2000
"""Characters of output in a sentence or as evidence, where tools say what is wrong."""
GRACE_SECONDS = 5.0
"""For killing what was too slow, before the scheduler gives up on the gate."""
BATCH = 400
"""Files named in one call; the kernel bounds how long a command line may be."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a tool ended: its exit code, its standard output, and the end of its standard error."""

    program: str
    code: int
    output: str
    errors: str

    @property
    def tail(self) -> str:
        """The end of what it printed; of standard error, where there is any."""
        return (self.errors.strip() or self.output.strip())[-TAIL_MAX:]

    def unreadable(self) -> UnavailableError:
        """It ended in a way that is neither a PASS nor a FAIL."""
        return UnavailableError(f"{self.program} ended with {self.code}: {self.tail or 'without a word'}")

    def json(self) -> Any:
        """
        Its standard output.

        Raises: UnavailableError when that is no JSON: the tool crashed, or speaks another version's language.
        """
        try:
            return json.loads(self.output)
        except (ValueError, RecursionError):
            raise self.unreadable() from None


def find(program: str, install: str) -> str:
    """
    The path of *program*.

    Raises: UnavailableError that says what to *install*.
    """
    beside = os.path.dirname(sys.executable)
    found = shutil.which(program) or (shutil.which(program, path=beside) if beside else None)
    if found is None:
        raise UnavailableError(f"{program} is not installed: expected it on PATH. Install {install}.")
    return found


async def run_tool(
    program: str,
    arguments: Iterable[str],
    *,
    install: str,
    root: Path | None,
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """
    Run *program* in *root* to its end; it is killed with all it started after *timeout* seconds.

    Raises: UnavailableError when it is missing (with what to *install*), cannot be started, is too slow, is killed by
        a signal, or prints more than a gate reads.
    """
    path = find(program, install)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = await asyncio.create_subprocess_exec(
                path, *arguments, cwd=root, env={**os.environ, **(env or {})}, stdin=asyncio.subprocess.DEVNULL,
                stdout=output, stderr=errors, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise UnavailableError(f"{program}: cannot be started ({error.strerror})") from None
        try:
            code = await asyncio.wait_for(process.wait(), timeout)
        except TimeoutError:
            raise UnavailableError(
                f"{program} was not done within {timeout:g} s and was killed. Give it more time or fewer files."
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        size = output.seek(0, os.SEEK_END)
        if size > OUTPUT_MAX:
            raise UnavailableError(f"{program} printed {size} bytes, more than the {OUTPUT_MAX} a gate reads")
        ran = Ran(program, code, _text(output, 0), _text(errors, max(errors.seek(0, os.SEEK_END) - 2 * TAIL_MAX, 0)))
    if code < 0:
        raise ran.unreadable()
    return ran


def chosen(target: Target, patterns: tuple[str, ...]) -> list[str]:
    """
    The files of the tree that fit *patterns* and are not excluded by ``[gates.files]``.

    Raises: UnavailableError when there is none: nothing looked at is no pass.
    """
    names = [name for name, _ in tree.files(target)
             if tree.matches(name, patterns) and not tree.matches(name, target.files.exclude)]  # fmt: skip
    if not names:
        raise UnavailableError(f"no file to look at: none in the tree fits {' or '.join(patterns)}")
    return names


def batches(names: list[str]) -> Iterator[list[str]]:
    """*names* as arguments, a command line at a time; one that begins with a dash is no option."""
    for begin in range(0, len(names), BATCH):
        yield [f"./{name}" for name in names[begin : begin + BATCH]]


def place(target: Target, file: object) -> str:
    """The file a tool names, relative to the tree and without the ``./`` it was given."""
    name = os.path.normpath(str(file))
    if os.path.isabs(name) and target.root is not None:
        name = os.path.relpath(name, target.root.resolve())
    return Path(name).as_posix()


def judge(findings: list[tree.Finding], looked_at: str, wrong: str) -> Outcome:
    """PASS without findings; otherwise FAIL, with the places in the order of the tree."""
    return tree.judge(sorted(findings, key=lambda each: (each.file, each.line)), looked_at, wrong)


def _text(file: IO[bytes], begin: int) -> str:
    file.seek(begin)
    return file.read().decode("utf-8", "replace")

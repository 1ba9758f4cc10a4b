"""
Starting what a gate needs to be judged: a copy of the service on a port of its own, and nothing of it left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from golive.errors import UnavailableError
from golive.freeport import free_port
from golive.gates.builtin.startup import USUAL
from golive.gates.http import Client, NoAnswerError

OUTPUT_MAX = 256 * 1024
_POLL_SECONDS = 0.1


@dataclass(slots=True)
class Started:
    """A running copy: its process, its URL, and the end of what it has printed so far."""

    process: asyncio.subprocess.Process
    url: str
    output: bytearray

    @property
    def last_words(self) -> str:
        """The end of standard output and standard error."""
        return self.output[-4000:].decode("utf-8", "replace")


@asynccontextmanager
async def started(
    command: tuple[str, ...], env: Mapping[str, str], root: Path | None, **words: str
) -> AsyncIterator[Started]:
    """
    The service started with *command*; killed with all it started when the block ends.

    ``{port}`` (a free one, also in ``PORT``), ``{python}`` and *words* are filled in *command* and *env*.

    Raises: UnavailableError when there is no command, or it cannot be started.
    """
    if not command:
        raise UnavailableError("no command declared: write [deploy] command, or one for this gate")
    port = free_port()
    known = {"port": str(port), "python": sys.executable, **words}
    argv = fill(command, known)
    variables = {name: fill((value,), known)[0] for name, value in env.items()}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=root, env={**os.environ, "PORT": str(port), **variables}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise UnavailableError(f"{argv[0]}: cannot be started ({error.strerror})") from None
    running = Started(process, f"http://127.0.0.1:{port}", bytearray())
    reader = asyncio.create_task(_read(process, running.output))
    try:
        yield running
    finally:
        kill(process)
        await process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader, 1.0)  # a grandchild outside the group may hold the pipe open


async def run_to_end(
    command: tuple[str, ...], env: Mapping[str, str], root: Path | None, timeout: float, **words: str
) -> str:
    """
    Run *command* to its end and return what it printed.

    Raises: UnavailableError when it fails, is not done in time, or cannot be started; with its last line.
    """
    async with started(command, env, root, **words) as running:
        try:
            code = await asyncio.wait_for(running.process.wait(), timeout)
        except TimeoutError:
            raise UnavailableError(f"{command[0]} was not done within {timeout:g} s") from None
        await asyncio.sleep(0.02)  # the reader takes what is still in the pipe
        if code != 0:
            last = running.last_words.strip().rpartition("\n")[2]
            raise UnavailableError(f"{' '.join(command[:3])} ended with {code}: {last}")
        return running.output.decode("utf-8", "replace")


async def ready(running: Started, client: Client, limit: float, paths: tuple[str, ...] = USUAL) -> bool:
    """Wait until one of *paths* is 200; False when the process ends first or *limit* seconds pass."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit and running.process.returncode is None:
        for path in paths:
            with contextlib.suppress(NoAnswerError):
                status = (await client.get(path)).status
                if status == 200:
                    return True
                if status not in (404, 405):
                    break
        await asyncio.sleep(_POLL_SECONDS)
    return False


def fill(argv: tuple[str, ...], words: Mapping[str, str]) -> tuple[str, ...]:
    """``{name}`` in each part of *argv* replaced; other braces stay."""
    filled = []
    for part in argv:
        text = part
        for name, value in words.items():
            text = text.replace(f"{{{name}}}", value)
        filled.append(text)
    return tuple(filled)


def kill(process: asyncio.subprocess.Process) -> None:
    """SIGKILL to the process and everything in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _read(process: asyncio.subprocess.Process, output: bytearray) -> None:
    assert process.stdout is not None, "it was asked for"
    while data := await process.stdout.read(64 * 1024):
        output += data
        del output[:-OUTPUT_MAX]

"""
A gate that is a command somebody declared: exit code 0 is a PASS, anything else a FAIL with the end of its output.

No shell is involved. A command that cannot be started, or is not done in time, is UNAVAILABLE; it is killed then with
all it started. Its output goes through a file that is deleted with the gate: what stays is the tail, as evidence.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target

TAIL_MAX = 4000
"""Bytes of output kept as evidence: the last screen or two, where tools say what is wrong."""
_GRACE_SECONDS = 5.0  # for killing what was too slow, before the scheduler gives up on the gate


@dataclass(frozen=True, slots=True)
class CommandProbe:
    """
    Attributes:
        argv: the program and its arguments, as they are; ``{url}`` becomes the URL of the target.
        env: laid over the environment of golive.
        timeout: seconds until it must be done.
        proves: what exit code 0 means, for the list of gates.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    proves: str = ""


def command_gate(name: str, probe: CommandProbe) -> Gate:
    """*probe* as a gate called *name*; it runs in the root of the target."""

    async def check(target: Target) -> Outcome:
        return await _run(probe, target)

    proves = probe.proves or f"`{' '.join(probe.argv)}` ends with 0."
    return Gate(name, proves, Phase.PREFLIGHT, check, timeout=probe.timeout + _GRACE_SECONDS)


async def _run(probe: CommandProbe, target: Target) -> Outcome:
    argv = [part.replace("{url}", target.url) for part in probe.argv]
    begin = time.monotonic()
    with tempfile.TemporaryFile() as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=target.root,
                env={**os.environ, **probe.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            return unavailable(f"{argv[0]}: cannot be started ({error.strerror})", argv=argv)
        code = await _exit_code(process, probe.timeout)
        evidence = {"argv": argv, "exit_code": code, "seconds": round(time.monotonic() - begin, 2),
                    "output_tail": _tail(output)}  # fmt: skip
    if code is None:
        return unavailable(f"{argv[0]} was not done within {probe.timeout:g} s and was killed", **evidence)
    if code == 0:
        return passed(f"{argv[0]} ended with 0 after {evidence['seconds']} s", **evidence)
    last = str(evidence["output_tail"]).strip().rpartition("\n")[2]
    return failed(f"{argv[0]} ended with {code}{': ' + last if last else ''}", **evidence)


async def _exit_code(process: asyncio.subprocess.Process, timeout: float) -> int | None:
    """None when time ran out. What the command started and left behind is killed in any case."""
    try:
        return await asyncio.wait_for(process.wait(), timeout)
    except TimeoutError:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(size - TAIL_MAX, 0))
    return output.read(TAIL_MAX).decode("utf-8", "replace")

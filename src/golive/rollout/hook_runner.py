"""
Hooks as processes on this machine, each call in a folder of its own below the state folder.

The claim in the folder, not the memory of a controller, says whether a call began; see
:mod:`golive.rollout.hook_process`. A folder stays after the rollout: it is evidence, with what the hook printed.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

from golive.errors import UnavailableError
from golive.rollout import hook_process
from golive.rollout.hooks import HookOrder, HookOutcome, HookResult
from golive.rollout.processes import Process, alive, spawn
from golive.timing import Clock, SystemClock

OUTPUT_TAIL = 2000
"""Characters of the output that go into the journal; the file has more."""
_POLL_SECONDS = 0.05
_STARTS_MAX = 3
"""How often a starter that ended without a claim is followed by another: out of memory, say, not a faulty command."""


class ProcessHooks:
    """
    Runs hooks in *root*, with their claims below *folder*.

    See :class:`golive.rollout.hooks.HookRunner`.
    """

    def __init__(self, folder: Path, root: Path, clock: Clock | None = None) -> None:
        self.folder = folder
        self.root = root
        self.clock = clock or SystemClock()

    async def run(self, order: HookOrder) -> HookResult:
        """See :class:`golive.rollout.hooks.HookRunner`."""
        place = self.folder / order.rollout / order.call.name
        place.mkdir(parents=True, exist_ok=True)
        starter: Process | None = None
        starts = 0
        while True:
            if (place / hook_process.CLAIM).exists():
                if not _locked(place / hook_process.CLAIM):
                    return _result(place, order)
            elif starter is None or not alive(starter):
                starts += 1
                if starts > _STARTS_MAX:
                    log = (place / "starter.log").read_text(errors="replace").strip()
                    raise UnavailableError(f"its process ended at once. {log[-300:]}")
                starter = self._spawn(order, place)
            await self.clock.sleep(_POLL_SECONDS)

    def _spawn(self, order: HookOrder, place: Path) -> Process:
        script = [sys.executable, "-I", "-S", str(Path(hook_process.__file__).resolve())]
        seconds = str(order.timeout.total_seconds())
        return spawn(
            [*script, str(place.resolve()), seconds, *order.command],
            cwd=self.root,
            env={**os.environ, **order.environment},
            log=place / "starter.log",
        )


def _locked(claim: Path) -> bool:
    """Whether whoever made the *claim* still lives."""
    descriptor = os.open(claim, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _result(place: Path, order: HookOrder) -> HookResult:
    output = _tail(place / hook_process.OUTPUT)
    try:
        outcome = json.loads((place / hook_process.OUTCOME).read_bytes())
        code, timed_out, seconds = outcome["exit_code"], bool(outcome["timed_out"]), float(outcome["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        where = f"what it printed is in {place / hook_process.OUTPUT}"
        return HookResult(HookOutcome.UNKNOWN, f"began, and nobody knows how it ended; {where}", output)
    if timed_out:
        return HookResult(HookOutcome.TIMED_OUT, f"was ended after its {order.timeout.total_seconds():g} s", output)
    if code is None:
        return HookResult(HookOutcome.FAILED, f"could not be started: {output.strip() or order.command[0]}", output)
    how = f"exited with {code}" if code >= 0 else f"was ended by signal {-code}"
    last = output.strip().rpartition("\n")[2][:200] if code else ""
    said = f"{how} after {seconds:.3g} s" + (f" ({last})" if last else "")
    return HookResult(HookOutcome.FAILED if code else HookOutcome.OK, said, output)


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - 4 * OUTPUT_TAIL))
            return handle.read().decode(errors="replace")[-OUTPUT_TAIL:]
    except OSError:
        return ""

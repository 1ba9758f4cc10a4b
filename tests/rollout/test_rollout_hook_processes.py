"""Hooks as real processes: started once, whoever dies; bounded in time and output."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from golive.rollout import hook_process
from golive.rollout.hook_runner import ProcessHooks
from golive.rollout.hooks import HookCall, HookOrder, HookOutcome

CALL = HookCall("before_stage", 0)


@pytest.fixture
def hooks(tmp_path: Path) -> ProcessHooks:
    """A runner whose hooks work in the test's folder."""
    return ProcessHooks(tmp_path / "hooks", tmp_path)


def order(script: str, *, timeout: float = 60, call: HookCall = CALL) -> HookOrder:
    command = ("/bin/sh", "-c", script)
    return HookOrder("web-1", call, command, timedelta(seconds=timeout), {"GOLIVE_WEIGHT": "10"})


async def until(condition: object) -> None:
    async with asyncio.timeout(30):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)


async def test_a_hook_knows_its_rollout_and_its_output_is_kept(hooks: ProcessHooks) -> None:
    """The environment tells it where it is; what it prints is in the result and in its folder."""
    result = await hooks.run(order("echo weight $GOLIVE_WEIGHT; pwd"))
    assert result.outcome is HookOutcome.OK
    assert result.output == f"weight 10\n{hooks.root}\n"
    assert (hooks.folder / "web-1" / "before_stage-1-1" / "output").read_text() == result.output


async def test_a_failure_says_the_code_and_the_last_line(hooks: ProcessHooks) -> None:
    """The sentence is enough to know what to look at."""
    result = await hooks.run(order("echo first; echo no such table >&2; exit 3"))
    assert result.outcome is HookOutcome.FAILED
    assert result.said.startswith("exited with 3 after ")
    assert result.said.endswith("(no such table)")


async def test_what_cannot_be_started_has_failed(hooks: ProcessHooks) -> None:
    """A typing error in the command is a failure with the reason, not a crash of the controller."""
    result = await hooks.run(HookOrder("web-1", CALL, ("./no-such-hook",), timedelta(seconds=5), {}))
    assert result.outcome is HookOutcome.FAILED
    assert "./no-such-hook: No such file or directory" in result.said


async def test_a_hook_that_takes_too_long_is_ended_with_its_children(hooks: ProcessHooks, tmp_path: Path) -> None:
    """SIGTERM to the whole session at the time-out."""
    result = await hooks.run(order("sleep 600 & echo $! > child; wait", timeout=0.3))
    assert result.outcome is HookOutcome.TIMED_OUT
    assert result.said == "was ended after its 0.3 s"
    child = int((tmp_path / "child").read_text())
    await until(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def test_endless_output_is_bounded_and_says_so(hooks: ProcessHooks) -> None:
    """The beginning and the end are kept; the mark says how much is missing."""
    result = await hooks.run(order("yes golive | head -c 3000000; echo the end"))
    assert result.outcome is HookOutcome.OK
    assert result.output.endswith("the end\n")
    kept = (hooks.folder / "web-1" / "before_stage-1-1" / "output").read_text()
    assert len(kept) < hook_process.OUTPUT_MAX + hook_process.TAIL_MAX + 100
    assert "bytes were left out" in kept


async def test_a_hook_outlives_its_controller_and_the_next_one_finds_its_end(
    hooks: ProcessHooks, tmp_path: Path
) -> None:
    """The wait is cancelled as by a kill; the hook goes on, and is not started again."""
    running = order("echo ran >> ran; while [ ! -e go ]; do sleep 0.05; done; exit 7")
    first = asyncio.create_task(hooks.run(running))
    await until((tmp_path / "ran").exists)
    first.cancel()
    second = asyncio.create_task(ProcessHooks(hooks.folder, hooks.root).run(running))
    (tmp_path / "go").touch()
    assert (await second).said.startswith("exited with 7")
    assert (await hooks.run(running)).said.startswith("exited with 7"), "asked again, it is the same end"
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_of_eight_controllers_that_start_it_at_once_one_hook_runs(hooks: ProcessHooks, tmp_path: Path) -> None:
    """The claim is made once, whoever is first; the others wait for the same end."""
    raced = order("echo ran >> ran; sleep 0.2")
    results = await asyncio.gather(*(ProcessHooks(hooks.folder, hooks.root).run(raced) for _ in range(8)))
    assert {result.said for result in results} == {results[0].said}
    assert (tmp_path / "ran").read_text() == "ran\n"


async def test_when_the_watcher_is_killed_nobody_knows_and_it_is_not_run_again(
    hooks: ProcessHooks, tmp_path: Path
) -> None:
    """As after a power cut: the claim stands, the end is missing. Silence would be a guess, so it is UNKNOWN."""
    lost = order("echo ran >> ran; sleep 600 & echo $! > child; wait")
    waiting = asyncio.create_task(hooks.run(lost))
    await until((tmp_path / "child").exists)
    claim = hooks.folder / "web-1" / "before_stage-1-1" / "claim"
    os.kill(int(claim.read_text()), signal.SIGKILL)
    result = await waiting
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    assert result.outcome is HookOutcome.UNKNOWN
    assert "nobody knows how it ended" in result.said
    assert (await hooks.run(lost)).outcome is HookOutcome.UNKNOWN
    assert (tmp_path / "ran").read_text() == "ran\n"
    again = await hooks.run(order("echo ran >> ran", call=HookCall("before_stage", 0, 2)))
    assert again.outcome is HookOutcome.OK, "a new attempt is a new key"

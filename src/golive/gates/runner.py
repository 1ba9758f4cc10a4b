"""
Running gates: each as soon as what it needs has ended, each with a time limit, and no way for one to take the run down.

A gate that hangs, raises, or ignores its cancellation ends UNAVAILABLE with the reason in words. What it cannot
survive is a gate that blocks the event loop; gates do their blocking work in threads or processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime

from golive.errors import GoliveError
from golive.gates.gate import Gate
from golive.gates.outcome import Outcome, Verdict, unavailable
from golive.gates.planner import waves
from golive.gates.registry import catalogue
from golive.gates.report import Report, Result
from golive.gates.target import Target
from golive.gates.waiver import Waiver, apply, by_gate

_CANCEL_SECONDS = 1.0
AT_ONCE = 8
"""Gates that run together; more only get in each other's way."""


async def run_gates(
    names: Iterable[str],
    target: Target,
    *,
    waivers: Iterable[Waiver] = (),
    on_result: Callable[[Result], None] | None = None,
    on_start: Callable[[Gate], None] | None = None,
    gates: Mapping[str, Gate] | None = None,
) -> Report:
    """
    Run the gates *names*, and those they depend on, against *target*.

    Args:
        waivers: at most one per gate.
        on_result: called as each gate ends, in the order they end.
        on_start: called as each gate begins.
        gates: the catalogue; None takes the built-in one.

    Raises:
        UsageError: an unknown gate.
        ConfigError: waivers that contradict each other, are not signed, or are of no gate.
    """
    known = gates if gates is not None else catalogue()
    planned = waves(names, known)
    accepted = by_gate(waivers, known)
    started_at, begin = datetime.now(UTC), time.monotonic()
    results: dict[str, Result] = {}

    async def run_one(gate: Gate) -> None:
        if on_start is not None:
            on_start(gate)
        gate_begin = time.monotonic()
        outcome = apply(await _outcome(gate, target, results), accepted.get(gate.name), started_at.date())
        results[gate.name] = Result(gate.name, gate.phase, outcome, time.monotonic() - gate_begin)
        if on_result is not None:
            on_result(results[gate.name])

    await _schedule([gate for wave in planned for gate in wave], run_one)
    ordered = [results[gate.name] for wave in planned for gate in wave]
    return Report(target.url, target.environment, started_at, time.monotonic() - begin, ordered)


async def _schedule(gates: list[Gate], run_one: Callable[[Gate], Awaitable[None]]) -> None:
    """
    Start each of *gates* as soon as those it needs have ended, a few at a time; an exclusive one when nothing else runs
    or could.
    """
    left, done = list(gates), set[str]()
    running: dict[asyncio.Future[None], Gate] = {}
    try:
        while left or running:
            ready = [gate for gate in left if done.issuperset(gate.depends_on)]
            shared = [gate for gate in ready if not gate.exclusive]
            alone = any(gate.exclusive for gate in running.values())
            starting = [] if alone else shared[: max(AT_ONCE - len(running), 0)]
            if not running and not starting:
                starting = ready[:1]
            for gate in starting:
                left.remove(gate)
                running[asyncio.ensure_future(run_one(gate))] = gate
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                done.add(running.pop(task).name)
                task.result()
    finally:
        for task in running:
            task.cancel()


async def _outcome(gate: Gate, target: Target, results: Mapping[str, Result]) -> Outcome:
    for needed in gate.depends_on:
        verdict = results[needed].outcome.verdict
        if verdict not in (Verdict.PASS, Verdict.WAIVED):
            return unavailable(f"not run: it needs {needed}, which is {verdict}")
    return await _limited(gate, target)


async def _limited(gate: Gate, target: Target) -> Outcome:
    task = asyncio.ensure_future(gate.check(target))
    try:
        await asyncio.wait({task}, timeout=gate.timeout)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
    if not task.done() or task.cancelled():
        return unavailable(f"did not finish within {gate.timeout:g} s")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, (GoliveError, OSError)):
        return unavailable(str(error) or type(error).__name__)
    return unavailable(f"the gate itself failed: {type(error).__name__}: {error}")

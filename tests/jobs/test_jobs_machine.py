"""The life of a job: the table itself, and random lives lived in two stores at once."""

from __future__ import annotations

import ast
import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.jobs import machine
from golive.jobs.machine import (
    LEGAL_MOVES,
    TERMINAL,
    TRANSITIONS,
    Event,
    IllegalTransitionError,
    State,
    after_expiry,
    after_failure,
    move,
    retry_delay_seconds,
)  # fmt: skip
from golive.jobs.model import Claim, Demand, Failure, Job, Settlement
from golive.jobs.stores.memory import MemoryStore
from golive.jobs.stores.sqlite import SqliteStore
from golive.testing.jobs import LEASE, new_job


def test_every_pair_is_in_the_table_or_refused() -> None:
    """Forty pairs; ten lines; nothing else moves a job."""
    for state in State:
        for event in Event:
            if (state, event) in TRANSITIONS:
                assert move(state, event) is TRANSITIONS[state, event]
            else:
                with pytest.raises(IllegalTransitionError, match=f'a {state} job cannot "{event}"'):
                    move(state, event)


def test_a_finished_job_moves_only_when_a_person_says_so() -> None:
    """Success is for ever; failed and cancelled jobs can be redriven and nothing else."""
    after_the_end = {(state, event) for state, event in TRANSITIONS if state in TERMINAL}
    assert after_the_end == {(State.FAILED, Event.REDRIVE), (State.CANCELLED, Event.REDRIVE)}


def test_every_state_is_reachable_and_every_life_can_end() -> None:
    """No dead ends, no orphans."""
    reached = {State.PENDING}
    while more := {after for before, after in LEGAL_MOVES if before in reached} - reached:
        reached |= more
    assert reached == set(State)


@given(st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_a_job_is_tried_at_most_attempts_max_times(attempts: int, attempts_max: int, retryable: bool) -> None:
    """A retry is decided only while attempts are left, and only for what may be retried."""
    again = attempts < attempts_max
    assert after_failure(attempts, attempts_max, retryable) is (Event.RETRY if again and retryable else Event.FAIL)
    assert after_expiry(attempts, attempts_max, False) is (Event.EXPIRE if again else Event.FAIL)
    assert after_expiry(attempts, attempts_max, True) is Event.CANCEL


@given(st.integers(1, 10_000), st.floats(0.001, 60), st.floats(0.001, 3600), st.floats(0, 1, exclude_max=True))
def test_delays_grow_within_their_bounds(attempts: int, base: float, most: float, chance: float) -> None:
    """Never above the maximum, never below half of the ceiling, never shorter for a later failure."""
    delay = retry_delay_seconds(attempts, base, most, chance)
    assert min(base, most) / 2 <= delay <= most
    assert retry_delay_seconds(attempts + 1, base, most, chance) >= delay


def test_the_machine_touches_nothing() -> None:
    """No clock, no chance, no I/O: they arrive as arguments."""
    tree = ast.parse(Path(machine.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} | {
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert imported <= {"__future__", "enum", "collections.abc", "types"}


class Twins:
    """The same operations on two stores under one clock; they must agree, and every job must keep to the table."""

    def __init__(self, sqlite: SqliteStore, memory: MemoryStore) -> None:
        self.stores = (sqlite, memory)
        self.jobs: dict[str, Job] = {}
        self.claims: list[Claim] = []
        self.ends: dict[str, int] = {}

    async def do(self, operation: tuple[str, int, int]) -> None:
        name, first, second = operation
        answers = [await getattr(self, name)(store, first, second) for store in self.stores]
        assert answers[0] == answers[1], name
        self.took(name, answers[0])

    async def submit(self, store: SqliteStore, first: int, second: int) -> object:
        key = f"k{second}" if second < 3 else None
        new = new_job(priority=first % 3, attempts_max=1 + first % 3, idempotency_key=key, kind=("a", "b")[second % 2])
        self.fresh = getattr(self, "fresh", None) or new
        return (await store.submit([self.fresh]))[0]

    async def claim(self, store: SqliteStore, first: int, second: int) -> object:
        demands = [Demand("default", "a", 1 + first % 3), Demand("default", "b", 1 + second % 2)]
        return await store.claim(demands, 1 + second % 4, f"w{first % 7 // 6}", LEASE, None)  # mostly one worker

    async def settle(self, store: SqliteStore, first: int, second: int) -> object:
        if not self.claims:
            return []
        held = self.claims[first % len(self.claims)]
        failed = after_failure(held.attempts, held.attempts_max, retryable=True)  # what a worker would decide
        event = (Event.SUCCEED, Event.FAIL, failed, Event.HAND_BACK, Event.CANCEL)[second % 5]
        failure = Failure("bad", "bad") if event in (Event.FAIL, Event.RETRY) else None
        result = b"1" if event is Event.SUCCEED else None
        return await store.settle([Settlement(held.id, held.worker, held.fence, event, result, failure, float(second))])

    async def extend(self, store: SqliteStore, first: int, second: int) -> object:
        return await store.extend(self.claims[-first:], LEASE)

    async def rescue(self, store: SqliteStore, first: int, second: int) -> object:
        return sorted((each.id, each.state) for each in await store.rescue(1000))

    def took(self, name: str, answer: object) -> None:
        if name == "submit":
            del self.fresh
            self.jobs.setdefault(answer.job.id, answer.job)  # type: ignore[attr-defined]
        if name == "claim":
            self.claims += answer  # type: ignore[operator]

    async def check(self) -> None:
        for id_, before in list(self.jobs.items()):
            after, twin = [await store.get(before.id) for store in self.stores]
            assert after == twin
            assert after is not None
            if after.state is not before.state:
                assert (before.state, after.state) in LEGAL_MOVES
                self.ends[id_] = self.ends.get(id_, 0) + after.state.terminal
            assert after.attempts <= after.attempts_max
            assert self.ends.get(id_, 0) <= 1
            self.jobs[id_] = after


#: What survives a power cut is not the point here; without one fsync per step the test takes a third of the time.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

NAMES = ["submit", "claim", "claim", "settle", "settle", "settle", "extend", "rescue", "rescue", "advance", "advance"]
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 20), st.integers(0, 20)), min_size=20, max_size=80
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(OPERATIONS)
def test_random_lives_agree_in_both_stores_and_keep_to_the_table(operations: list[tuple[str, int, int]]) -> None:
    """Whatever order claims, results, zombies, rescues and time come in: one terminal transition, no attempt more."""

    async def live() -> None:
        now = [1_800_000_000.0]
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            sqlite, memory = SqliteStore(Path(folder) / "jobs.db", clock=lambda: now[0]), MemoryStore(lambda: now[0])
            await sqlite.open()
            twins = Twins(sqlite, memory)
            for name, first, second in [("submit", 2, 9)] * 4 + operations:
                now[0] += 0.001  # two stores draw the same order only if no two jobs share an instant
                if name == "advance":
                    now[0] += LEASE + 1 if second % 3 else 1
                else:
                    await twins.do((name, first, second))
                await twins.check()
            await sqlite.close()

    asyncio.run(live())

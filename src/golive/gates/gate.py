"""
A gate: one thing that must be true before, while or after a version gets traffic, and the code that finds out.

The same object serves as pre-flight check, as smoke test of a candidate and as watch after the launch.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from golive.gates.outcome import Outcome
from golive.gates.target import Target

Check = Callable[[Target], Awaitable[Outcome]]


class Phase(enum.StrEnum):
    """When a gate makes sense, in order."""

    PREFLIGHT = "preflight"
    """On the source tree, before anything runs."""
    DEPLOY = "deploy"
    """On a fresh candidate without traffic."""
    SMOKE = "smoke"
    """On what the service promises its callers."""
    LOAD = "load"
    """On how it behaves under load and when it is stopped."""
    WATCH = "watch"
    """On a service with traffic, after the launch and for as long as somebody wants to know."""


@dataclass(frozen=True, slots=True)
class Gate:
    """
    Attributes:
        name: what ``golive check NAME`` says.
        proves: one line, what a PASS means.
        check: may raise :class:`~golive.errors.GoliveError` or OSError for "could not run"; the scheduler makes
            UNAVAILABLE of it, and of a gate that is not done after *timeout* seconds.
        depends_on: gates that must PASS first, otherwise this one is UNAVAILABLE.
        exclusive: runs alone, because it measures time or disturbs others.
        watch: does no harm to a service with traffic, and is run there again and again by ``--phase watch``.
    """

    name: str
    proves: str
    phase: Phase
    check: Check
    depends_on: tuple[str, ...] = ()
    timeout: float = 30.0
    exclusive: bool = False
    watch: bool = False

    def in_phase(self, phase: Phase) -> bool:
        """Whether it belongs to *phase*: the same gate is a smoke test before the launch and a watch after it."""
        return self.phase is phase or (phase is Phase.WATCH and self.watch)

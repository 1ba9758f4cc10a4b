"""
The life of a job, as a table. Pure: time and chance arrive as arguments.

    pending --claim--> running --succeed--> succeeded
       ^                 |  |----fail-----> failed      (no attempts left: the dead-letter view)
       |                 |  |----cancel---> cancelled
       +--retry, hand back, lose the lease--+

Two counters tell two different things. ``attempts`` counts the runs that are held against the job; a worker that drains
hands its jobs back and the attempt is not counted. ``fence`` counts claims and only ever grows: a result is accepted
only from the worker and the fence of the latest claim, so that a worker which was thought dead cannot overwrite its
successor. Every change of state in every store is a line of :data:`TRANSITIONS`; the stores refuse all others.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class State(enum.StrEnum):
    """Where a job is. The last three are terminal."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Nothing happens to the job by itself any more."""
        return self in TERMINAL


class Event(enum.StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    """A worker takes it, under a lease."""
    SUCCEED = "succeed"
    FAIL = "fail"
    """For good: not retryable, or no attempts left."""
    RETRY = "retry"
    """The attempt failed and another one is allowed."""
    HAND_BACK = "hand back"
    """The worker drains; the attempt does not count."""
    EXPIRE = "expire"
    """The lease ran out (the worker died) and another attempt is allowed."""
    CANCEL = "cancel"
    REDRIVE = "redrive"
    """A person puts a finished job back, with a fresh set of attempts."""


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.PENDING, Event.CLAIM): State.RUNNING,
        (State.PENDING, Event.CANCEL): State.CANCELLED,
        (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
        (State.RUNNING, Event.FAIL): State.FAILED,
        (State.RUNNING, Event.RETRY): State.PENDING,
        (State.RUNNING, Event.HAND_BACK): State.PENDING,
        (State.RUNNING, Event.EXPIRE): State.PENDING,
        (State.RUNNING, Event.CANCEL): State.CANCELLED,
        (State.FAILED, Event.REDRIVE): State.PENDING,
        (State.CANCELLED, Event.REDRIVE): State.PENDING,
    }
)

#: The pairs a stored row may go through; stores render this into a trigger.
LEGAL_MOVES = frozenset((before, after) for (before, _), after in TRANSITIONS.items())


class IllegalTransitionError(AssertionError):
    """Our own code tried to move a job in a way the table does not know."""


def move(state: State, event: Event) -> State:
    """
    The state after *event*.

    Raises: IllegalTransitionError when the table has no such line.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(f'a {state} job cannot "{event}"') from None


def after_failure(attempts: int, attempts_max: int, retryable: bool) -> Event:
    """What a failed run leads to. *attempts* includes the run that just failed."""
    return Event.RETRY if retryable and attempts < attempts_max else Event.FAIL


def after_expiry(attempts: int, attempts_max: int, cancel_requested: bool) -> Event:
    """What a lost lease leads to: a job that kills every worker it meets ends after *attempts_max* of them."""
    if cancel_requested:
        return Event.CANCEL
    return Event.EXPIRE if attempts < attempts_max else Event.FAIL


def unless_cancelled(event: Event, cancel_requested: bool) -> Event:
    """*event*, but a job somebody wants cancelled does not go back to wait for its next run."""
    return Event.CANCEL if cancel_requested and event in (Event.RETRY, Event.HAND_BACK) else event


def retry_delay_seconds(attempts: int, base_seconds: float, max_seconds: float, chance: float) -> float:
    """
    How long a job waits after its failure number *attempts* (from 1): exponential, with full jitter below the ceiling.

    Half of the delay is fixed and half is chance, so that a thousand jobs which failed together do not return together
    and none returns at once.

    Args:
        base_seconds: the ceiling after the first failure; it doubles with each one.
        max_seconds: the highest ceiling.
        chance: a number in [0, 1), drawn by the caller.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter" ("equal jitter").
    """
    ceiling = min(max_seconds, base_seconds * 2.0 ** min(attempts - 1, 62))
    return ceiling / 2 + ceiling / 2 * chance

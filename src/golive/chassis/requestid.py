"""
One id per request: the caller's if it is well-formed, otherwise a new one; in the answer, the log and every problem.

The id travels in a context variable, so code far from the request (a logger, an outgoing call, a background task, a
thread-pool endpoint) reads the same one with :func:`request_id`.
"""

from __future__ import annotations

import os
import re
from collections import deque
from contextvars import ContextVar
from typing import Protocol

#: Ids drawn from the system at once: the call costs as much as a tenth of a small request, its length hardly matters.
DRAWN = 256


class Routed(Protocol):
    """A request that can name its route, once the app has found it."""

    def route(self) -> str:
        """The template of the route."""
        ...


Request = tuple[str, str, str, Routed | None]

_WELL_FORMED = re.compile(rb"[A-Za-z0-9._\-]{1,128}")

#: The request being served: its id, its trace's id and the trace's flags. One variable, because setting costs.
#: Last the request itself.
current: ContextVar[Request] = ContextVar("golive_request", default=("", "", "", None))


def request_id() -> str:
    """The id of the request being served, or the empty string outside one."""
    return current.get()[0]


def route(request: Request | None = None) -> str:
    """The route of the request being served, or of *request*; empty outside one."""
    served = (request or current.get())[3]
    return served.route() if served is not None else ""


_drawn: deque[str] = deque()
os.register_at_fork(after_in_child=_drawn.clear)  # or parent and child would give out the same ids


def new_request_id() -> str:
    """32 hexadecimal digits that nobody has seen before. Safe in threads and after a fork."""
    try:
        return _drawn.popleft()
    except IndexError:
        digits = os.urandom(16 * DRAWN).hex()
        _drawn.extend(digits[at : at + 32] for at in range(32, len(digits), 32))
        return digits[:32]


def accept(value: bytes) -> str:
    """*value* as an id when it is safe to repeat (1 to 128 of ``A-Z a-z 0-9 . _ -``), otherwise the empty string."""
    return value.decode("ascii") if _WELL_FORMED.fullmatch(value) else ""

"""
One id per request: the caller's if it is well-formed, otherwise a new one; in the answer, the log and every problem.

The id travels in a context variable, so code far from the request (a logger, an outgoing call, a background task, a
thread-pool endpoint) reads the same one with :func:`request_id`.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar

_WELL_FORMED = re.compile(rb"[A-Za-z0-9._\-]{1,128}")

current: ContextVar[str] = ContextVar("golive_request_id", default="")


def request_id() -> str:
    """The id of the request being served, or the empty string outside one."""
    return current.get()


def new_request_id() -> str:
    """32 hexadecimal digits that nobody has seen before."""
    return os.urandom(16).hex()


def accept(value: bytes) -> str:
    """*value* as an id when it is safe to repeat (1 to 128 of ``A-Z a-z 0-9 . _ -``), otherwise the empty string."""
    return value.decode("ascii") if _WELL_FORMED.fullmatch(value) else ""

"""
Slow statements in the log: by their shape, never with their values, and not without end.

What two calls of one query have in common is enough to find it; the values are the users' data.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING

from golive.chassis import requestid

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.metrics import Counter

#: Slow statements of one shape logged in a minute; the others are counted.
SLOW_PER_MINUTE, SHAPES_MAX = 10, 500

_LITERAL = re.compile(r"'(?:[^']|'')*'|\$\$.*?\$\$|(?<![\w$])\d+(?:\.\d+)?", re.DOTALL)


def shape(statement: str) -> str:
    """*statement* without its values and line breaks: what two calls of one query have in common."""
    return " ".join(_LITERAL.sub("?", statement[:4000]).split())[:500]


class SlowQueries:
    """
    The slow statements of one pool.

    Args:
        counter: moved by each, by the pool's name.
    """

    def __init__(self, chassis: Chassis, name: str, counter: Counter) -> None:
        self._chassis, self._name, self._counter = chassis, name, counter
        self._shapes: dict[str, int] = {}
        self._minute = 0

    def note(self, statement: str, seconds: float) -> None:
        """Count *statement*, and log it unless its shape has had its share of this minute."""
        self._counter.inc(self._name)
        text, minute = shape(statement), int(time.monotonic() // 60)
        if minute != self._minute or len(self._shapes) >= SHAPES_MAX:
            self._minute, self._shapes = minute, {}
        self._shapes[text] = self._shapes.get(text, 0) + 1
        if self._shapes[text] > SLOW_PER_MINUTE:
            return
        self._chassis.log.event(
            "slow_query", level="warning", pool=self._name, seconds=round(seconds, 3), statement=text,
            fingerprint=hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), route=requestid.route(),
            request_id=requestid.request_id(),
        )  # fmt: skip

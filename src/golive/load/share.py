"""
One generator of several: which part of a plan is its own, and the process that carries it out.

Generator *i* of *n* takes every n-th arrival of the one schedule, from the i-th on. So the processes together send
exactly what one would have sent, ``{n}`` included, whatever the stages and the arrivals are.

The conversation with :mod:`golive.load.several`: in comes the plan with the share, then the moment to begin; that the
input ends (because we are told to stop, or because who started us is gone) is the request to stop. Out go ``ready``, a
:class:`Window` each second and the :class:`LoadReport`, or one line about what went wrong.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True, slots=True)
class Share:
    """Part *index* (from 0) of *count* equal ones."""

    index: int = 0
    count: int = 1

    def of_schedule(self, offsets: Iterator[float]) -> Iterator[float]:
        """Every ``count``-th moment, from number ``index`` on."""
        return islice(offsets, self.index, None, self.count)

    def of_total(self, total: int) -> int:
        """How many of *total* things dealt out in turn are ours."""
        return max(total - self.index + self.count - 1, 0) // self.count

    def number(self, own: int) -> int:
        """The number, in the whole run, of our request *own* (from 0)."""
        return own * self.count + self.index


def main() -> None:
    """The generator process."""
    from golive.load.engine import Engine

    told, tell = sys.stdin.buffer, sys.stdout.buffer
    lock = threading.Lock()

    def say(message: object) -> None:
        with lock:
            pickle.dump(message, tell)
            tell.flush()

    stop = threading.Event()

    def listen() -> None:
        while os.read(told.fileno(), 1):  # not through the buffer: a thread inside it at exit is a fatal error
            pass
        stop.set()

    try:
        plan, share = pickle.load(told)  # noqa: S301 - from the process that started us
        engine = Engine(plan, say, stop, share)
        say("ready")
        origin = pickle.load(told)  # noqa: S301 - the same
        threading.Thread(target=listen, daemon=True).start()
        try:
            say(engine.run(origin))
        finally:
            engine.close()
    except (EOFError, BrokenPipeError):
        pass  # who started us is gone: nobody is left to be told
    except Exception as error:
        say(RuntimeError(f"{type(error).__name__}: {error}"))

"""
Where the process is between its start and its end: a small machine without a clock and without I/O.

    STARTING --serve--> SERVING --leave--> LAME_DUCK --drain--> DRAINING
        |                                                          ^
        +--fail--> FAILED        (any phase) ----------drain-------+

``LAME_DUCK`` still serves everything but says "not ready", so that balancers look away before anything is refused.
``DRAINING`` refuses new requests and lets those in flight finish. ``FAILED`` lingers so that a prober can read why.
"""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """What the process is doing; the value is the word shown to people."""

    STARTING = "starting"
    SERVING = "serving"
    LAME_DUCK = "lame-duck"
    DRAINING = "draining"
    FAILED = "failed"


class Lifecycle:
    """
    The phase of this process and the number of requests in flight.

    Attributes:
        phase: see :class:`Phase`; changed only by the methods below.
        step: while starting or failed, what is being done: ``"import"``, ``"lifespan"``, ``"checks"``.
        failure: the kind of failure (an exception's type name), never its message: that may hold a secret.
        admitting: requests for the app may pass.
        closing: answers carry ``Connection: close``.
        in_flight: requests inside the app now; probes and refusals are not counted.
    """

    __slots__ = ("admitting", "closing", "failure", "in_flight", "phase", "started", "step")

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.step = "import"
        self.failure = ""
        self.started = False
        self.admitting = False
        self.closing = False
        self.in_flight = 0

    def serve(self) -> None:
        """The app is imported and its lifespan has started. A shutdown that came first wins."""
        if self.phase is Phase.STARTING:
            self.phase, self.started, self.admitting = Phase.SERVING, True, True

    def hold(self, step: str) -> None:
        """The start goes on with *step*."""
        if self.phase is Phase.STARTING:
            self.step = step

    def fail(self, step: str, failure: str) -> None:
        """The start went wrong in *step*; *failure* is a type name."""
        if self.phase is Phase.STARTING:
            self.phase, self.step, self.failure = Phase.FAILED, step, failure

    def leave(self) -> None:
        """The process was asked to stop: not ready from now on, and still serving."""
        if self.phase is Phase.SERVING:
            self.phase, self.closing = Phase.LAME_DUCK, True

    def drain(self) -> None:
        """Admit nothing more; what is in flight may finish."""
        self.phase, self.admitting, self.closing = Phase.DRAINING, False, True

"""How often the controller looks, and how long it waits. One value, so that a simulation can slow everything down."""

from __future__ import annotations

from datetime import timedelta

import msgspec


class Pace(msgspec.Struct, frozen=True):
    """
    Attributes:
        tick: between two looks at the evidence.
        probe: between two looks at the health of the versions; three bad ones in a row blow the fuse.
        inbox: between two looks for requests of people; with the write at the gateway it bounds an abort.
        renew: between two renewals of the lease.
        ready: the most time a version may take from its start to readiness.
        drain: the most time requests in flight get before a version is stopped.
        retry: the first pause after something could not be done; doubles up to *retry_max*.
        history: how many samples of stable from before a rollout are kept for the judge.
    """

    tick: timedelta = timedelta(seconds=5)
    probe: timedelta = timedelta(milliseconds=500)
    inbox: timedelta = timedelta(milliseconds=100)
    renew: timedelta = timedelta(seconds=1)
    ready: timedelta = timedelta(seconds=180)
    drain: timedelta = timedelta(seconds=30)
    retry: timedelta = timedelta(milliseconds=200)
    retry_max: timedelta = timedelta(seconds=5)
    history: int = 240

"""
What the machine asks of the world. A command names what is wanted, not a step, so that it is safe to give it twice.

The runner performs them; whatever comes of it arrives as an event.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from golive.rollout.hooks import HookCall
from golive.rollout.ports import Split
from golive.timing import format_instant


class Deploy(msgspec.Struct, frozen=True, tag=True):
    """Run *version*, wait until it is ready, make it known to the gateway. Ends in Deployed or DeployFailed."""

    version: str

    def __str__(self) -> str:
        return f"deploy {self.version}"


class Shift(msgspec.Struct, frozen=True, tag=True):
    """Make *split* the traffic. Ends in TrafficConfirmed; repeated until it does."""

    split: Split

    def __str__(self) -> str:
        return f"traffic {self.split}"


class Observe(msgspec.Struct, frozen=True, tag=True):
    """Judge the evidence of *stage* at every tick. Each look is a Verdict."""

    stage: int

    def __str__(self) -> str:
        return f"observe stage {self.stage}"


class Wake(msgspec.Struct, frozen=True, tag=True):
    """Tell the machine when it is *at*. Ends in Ticked."""

    at: datetime

    def __str__(self) -> str:
        return f"wake at {format_instant(self.at)}"


class Remove(msgspec.Struct, frozen=True, tag=True):
    """Drain *version*, have the gateway forget it, stop it. Ends in Removed."""

    version: str

    def __str__(self) -> str:
        return f"remove {self.version}"


class RunHook(msgspec.Struct, frozen=True, tag=True):
    """Run the hook of *call*, or find how it ended. Ends in HookEnded."""

    call: HookCall

    def __str__(self) -> str:
        return f"hook {self.call.name}"


Command = Deploy | Shift | Observe | Wake | Remove | RunHook

"""
``shared-state``: what several replicas must share is not kept in one of them. Source: seed 002 ("deploy as single
replica" was a sentence in a document: here it is enforced).
"""

from __future__ import annotations

from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.state import ReplicasProbe

_OWN = ("memory", "sqlite", "local", "file:")


async def check(target: Target) -> Outcome:
    """PASS with one replica, or when every store is one they all reach."""
    probe = target.required(ReplicasProbe, "replicas")
    if probe.replicas <= 1:
        return passed("one replica: nothing to share")
    own = [
        f"{what} is kept in {store.partition(':')[0]}" for what, store in probe.stores.items() if store.startswith(_OWN)
    ]
    if own:
        return failed(f"{probe.replicas} replicas, and {'; '.join(own)}: each replica has its own", own=own)
    return passed(f"{probe.replicas} replicas share {', '.join(probe.stores) or 'nothing'}")


GATE = Gate("shared-state", "Nothing that replicas must share is kept in one of them.", Phase.PREFLIGHT, check)

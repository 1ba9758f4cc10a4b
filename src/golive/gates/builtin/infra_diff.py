"""
``infra-diff``: a change of the infrastructure does only what is allowed, e.g. adds. Source: seed 003 ("new resources
only", "do NOT modify the existing endpoint yet").

The evidence holds the hash of the change set; an attestation that names the file is void when it changes.
"""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatchcase
from typing import Any

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.process import run_to_end
from golive.gates.target import Target
from golive.promises.state import InfraDiffProbe

_RUN_SECONDS = 300.0


async def check(target: Target) -> Outcome:
    """PASS when every action of the change set is allowed and none touches what it never may."""
    probe = target.required(InfraDiffProbe, "infra_diff")
    if probe.run:
        text: str | None = await run_to_end(probe.run, {}, target.root, _RUN_SECONDS)
    else:
        text = tree.read(target.root / probe.file) if target.root is not None else None
    if text is None:
        return unavailable(f"{probe.file}: cannot be read")
    try:
        changes = [_change(each) for each in json.loads(text)["Changes"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return unavailable("expected a change set with Changes, as describe-change-set prints it")
    evidence = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "changes": len(changes)}
    problems = [f"{action} {name} ({kind})" for action, name, kind in changes if action not in probe.allow]
    touched = [
        f"{action} {name}, which no change may touch"
        for action, name, _ in changes
        if any(fnmatchcase(name, pattern) for pattern in probe.never)
    ]
    if problems or touched:
        allowed = ", ".join(probe.allow)
        return failed(f"allowed is {allowed}, the change set does: {'; '.join([*touched, *problems][:6])}", **evidence)
    return passed(f"{len(changes)} changes, all of them {' or '.join(probe.allow)}", **evidence)


def _change(entry: Any) -> tuple[str, str, str]:
    change = entry["ResourceChange"]
    action = str(change["Action"])
    if action == "Modify" and change.get("Replacement") in ("True", "Conditional"):
        action = "Replace"
    return action, str(change["LogicalResourceId"]), str(change.get("ResourceType", ""))


GATE = Gate(
    "infra-diff", "The change of the infrastructure does only what is allowed.", Phase.PREFLIGHT, check, timeout=320.0
)

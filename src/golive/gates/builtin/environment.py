"""
``environment``: every variable the service needs has a value of its own: not the example's, no placeholder, no address
of a developer's machine. Source: seed 001 (secrets provisioned), seed 004 (step 1; its own example says localhost).
"""

from __future__ import annotations

import os
import re

from golive.gates import tree
from golive.gates.builtin.no_localhost import LOCAL
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.state import EnvironmentProbe

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$")
_PLACEHOLDER = re.compile(r"<.*>|change-?me.*|your[-_ ].*|todo|xxx+|\.\.\.|\*+|replace[-_ ]?me.*", re.IGNORECASE)


async def check(target: Target) -> Outcome:
    """PASS when each required variable has a value that can be meant. Values are never shown."""
    probe = target.required(EnvironmentProbe, "environment")
    variables = dict(os.environ)
    if probe.file:
        text = tree.read(target.root / probe.file) if target.root is not None else None
        if text is None:
            return unavailable(f"{probe.file}: cannot be read")
        variables = parse(text)
    example = parse(tree.read(target.root / target.files.env_example) or "") if target.root is not None else {}
    problems = []
    for name in probe.required:
        value = variables.get(name, "")
        if not value:
            problems.append(f"{name} is not set")
        elif _PLACEHOLDER.fullmatch(value):
            problems.append(f"{name} is a placeholder")
        elif not probe.local_allowed and LOCAL.search(value):
            problems.append(f"{name} points at a developer's machine")
        elif re.search("secret|key|token|password", name, re.IGNORECASE) and value == example.get(name):
            problems.append(f"{name} is the value of {target.files.env_example}")
    if problems:
        return failed("; ".join(problems), problems=problems)
    return passed(f"{len(probe.required)} variables are set, to values of their own")


def parse(text: str) -> dict[str, str]:
    """``KEY=value`` lines; quotes around a value are taken off."""
    found = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            value = match[2]
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            found[match[1]] = value[1:-1] if quoted else value
    return found


GATE = Gate("environment", "Every variable the service needs has a value of its own.", Phase.DEPLOY, check)

"""``naming``: files and resources are called what the team agreed on. Source: seed 001, seed 003 (validate_naming)."""

from __future__ import annotations

import asyncio
import re
from pathlib import PurePosixPath

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, unavailable
from golive.gates.target import Target
from golive.promises.release import NamingProbe, NamingRule


async def check(target: Target) -> Outcome:
    """PASS when every file of a rule, and every name it lists, fits the rule's pattern."""
    probe = target.required(NamingProbe, "naming")
    try:
        rules = [(rule, re.compile(rule.pattern)) for rule in probe.rules]
    except re.error as error:
        return unavailable(f"gates.naming: {error.pattern!r} is no regular expression ({error.msg})")
    findings, count = await asyncio.to_thread(_look, target, rules)
    if not count:
        return unavailable("the rules fit no file and list no name: nothing to judge")
    return tree.judge(findings, f"{count} names as agreed", "names are not as agreed")


def _look(target: Target, rules: list[tuple[NamingRule, re.Pattern[str]]]) -> tuple[list[tree.Finding], int]:
    findings, count = [], 0
    every = [name for name, _ in tree.files(target)]
    for rule, pattern in rules:
        files = [name for name in every if rule.files and tree.matches(name, (rule.files,))]
        names = [(PurePosixPath(file).name, file) for file in files] + [(name, name) for name in rule.names]
        for name, shown in names:
            count += 1
            if not pattern.fullmatch(name):
                findings.append(tree.Finding(shown, 0, f"expected {pattern.pattern}"))
    return findings, count


GATE = Gate("naming", "Files and resources are called as agreed.", Phase.PREFLIGHT, check)

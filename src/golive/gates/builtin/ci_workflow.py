"""
``ci-workflow``: the workflows run scripts that exist, and the same gates as everybody. Source: seed 001 (an outdated
workflow), seed 002 (production-gates.yml).
"""

from __future__ import annotations

import asyncio
import re

from golive.gates import tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, unavailable
from golive.gates.target import Target
from golive.promises.release import CiProbe

#: what a command line names that must be a file: ./scripts/x.sh, scripts/x.py, backend/requirements.txt
_FILE = re.compile(r"(?<![\w$./:-])((?:\./)?(?:[\w-]+/)+[\w.-]+\.(?:sh|py|js|ts|mjs|cjs|txt|toml|json|sql))(?![\w*/-])")
_MADE = ("build/", "dist/", "coverage/", "node_modules/", "target/", "reports/", ".golive/")


async def check(target: Target) -> Outcome:
    """PASS when every file a workflow names exists, and one of them runs the gates."""
    probe = target.required(CiProbe, "ci")
    return await asyncio.to_thread(_check, target, probe)


def _check(target: Target, probe: CiProbe) -> Outcome:
    names = dict(tree.files(target))
    workflows = {name: tree.read(path) or "" for name, path in names.items() if tree.matches(name, probe.workflows)}
    if not workflows:
        return unavailable(f"no workflow: nothing fits {', '.join(probe.workflows)}")
    findings = []
    for name, text in workflows.items():
        folders = re.findall(r"working-directory:\s*[\"']?(?:\./)?([\w./-]+)", text)
        for number, line in enumerate(text.splitlines(), 1):
            if line.lstrip().startswith("#"):
                continue
            for file in _FILE.findall(line):
                plain = file.removeprefix("./")
                places = (plain, *(f"{folder.rstrip('/')}/{plain}" for folder in folders))
                if not any(place in names for place in places) and not plain.startswith(_MADE):
                    findings.append(tree.Finding(name, number, f"names {plain}, which does not exist"))
    if probe.must_run and not any(probe.must_run in text for text in workflows.values()):
        findings.append(tree.Finding(next(iter(workflows)), 0, f"no workflow runs {probe.must_run!r}"))
    return tree.judge(findings, f"{len(workflows)} workflows run what exists", "workflows are out of date")


GATE = Gate("ci-workflow", "The workflows run what exists, and the gates.", Phase.PREFLIGHT, check)

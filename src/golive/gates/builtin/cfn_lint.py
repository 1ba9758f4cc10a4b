"""``cfn-lint``: CloudFormation templates are ones AWS takes, judged by cfn-lint."""

from __future__ import annotations

import glob
from collections.abc import Iterator

from golive.gates import tool, tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome
from golive.gates.target import Target
from golive.promises.tools import CfnLintProbe

_INSTALL = "cfn-lint (pip)"
_LEVELS = ("error", "warning", "informational")
_EXIT_CODES = range(2, 15, 2)  # 2 for errors, 4 for warnings, 8 for the rest, added up


async def check(target: Target) -> Outcome:
    """PASS when cfn-lint finds nothing in the templates that is as bad as what counts here."""
    probe = target.required(CfnLintProbe, "cfn_lint")
    tool.find("cfn-lint", _INSTALL)
    names = tool.chosen(target, probe.files)
    options = ["--format=json"]
    for option, values in (("--regions", probe.regions), ("--ignore-checks", probe.exclude)):
        options += [option, *values] if values else []
    counted = _LEVELS[: _LEVELS.index(probe.fail_on) + 1]
    findings: list[tree.Finding] = []
    for batch in tool.batches(names):
        paths = [glob.escape(path) for path in batch]  # cfn-lint takes its arguments for patterns
        ran = await tool.run_tool(
            "cfn-lint", [*options, "--", *paths], install=_INSTALL, root=target.root, timeout=probe.timeout
        )
        if ran.code == 0:
            continue
        found = list(_findings(target, ran))
        if ran.code not in _EXIT_CODES or not found:
            raise ran.unreadable()
        findings += [finding for level, finding in found if level in counted]
    return tool.judge(
        findings, f"cfn-lint: {len(names)} templates, nothing as bad as {probe.fail_on}", "findings of cfn-lint"
    )


def _findings(target: Target, ran: tool.Ran) -> Iterator[tuple[str, tree.Finding]]:
    """Level and finding. What names no file is about cfn-lint itself, not about a template."""
    try:
        for entry in ran.json():
            rule = str(entry["Rule"]["Id"])
            if not entry["Filename"] or rule == "E0002":  # E0002: a rule crashed
                raise ran.unreadable()
            line = int(entry["Location"]["Start"]["LineNumber"])
            name = tool.place(target, entry["Filename"])
            yield str(entry["Level"]).lower(), tree.Finding(name, line, f"{rule}: {entry['Message']}")
    except (TypeError, KeyError, ValueError):
        raise ran.unreadable() from None


GATE = Gate(
    "cfn-lint", "CloudFormation templates are ones AWS takes (cfn-lint).", Phase.PREFLIGHT, check, timeout=900.0
)

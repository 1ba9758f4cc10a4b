"""``squawk``: the migrations in SQL hold no table for long, judged by squawk."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from typing import Any

from golive.gates import tool, tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome
from golive.gates.target import Target
from golive.promises.tools import SquawkProbe

_INSTALL = "squawk-cli (pip)"


async def check(target: Target) -> Outcome:
    """PASS when squawk finds nothing in the migrations beside the rules that do not count here."""
    probe = target.required(SquawkProbe, "squawk")
    tool.find("squawk", _INSTALL)
    names = tool.chosen(target, probe.files)
    options = ["--reporter=json", *(f"--exclude={rule}" for rule in probe.exclude)]
    options += [f"--pg-version={probe.pg_version}"] if probe.pg_version else []
    options += ["--assume-in-transaction"] if probe.in_transaction else []
    findings: list[tree.Finding] = []
    for batch in tool.batches(names):
        paths = [glob.escape(path) for path in batch]  # squawk takes its arguments for patterns
        ran = await tool.run_tool(
            "squawk", [*options, *paths], install=_INSTALL, root=target.root, timeout=probe.timeout
        )
        if ran.code == 0:
            continue
        found = list(_findings(target, ran))
        if ran.code != 1 or not found:
            raise ran.unreadable()
        findings += found
    return tool.judge(findings, f"squawk: {len(names)} migrations, nothing found", "findings of squawk in migrations")


def _findings(target: Target, ran: tool.Ran) -> Iterator[tree.Finding]:
    entries: Any = ran.json()
    try:
        for entry in entries:
            yield tree.Finding(
                tool.place(target, entry["file"]), int(entry["line"]) + 1, f"{entry['rule_name']}: {entry['message']}"
            )
    except (TypeError, KeyError, ValueError):
        raise ran.unreadable() from None


GATE = Gate("squawk", "No migration in SQL holds a table for long (squawk).", Phase.PREFLIGHT, check, timeout=900.0)

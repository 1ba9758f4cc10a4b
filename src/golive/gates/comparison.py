"""What changed since the last GO: which gates turned, came and went. Pure; reports in, sentences out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golive.gates.report import Report


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Attributes:
        since: when the report compared with was made, and its commit, as it says.
        turned: gate -> (verdict then, verdict now), where they differ.
        added, removed: gates only one of the reports has.
    """

    since: str
    commit: str
    turned: Mapping[str, tuple[str, str]]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """``since the last GO (2026-03-01T08:00:00.000Z, a115b8d): cors PASS -> FAIL; 1 gate new: load``."""
        parts = [f"{gate} {then} -> {now}" for gate, (then, now) in self.turned.items()]
        for names, word in ((self.added, "new"), (self.removed, "not run any more")):
            if names:
                parts.append(f"{len(names)} gate{'s' if len(names) > 1 else ''} {word}: {', '.join(names)}")
        where = f", {self.commit[:12]}" if self.commit else ""
        return f"since the last GO ({self.since}{where}): {'; '.join(parts) or 'nothing changed'}"

    def to_json(self) -> dict[str, Any]:
        """As the JSON report holds it."""
        turned = {gate: {"then": then, "now": now} for gate, (then, now) in self.turned.items()}
        return {"since": self.since, "commit": self.commit, "turned": turned, "added": list(self.added),
                "removed": list(self.removed)}  # fmt: skip


def compare(now: Report, then: Mapping[str, Any]) -> Comparison:
    """*now* beside *then*, a report as JSON."""
    before = {str(gate["gate"]): str(gate["verdict"]) for gate in then.get("gates", [])}
    after = {result.gate: str(result.outcome.verdict) for result in now.results}
    turned = {gate: (before[gate], after[gate]) for gate in after if gate in before and before[gate] != after[gate]}
    return Comparison(
        str(then.get("started_at", "an unknown time")),
        str(then.get("commit", "")),
        turned,
        tuple(gate for gate in after if gate not in before),
        tuple(gate for gate in before if gate not in after),
    )


class LastGo:
    """The last GO of each environment, kept in *folder* so that the next run can say what changed."""

    def __init__(self, folder: Path, environment: str) -> None:
        name = "".join(each if each.isalnum() or each in "-_" else "-" for each in environment) or "base"
        self._file = folder / "last-go" / f"{name}.json"

    def read(self) -> Mapping[str, Any] | None:
        """The report as JSON; None when there is none that can be read."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and isinstance(found.get("gates"), list) else None

    def write(self, report: Report) -> None:
        """Keep *report*, whole or not at all; a folder that cannot be written costs the comparison, not the run."""
        fresh = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(report.to_json(), default=str), encoding="utf-8")
            fresh.replace(self._file)
        except OSError:
            fresh.unlink(missing_ok=True)

"""The parts of a golive.toml while they are found, what could not be found, and the text of both."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from golive.rollout.imports.manifest import Item, Manifests
from golive.rollout.imports.reasons import OTHER_KINDS, UNKNOWN
from golive.rollout.plan import STAGES_MAX
from golive.slo.indicators import indicator_of
from golive.slo.table import ROWS_MAX, SloError, parse_table
from golive.timing import format_duration

APPROVERS = "approvers"
NOBODY = "CHANGE-ME"
"""Stands for the people, whom no manifest names: a group must have somebody, and nobody is called this."""


@dataclass(slots=True)
class Step:
    """
    One stage.

    Attributes:
        weight: percent.
        soak: at least this long.
        approval: whether people are asked before.
    """

    weight: float
    soak: timedelta = timedelta(0)
    approval: bool = False


@dataclass(slots=True)
class Draft:
    """
    What a manifest became.

    Attributes:
        source: whose manifest it was: "argo" or "flagger".
        strategy: as in ``[rollout]``.
        judge: options of the rules, by name.
        url: of Prometheus.
        rows: of ``[slo]``, by name.
        notes: ``file:line: ...`` for everything that has no equivalent, or not quite.
    """

    source: str
    strategy: str = "canary"
    stages: list[Step] = field(default_factory=list)
    judge: dict[str, float] = field(default_factory=dict)
    url: str = ""
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, item: Item, text: str) -> None:
        """Say something about *item*, once."""
        line = f"{item.place}: {text}"
        if line not in self.notes:
            self.notes.append(line)

    def rest(self, table: Mapping[str, Item], known: Collection[str], why: Mapping[str, str] | None = None) -> None:
        """Note every key of *table* beside *known*, and *why*: nothing is left out in silence."""
        for key, item in table.items():
            if key not in known:
                reason = (why or {}).get(key, UNKNOWN)
                self.note(item, f"not carried over: {ascii(key)[1:-1]}, because {reason}.")

    def others(self, manifests: Manifests, *taken: str) -> None:
        """Note every document that is none of the kinds *taken*."""
        for document in manifests.documents:
            kind = document.table()["kind"]
            if kind.value not in taken:
                self.note(kind, f"not carried over: {kind.shown()}, because {OTHER_KINDS}.")

    def point_at(self, address: Item) -> None:
        """Take the address of Prometheus; there is one."""
        url = address.text().strip()
        if not re.fullmatch(r"https?://\S+", url):
            self.note(address, f"address {address.shown()} has no equivalent: it is no http(s) address.")
        elif self.url and url != self.url:
            self.note(address, f"a second Prometheus has no equivalent; the queries are asked at {self.url!a}.")
        else:
            self.url = url

    def add_row(self, item: Item, name: str, row: dict[str, str]) -> None:
        """Add a row under a name that golive can take. One it cannot take is noted."""
        stem = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:45] or "metric"
        stem = stem if stem[0].isalpha() else f"m_{stem}"
        if "query" in row and indicator_of(stem) is not None:
            stem += "_query"  # the built-in ones measure by themselves, in units of their own
        free = next(key for key in (stem, *(f"{stem}_{n}" for n in range(2, ROWS_MAX + 3))) if key not in self.rows)
        if len(self.rows) >= ROWS_MAX:
            self.note(item, f"has no equivalent: golive takes {ROWS_MAX} rows.")
            return
        try:
            parse_table({free: row})
        except SloError as error:
            self.note(item, f"this metric has no equivalent: {ascii(error.faults[0].message)[1:-1]}")
            return
        self.rows[free] = row
        query = row.get("query")
        if query is not None and "$labels" not in query and "{version}" not in query:
            self.note(item, f"slo.{free}: put $labels or {{version}} into the query, which is asked of both versions; "
                            "golive up refuses it until then.")  # fmt: skip

    def finish(self, top: Item) -> None:
        """Close the stages with 100 %, and hold them below the limit."""
        if not self.stages or self.stages[-1].weight < 100:
            self.stages.append(Step(100))
        if self.strategy == "canary" and len(self.stages) == 1:
            self.note(top, "a rollout straight to 100 % has no equivalent in a canary; it became blue-green.")
            self.strategy = "blue-green"
        if len(self.stages) > STAGES_MAX:
            self.note(top, f"{len(self.stages)} stages have no equivalent: golive takes {STAGES_MAX}; "
                           "neighbours were joined, their times added.")  # fmt: skip
        while len(self.stages) > STAGES_MAX:
            body = self.stages[:-1]
            pairs = [body[at : at + 2] for at in range(0, len(body), 2)]
            joined = [
                Step(two[0].weight, sum((s.soak for s in two), timedelta()), any(s.approval for s in two))
                for two in pairs
            ]
            self.stages = [*joined, self.stages[-1]]
        if any(step.approval for step in self.stages):
            self.note(top, f"who may approve is not in a manifest: replace {NOBODY} in [approvals.groups].")
        if any("query" in row for row in self.rows.values()) and not self.url:
            self.note(top, "no address of a Prometheus: set [rollout.prometheus] url for the rows with a query.")
        if self.strategy == "blue-green" and self.judge:
            self.note(top, f"{self.source} judges before the switch, its rules in golive below 100 % only: "
                           "semantics was left out.")  # fmt: skip

    def text(self, files: Collection[str]) -> str:
        """The parts of the golive.toml, the notes first as comments."""
        lines = [f"# Parts of a golive.toml, from {ascii(', '.join(files))[1:-1]}. Add service and app."]
        if self.notes:
            lines += ["#", "# Without an equivalent, or not quite the same:"]
            lines += [f"# - {_one_line(note)}" for note in self.notes]
        lines += ["", "[rollout]"]
        if self.strategy != "canary":
            lines.append(f"strategy = {quoted(self.strategy)}")
        lines += ["stages = [", *(f"  {_stage(step)}," for step in self.stages), "]"]
        judged = bool(self.rows) and self.strategy == "canary"
        if judged:
            lines.append(f"semantics = {quoted(self.source)}")
        else:
            lines.append('# semantics: golive\'s own judge, since nothing below could be judged by the rules of '
                         f"{self.source}")  # fmt: skip
        if judged and self.judge:
            lines += ["", "[rollout.judge]", *(f"{name} = {value:.15g}" for name, value in self.judge.items())]
        if self.url:
            lines += ["", "[rollout.prometheus]", f"url = {quoted(self.url)}"]
        if any(step.approval for step in self.stages):
            lines += ["", "[approvals.groups]", f"{APPROVERS} = [{quoted(NOBODY)}]"]
        if self.rows:
            lines += ["", "[slo]"]
            lines += [f"{name} = {{ {', '.join(f'{k} = {quoted(v)}' for k, v in row.items())} }}"
                      for name, row in self.rows.items()]  # fmt: skip
        return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """*text* as golive.toml writes it, where ``${`` would be filled from the environment."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f").replace("${", "$${")


def one_query(text: str) -> str:
    """A query on one line, unless a comment in it needs its lines."""
    return text.strip() if "#" in text else " ".join(line.strip() for line in text.strip().splitlines())


def plain(number: str) -> str:
    """A number without an exponent."""
    return f"{Decimal(number):f}"


def _stage(step: Step) -> str:
    parts = [f"weight = {step.weight:.10g}"]
    if step.soak:
        parts.append(f'soak = "{format_duration(step.soak)}"')
    if step.approval:
        parts.append(f"approval = {quoted(APPROVERS)}")
    return f"{{ {', '.join(parts)} }}"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)

"""
docs/gates-matrix.md: every gate item of the five documents names what serves it. Generated: GOLIVE_REWRITE=1 writes it.

The items are in seed_matrix.tsv: id, what serves it, the item in its own words.
"""

import importlib
import os
from collections import Counter
from pathlib import Path

from tests.documents import DOCUMENTS

from golive.gates import catalogue
from golive.gates.profiles import PROFILES

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "gates-matrix.md"
ROWS = [line.split("\t") for line in (HERE / "seed_matrix.tsv").read_text().splitlines()]
#: what serves an item without being a built-in gate -> what that is, and the module it lives in
OTHERS = {
    "command": ("a command of the project, `[gates.commands]`", "golive.gates.command"),
    "attestation": (
        "a person of a role, `[gates.attestations]`, bound to the evidence they saw",
        "golive.gates.attestation",
    ),
    "waiver": ("an accepted failure with owner, reason and end, counted apart", "golive.gates.waiver"),
    "report": ("the report: verdict, commit, environment and counts are computed", "golive.gates.report"),
    "score": ("the readiness score with its deductions, never the verdict", "golive.gates.score"),
    "bundle": ("the evidence bundle, checked offline by `golive verify`", "golive.bundle"),
}


def page() -> str:
    lines = [
        "# Every gate item of the five documents",
        "",
        f"{len(ROWS)} items of the seed documents are checked by something. This page is generated from what is there",
        "(`GOLIVE_REWRITE=1 pytest tests/gates/test_gates_matrix.py`); a test fails when an item names nothing, or",
        "something that does not exist. A gate that was not given what it needs is `UNAVAILABLE`, never a pass; see",
        "[gates](gates.md) for what each one proves.",
        "",
    ]
    for number, title in DOCUMENTS.items():
        mine = [row for row in ROWS if row[0].startswith(number)]
        lines += [f"## {number}: {title} ({len(mine)})", "", "| item | | served by |", "| --- | --- | --- |"]
        lines += [f"| {row[0]} | {_cell(row[2])} | {', '.join(map(_served, row[1].split()))} |" for row in mine]
        lines.append("")
    lines += ["## What is not a built-in gate", "", *(f"- *{name}*: {what}" for name, (what, _) in OTHERS.items()), ""]
    return "\n".join(lines)


def _served(name: str) -> str:
    return f"*{name}*" if name in OTHERS else f"`{name}`" if ":" not in name else f"`--profile {name.split(':')[1]}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("_", "\\_").replace("*", "\\*")


def test_every_gate_item_names_something_that_exists() -> None:
    """A gate of the catalogue, a profile, or one of the others, each of which can be imported."""
    for identifier, served, _ in ROWS:
        for name in served.split():
            kind, _, profile = name.partition(":")
            known = profile in PROFILES if kind == "profile" else name in catalogue() or name in OTHERS
            assert known, f"{identifier} is served by {name}, which there is not"
    for name, (_, module) in OTHERS.items():
        assert importlib.import_module(module), name


def test_no_item_is_left_out_or_told_twice() -> None:
    """169 items of the matrix are the gates'."""
    assert len({row[0] for row in ROWS}) == len(ROWS) == 169
    assert Counter(row[0][:3] for row in ROWS) == {"000": 26, "001": 35, "002": 49, "003": 50, "004": 9}


def test_every_gate_serves_an_item_or_says_why_it_is_there() -> None:
    """What no document asked for is in DESIGN, or it would be weight."""
    asked = {name for row in ROWS for name in row[1].split()}
    beyond = {
        "bad-input",
        "request-id",
        "rate-limit",
        "cardinality",
        "slow-work",
        "config-refusal",
        "shutdown",
        "drain-health",
        "plan-lint",
    }
    # DESIGN: well-kept tools are wrapped, not written again
    tools = {"squawk", "alembic-check", "detect-secrets", "schemathesis", "cfn-lint", "hadolint"}
    assert (
        set(catalogue()) - asked == beyond | tools
    )  # beyond: the operation of a service: chassis rows of the same documents


def test_the_page_is_current() -> None:
    """What is printed is what is there."""
    if os.environ.get("GOLIVE_REWRITE"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()

"""
docs/seed-rows.md: every row of the five documents that the chassis serves, where, and the test that holds it.

The rows are in seed_rows.tsv: id, what is wanted, what serves it, the tests ("-": nothing does). ``GOLIVE_REWRITE=1``
writes the page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.documents import DOCUMENTS

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "seed-rows.md"
ROWS = [line.split("\t") for line in (HERE / "seed_rows.tsv").read_text().splitlines()]


def _places() -> dict[str, str]:
    """Name of a test -> the file it is in, from the root of the project."""
    root = HERE.parents[1]
    found = {}
    for folder in (root / "tests", root / "src" / "golive" / "testing"):
        for path in sorted(folder.rglob("*.py")):
            for name in re.findall(r"def (test_\w+)", path.read_text()):
                found.setdefault(name, str(path.relative_to(root)))
    return found


PLACES = _places()


def page() -> str:
    open_rows = [row[0] for row in ROWS if row[3] == "-"]
    lines = [
        "# What the documents want of the chassis",
        "",
        f"{len(ROWS)} rows of the documents are the chassis'. This page is generated",
        "(`GOLIVE_REWRITE=1 pytest tests/chassis/test_chassis_seedrows.py`); a test fails when a row names a test that",
        f"is not there. Rows that nothing serves: {', '.join(open_rows) or 'none'}.",
        "See [the chassis](chassis.md) for how, and [the gates' rows](gates-matrix.md) for what is checked before a",
        "release.",
        "",
    ]
    for number, title in DOCUMENTS.items():
        rows = [_line(*row) for row in ROWS if row[0].startswith(number)]
        if rows:
            lines += [
                f"## {number}: {title}",
                "",
                "| row | wanted | served by | held by |",
                "| --- | --- | --- | --- |",
            ]
            lines += [*rows, ""]
    return "\n".join(lines)


def _line(row: str, wanted: str, where: str, tests: str) -> str:
    held = ", ".join(
        f"[{name.removeprefix('test_')}](../{PLACES.get(name, '?')})" for name in tests.split() if name != "-"
    )
    return f"| {row} | {wanted} | {where} | {held or 'nothing'} |"


def test_the_page_is_what_the_rows_say() -> None:
    """Generated, so that it is never behind."""
    made = page()
    if os.environ.get("GOLIVE_REWRITE"):
        PAGE.write_text(made)
    assert PAGE.read_text() == made, "docs/seed-rows.md is behind: GOLIVE_REWRITE=1 pytest this file"


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_names_tests_that_are_there(row: list[str]) -> None:
    """Or says openly that nothing holds it."""
    assert len(row) == 4
    assert [name for name in row[3].split() if name != "-" and name not in PLACES] == []

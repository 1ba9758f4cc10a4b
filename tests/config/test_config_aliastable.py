"""The table of variables in docs/configuration.md is the table in the code."""

from __future__ import annotations

import re
from pathlib import Path

from golive.chassis.environment import ALIASES as CHASSIS
from golive.config.variables import ALIASES

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def documented() -> set[str]:
    rows = re.findall(r"^\| (`[A-Z][^|]*) \|", DOCS.read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([A-Z0-9_]+)(?:=[^`]*)?`", row)}


def test_every_name_that_is_read_is_in_the_table_and_no_other():
    """Whoever adds or removes one changes the page; golive's own spellings are the pattern row's."""
    assert {name for name in documented() if not name.startswith("GOLIVE_")} == set(ALIASES)


def test_the_service_and_the_file_read_the_same_names():
    """A variable means the same with golive.toml and without."""
    own = {name for name in CHASSIS if not name.startswith("GOLIVE_")}
    assert own <= set(ALIASES)

"""Every report format, with hostile text in it."""

import json
import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from golive.gates import Phase, Report, Result, failed, passed, unavailable
from golive.gates.outcome import Outcome, Verdict
from golive.gates.reports import FORMATS

HOSTILE = 'got <b>"&]]>\x1b[31m\x00 | `x` ::error::no\n::set-output name=x::y 100%'


def report(*outcomes: Outcome) -> Report:
    results = [Result(f"gate-{number}", Phase.SMOKE, outcome, 0.25) for number, outcome in enumerate(outcomes)]
    return Report("http://127.0.0.1:8000", "prod", datetime(2026, 3, 1, tzinfo=UTC), 1.5, results)


RED = report(
    passed("fine"),
    failed(HOSTILE, findings=[{"file": "shop/a.py", "line": 3, "text": "http://localhost"}]),
    unavailable("no tool"),
    Outcome(Verdict.WAIVED, "accepted"),
)


def test_text_ends_in_the_verdict_with_names() -> None:
    """Readable without colour."""
    text = FORMATS["text"](RED)
    last = text.splitlines()[-1]
    assert last.startswith("NO-GO  1 passed, 1 waived (gate-3), 1 failed (gate-1), 1 could not run (gate-2) in 1.5 s")
    assert FORMATS["text"](report(passed("fine"))).splitlines()[-1].startswith("GO  1 passed")


def test_json_holds_everything() -> None:
    """For programs."""
    document = json.loads(FORMATS["json"](RED))
    assert document["verdict"] == "NO-GO"
    assert (document["passed"], document["total"]) == (2, 4)
    assert document["started_at"] == "2026-03-01T00:00:00.000Z"
    assert document["gates"][1]["evidence"]["findings"][0]["line"] == 3


def test_junit_is_well_formed_whatever_a_service_answers() -> None:
    """FAIL is a failure, UNAVAILABLE an error."""
    suite = ElementTree.fromstring(FORMATS["junit"](RED).encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")
    assert [child.tag for case in suite for child in case] == ["failure", "error", "system-out"]


def test_markdown_is_one_row_per_gate() -> None:
    """Bars, tags and line breaks in a sentence do not break the table."""
    rows = [line for line in FORMATS["markdown"](RED).splitlines() if line.startswith("| gate-")]
    assert len(rows) == 4
    assert "<b>" not in rows[1]
    assert rows[1].replace("\\|", "").count("|") == 5


def test_sarif_points_at_files() -> None:
    """Code scanning shows the finding where it is."""
    run = json.loads(FORMATS["sarif"](RED))["runs"][0]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "shop/a.py"}, "region": {"startLine": 3}}
    assert [result["level"] for result in run["results"]] == ["error", "error", "note"]


def test_github_commands_cannot_be_smuggled_in() -> None:
    """What a service answers must not become a workflow command."""
    lines = FORMATS["github"](RED).splitlines()
    commands = [line for line in lines if line.startswith("::")]
    assert [line.split(" ")[0] for line in commands] == ["::error", "::error", "::warning"]
    assert "100%25" in commands[0]


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_fails_on_an_empty_report(name: str) -> None:
    """NO-GO in every one."""
    assert "NO-GO" in FORMATS[name](report()) or name == "junit"


def test_the_page_runs_nothing_and_escapes_everything() -> None:
    """Self-contained: no script, no address, hostile text as text."""
    page = FORMATS["html"](RED)
    assert '<h1><strong class="bad">NO-GO</strong></h1>' in page
    assert "<b>" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"<script|src=|href=|url\(", page)


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A service cannot repaint the screen of whoever checks it."""
    assert "\x1b" not in FORMATS["text"](RED)

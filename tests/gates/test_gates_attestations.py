"""Attestations: who may say what, bound to what they saw, for how long; and nobody rewrites what was said."""

import asyncio
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from golive.errors import RefusedError, StateError, UnavailableError
from golive.gates import Outcome, Target, Verdict, run_gates
from golive.gates.attestation import attest, attestation_gate, read_ledger
from golive.promises.release import AttestationProbe

PROBE = AttestationProbe("QA tested staging by hand.", "qa", ("quentin", "quirin"), ("reports/*.txt",), author="ana")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/manual.txt").write_text("all good\n")
    return tmp_path


def ledger(project: Path) -> Path:
    return project / ".golive/attestations.jsonl"


async def said(project: Path, who: str, probe: AttestationProbe = PROBE, **more: Any) -> None:
    await attest("qa", probe, Target(root=project), ledger(project), who, **more)


async def judged(project: Path, probe: AttestationProbe = PROBE) -> Outcome:
    gate = attestation_gate("qa", probe, ledger(project))
    return (await run_gates(["qa"], Target(root=project), gates={"qa": gate})).results[0].outcome


async def test_what_somebody_of_the_role_said_is_a_pass(project: Path) -> None:
    """With name, role and time; before, it is a failure that says what to type."""
    before = await judged(project)
    assert before.verdict is Verdict.FAIL
    assert "0 of 1 people of qa have said" in before.sentence
    assert "golive attest qa" in before.sentence
    await said(project, "quentin", note="two browsers")
    after = await judged(project)
    assert after.verdict is Verdict.PASS
    assert "Said by quentin (qa, 2" in after.sentence


async def test_a_changed_file_voids_what_was_said_about_it(project: Path) -> None:
    """So does a new one that fits, and one that is gone; the same content again is the same evidence."""
    await said(project, "quentin")
    for change in ("all bad\n", "all good\n"):
        (project / "reports/manual.txt").write_text(change)
        outcome = await judged(project)
        assert (outcome.verdict is Verdict.PASS) is (change == "all good\n")
    (project / "reports/more.txt").write_text("x")
    assert "quentin: the evidence was changed since" in (await judged(project)).sentence


async def test_nobody_approves_the_own_work(tmp_path: Path) -> None:
    """The author is who git says made the last commit, by name, address, or the part before the @."""
    git = ["git", "-c", "user.name=Quentin Q", "-c", "user.email=quentin@shop.example"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "Work"], cwd=tmp_path, check=True)
    probe = AttestationProbe("Reviewed.", "reviewers", ("quentin", "quirin"))
    with pytest.raises(RefusedError, match="quentin is the author"):
        await said(tmp_path, "quentin", probe)
    await said(tmp_path, "quirin", probe)
    assert (await judged(tmp_path, probe)).verdict is Verdict.PASS


@pytest.mark.parametrize(("who", "why"), [("mallory", "expected somebody of qa"), ("ana", "expected somebody of qa")])
async def test_who_is_not_of_the_role_is_refused(project: Path, who: str, why: str) -> None:
    """Nothing is written down."""
    with pytest.raises(RefusedError, match=why):
        await said(project, who)
    assert not ledger(project).exists()


async def test_it_expires_and_is_withdrawn(project: Path) -> None:
    """Old words are void; one may take back one's own."""
    await said(project, "quentin")
    short = AttestationProbe(PROBE.statement, "qa", PROBE.people, PROBE.evidence, valid_for=0.0, author="ana")
    assert "quentin: expired" in (await judged(project, short)).sentence
    await said(project, "quentin", withdrawn=True)
    assert "quentin: withdrew it" in (await judged(project)).sentence
    await said(project, "quentin")
    assert (await judged(project)).verdict is Verdict.PASS


async def test_two_needed_are_two_different_people(project: Path) -> None:
    """Saying it twice is not two voices."""
    two = AttestationProbe(PROBE.statement, "qa", PROBE.people, PROBE.evidence, needed=2, author="ana")
    await said(project, "quentin", two)
    await said(project, "quentin", two)
    assert "1 of 2 people" in (await judged(project, two)).sentence
    await said(project, "quirin", two)
    assert (await judged(project, two)).verdict is Verdict.PASS


async def test_who_left_the_role_and_what_was_said_about_another_statement_do_not_count(project: Path) -> None:
    """The promise of today decides."""
    await said(project, "quentin")
    left = AttestationProbe(PROBE.statement, "qa", ("quirin",), PROBE.evidence, author="ana")
    assert "quentin: is not of qa" in (await judged(project, left)).sentence
    other = AttestationProbe("QA tested production.", "qa", PROBE.people, PROBE.evidence, author="ana")
    assert "said it about another statement" in (await judged(project, other)).sentence


@pytest.mark.parametrize("line", [0, 1])
async def test_an_altered_ledger_counts_nothing(project: Path, line: int) -> None:
    """A name changed, or a line taken out of the middle: UNAVAILABLE, and no new line is added to it."""
    for who in ("quentin", "quirin", "quentin"):
        await said(project, who)
    lines = ledger(project).read_text().splitlines()
    altered = [lines[0].replace("quentin", "quirin"), *lines[1:]] if line == 0 else [lines[0], lines[2]]
    ledger(project).write_text("\n".join(altered) + "\n")
    outcome = await judged(project)
    assert outcome.verdict is Verdict.UNAVAILABLE
    assert "was altered" in outcome.sentence
    with pytest.raises(StateError, match="altered"):
        await said(project, "quirin")


async def test_without_evidence_nothing_is_said(tmp_path: Path) -> None:
    """The files it is about must be there."""
    with pytest.raises(UnavailableError, match=r"no file fits reports/\*\.txt"):
        await said(tmp_path, "quentin")
    assert (await judged(tmp_path)).verdict is Verdict.UNAVAILABLE


async def test_two_at_the_same_moment_are_both_written(project: Path) -> None:
    """One after the other, under a lock."""
    await asyncio.gather(*(said(project, who) for who in ("quentin", "quirin") * 5))
    assert len(read_ledger(ledger(project))) == 10


@pytest.mark.process
def test_it_is_a_gate_of_the_project_by_its_name(golive, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Listed, signed, judged, and refused with exit 6."""
    people = '["quentin"]\nevidence = ["reports/*.txt"]\nauthor = "ana"\n'
    (project / "golive.toml").write_text(
        f'service = "shop"\n[gates.attestations.qa]\nstatement = "QA did."\nrole = "qa"\npeople = {people}'
    )
    assert golive("check", "qa", cwd=project).returncode == 3
    monkeypatch.setenv("GOLIVE_ACTOR", "mallory")
    refused = golive("attest", "qa", cwd=project)
    assert (refused.returncode, "expected somebody of qa" in refused.stderr) == (6, True)
    monkeypatch.setenv("GOLIVE_ACTOR", "quentin")
    done = golive("attest", "qa", "two", "browsers", cwd=project)
    assert "qa: quentin said: QA did., bound to evidence" in done.stdout
    assert "said by quentin" in golive("attest", cwd=project).stdout
    checked = golive("check", "qa", "-o", "json", cwd=project)
    assert json.loads(checked.stdout)["verdict"] == "GO"
    assert golive("attest", "qaa", cwd=project).returncode == 2


def test_a_date_in_the_future_does_not_count() -> None:
    """A clock that was set back for a moment is no way to stay valid for ever."""
    from golive.gates.attestation import Attestation, _void

    line = Attestation("qa", PROBE.statement, "quentin", "qa", datetime.now(UTC) + timedelta(days=30), "e", "")
    assert _void(PROBE, line, "e", (), datetime.now(UTC)) == "is dated in the future"

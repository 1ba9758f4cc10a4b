"""Evidence: a bundle anybody can check, what changed since the last GO, the score, and gates run again and again."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from golive.bundle import open_bundle, verify_bundle
from golive.gates import Gate, Outcome, Phase, Report, Result, Target, Verdict, failed, passed, unavailable
from golive.gates.comparison import LastGo, compare
from golive.gates.evidence import write_evidence
from golive.gates.score import score_of
from golive.gates.watching import watch_gates


def report(*outcomes: Outcome) -> Report:
    results = [Result(f"gate-{number}", Phase.SMOKE, outcome, 0.25) for number, outcome in enumerate(outcomes)]
    return Report("http://127.0.0.1:1", "staging", datetime(2026, 3, 1, tzinfo=UTC), 1.5, results, commit="a115b8d")


MIXED = report(passed("fine", seen=1), failed("no"), unavailable("no tool"), Outcome(Verdict.WAIVED, "accepted"))


def test_a_bundle_holds_the_report_and_each_gates_evidence(tmp_path: Path) -> None:
    """In three shapes, with the facts beside, and whole."""
    digest = write_evidence(tmp_path / "e.zip", MIXED, {"settings.toml": "x = 1\n"}, "shop")
    bundle = open_bundle(tmp_path / "e.zip")
    assert verify_bundle(tmp_path / "e.zip") == []
    assert bundle.digest == digest
    assert {"report.json", "report.html", "report.txt", "gates/gate-0.json", "settings.toml"} <= set(bundle.names)
    assert json.loads(bundle.read("gates/gate-0.json"))["evidence"] == {"seen": 1}
    assert (bundle.meta["kind"], bundle.meta["verdict"], bundle.meta["commit"]) == ("gates", "NO-GO", "a115b8d")


def test_any_flipped_byte_is_found(tmp_path: Path) -> None:
    """At every hundredth place of the file, headers included."""
    path = tmp_path / "e.zip"
    write_evidence(path, MIXED, {})
    whole = path.read_bytes()
    for place in range(0, len(whole), 100):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert verify_bundle(path), place


def test_the_score_names_every_deduction_and_decides_nothing() -> None:
    """Red and not run cost a gate's whole share, accepted half of it."""
    score = score_of(MIXED)
    assert score.points == 37.5
    assert score.sentence == "37.5 of 100: -25 gate-1 (FAIL), -25 gate-2 (UNAVAILABLE), -12.5 gate-3 (WAIVED)"
    nearly = report(*[passed("fine")] * 99, failed("no"))
    assert score_of(nearly).points == 99
    assert nearly.verdict == "NO-GO"
    assert score_of(report()).points == 0


def test_a_comparison_tells_what_turned_came_and_went(tmp_path: Path) -> None:
    """Beside the last GO of the same environment, when it can be read."""
    kept = LastGo(tmp_path, "staging/eu")
    assert kept.read() is None
    kept.write(report(passed("a"), passed("b")))
    told = compare(report(passed("a"), failed("b"), passed("c")), kept.read() or {})
    assert told.sentence == (
        "since the last GO (2026-03-01T00:00:00.000Z, a115b8d): gate-1 PASS -> FAIL; 1 gate new: gate-2"
    )
    gone = compare(replace(report(passed("a")), commit=""), kept.read() or {})
    assert gone.sentence.endswith("1 gate not run any more: gate-1")
    next(tmp_path.rglob("*.json")).write_text("{")
    assert kept.read() is None


def gate(name: str, *verdicts: Outcome) -> Gate:
    told = iter(verdicts)

    async def check(_target: Target) -> Outcome:
        return next(told, verdicts[-1])

    return Gate(name, "", Phase.SMOKE, check, watch=True)


async def watched(*verdicts: Outcome, rounds: int = 4) -> Report:
    return await watch_gates(["it"], Target(), 0.02 * (rounds - 0.5), 0.02, gates={"it": gate("it", *verdicts)})


async def test_a_watch_forgives_one_red_round_and_tells_it() -> None:
    """On a network something always fails once."""
    found = (await watched(passed("a"), failed("hiccup"), passed("a"))).results[0].outcome
    assert found.verdict is Verdict.PASS
    assert "green in 3 of 4 rounds, once red: " in found.sentence
    assert "hiccup" in found.sentence


@pytest.mark.parametrize("red", [failed("down"), unavailable("nobody answers")])
async def test_two_red_rounds_in_a_row_end_the_watch(red: Outcome) -> None:
    """Not knowing for two rounds is no better than a failure."""
    report = await watched(passed("a"), red, rounds=50)
    assert not report.go
    assert report.results[0].outcome.sentence.startswith("red in 2 rounds in a row: ")
    assert report.results[0].outcome.evidence["rounds"] == 3


async def test_gates_start_as_soon_as_what_they_need_has_ended() -> None:
    """Not when the slowest of a wave has."""
    from golive.gates import run_gates

    order: list[str] = []

    def slow(name: str, seconds: float, *needs: str) -> Gate:
        async def check(_target: Target) -> Outcome:
            await asyncio.sleep(seconds)
            order.append(name)
            return passed(name)

        return Gate(name, "", Phase.SMOKE, check, depends_on=needs)

    gates = {each.name: each for each in (slow("long", 0.3), slow("short", 0.0), slow("after", 0.0, "short"))}
    await run_gates(list(gates), Target(), gates=gates)
    assert order == ["short", "after", "long"]


@pytest.mark.process
def test_the_command_line_keeps_evidence_and_compares(golive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """check --evidence, verify, and the second run told what turned."""
    (tmp_path / "golive.toml").write_text('service = "shop"\n[gates]\npreflight = ["no-localhost", "syntax"]\n')
    (tmp_path / "app.py").write_text("X = 1\n")
    first = golive("check", "--evidence", "out/e.zip", cwd=tmp_path)
    assert (first.returncode, "evidence: out/e.zip" in first.stdout) == (0, True)
    verified = golive("verify", "out/e.zip", cwd=tmp_path / "out" / "..")
    assert (verified.returncode, "gates GO shop" in verified.stdout, "whole" in verified.stdout) == (0, True, True)
    raw = bytearray((tmp_path / "out/e.zip").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "out/e.zip").write_bytes(raw)
    changed = golive("verify", str(tmp_path / "out/e.zip"))
    assert (changed.returncode, "CHANGED" in changed.stdout) == (3, True)
    (tmp_path / "app.py").write_text("X = 'http://localhost:1'\n")
    second = golive("check", cwd=tmp_path)
    assert second.returncode == 3
    assert "since the last GO" in second.stdout
    assert "no-localhost PASS -> FAIL" in second.stdout
    assert "score 50 of 100: -50 no-localhost (FAIL)" in second.stdout
    assert golive("check", "--phase", "watch", cwd=tmp_path).returncode == 2

"""The evidence bundle of a rollout: complete, the same for ever, and a lie in it is found without golive's state."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from golive.bundle import open_bundle, verify_bundle, write_bundle
from golive.rollout import dossier
from golive.rollout.dossier import dossier_findings, dossier_of
from golive.rollout.journal import Journal
from golive.rollout.lease import Lease
from golive.rollout.machine import begin, decide
from golive.testing.simulator import Faults, simulate, small_plan, with_hooks

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """The journal of a rollout with hooks, people and a rollback, as a controller would have written it."""
    people = ((12.0, "pause"), (14.0, "resume"))
    played = simulate(5, Faults(error_ratio=0.2, people=people), with_hooks(small_plan(), 5))
    journal = Journal(tmp_path_factory.mktemp("dossier") / "golive.db")
    journal.adopt("web", "v1", played.state.started_at)
    fence = Lease(journal.connection, "web").acquire(played.state.started_at)
    state = None
    for entry in played.entries:
        state = begin(entry.event)[0] if state is None else decide(state, entry.event)[0]
        journal.append(entry.event, state, None, fence=fence)
    return journal


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """What hooks left behind."""
    call = tmp_path / "hooks" / "web-1" / "before_stage-1-1"
    call.mkdir(parents=True)
    (call / "output").write_text("migrated\n")
    (call / "outcome.json").write_text('{"exit_code": 0}')
    (call / "claim").write_text("123")
    return tmp_path / "hooks"


@pytest.fixture
def made(journal: Journal, hooks: Path, tmp_path: Path) -> Path:
    """A whole bundle."""
    files, meta = dossier_of(journal, "web-1", hooks, "0.1.0")
    write_bundle(tmp_path / "web-1.zip", files, meta)
    return tmp_path / "web-1.zip"


def forged(made: Path, change: Callable[[Files, dict], None]) -> list[str]:
    """What the check says of the bundle after *change*, with a manifest made anew to fit."""
    bundle = open_bundle(made)
    files, meta = {name: bundle.read(name) for name in bundle.names}, dict(bundle.meta)
    change(files, meta)
    write_bundle(made, files, meta)
    assert verify_bundle(made) == [], "the forger is careful"
    return list(dossier_findings(open_bundle(made)))


def test_everything_about_the_rollout_is_in_it(made: Path, journal: Journal) -> None:
    """Plan, journal, state, verdicts with evidence, people, hooks; the manifest names the head of the chain."""
    bundle = open_bundle(made)
    assert bundle.names == [
        "hooks/before_stage-1-1/outcome.json", "hooks/before_stage-1-1/output", "journal.jsonl", "people.jsonl",
        "plan.json", "state.json", "summary.txt", "verdicts.jsonl",
    ]  # fmt: skip
    entries = list(journal.entries("web-1"))
    assert bundle.meta["journal_head"] == entries[-1].hash
    assert bundle.meta["entries"] == len(entries)
    verdicts = [json.loads(line) for line in bundle.read("verdicts.jsonl").splitlines()]
    assert any(verdict["evidence"]["requests"] for verdict in verdicts if verdict.get("evidence"))
    assert {json.loads(line)["event"] for line in bundle.read("people.jsonl").splitlines()} >= {"paused", "resumed"}
    assert "outcome    rolled back by golive" in bundle.read("summary.txt").decode()
    assert list(dossier_findings(bundle)) == []


def test_it_is_the_same_bytes_whenever_it_is_made(made: Path, journal: Journal, hooks: Path, tmp_path: Path) -> None:
    """Made again, by another process, years later: the same digest."""
    files, meta = dossier_of(journal, "web-1", hooks, "0.1.0")
    write_bundle(tmp_path / "again.zip", files, meta)
    assert (tmp_path / "again.zip").read_bytes() == made.read_bytes()


def test_a_flipped_byte_anywhere_is_found(made: Path) -> None:
    """Two hundred places, drawn from a seed."""
    whole, dice = made.read_bytes(), random.Random(11)
    for place in dice.sample(range(len(whole)), 200):
        altered = bytearray(whole)
        altered[place] ^= 1 << dice.randrange(8)
        made.write_bytes(altered)
        assert verify_bundle(made), f"byte {place}"


def test_an_entry_that_was_rewritten_is_found_although_all_hashes_of_files_fit(made: Path) -> None:
    """The chain inside the journal does not fit any more, and so does not the verdict extract."""

    def change(files: Files, _meta: dict) -> None:
        files["journal.jsonl"] = files["journal.jsonl"].replace(b"requests failed", b"requests failex", 1)

    found = forged(made, change)
    assert any("its content does not match its hash" in line for line in found)
    assert "verdicts.jsonl: says something else than the journal" in found


def test_an_entry_that_was_left_out_is_found(made: Path) -> None:
    """At the end the head is another one; in the middle the chain is broken."""

    def last(files: Files, _meta: dict) -> None:
        files["journal.jsonl"] = b"\n".join(files["journal.jsonl"].splitlines()[:-1]) + b"\n"

    assert any("another end of the journal" in line for line in forged(made, last))


def test_an_extract_or_a_state_that_was_rewritten_is_found(made: Path) -> None:
    """What people read first must say what the journal says."""

    def change(files: Files, _meta: dict) -> None:
        files["people.jsonl"] = files["people.jsonl"].replace(b"grace", b"ada")
        files["state.json"] = files["state.json"].replace(b'"rolled_back"', b'"live"')

    assert forged(made, change) == [
        "the events do not lead to the state in state.json",
        "people.jsonl: says something else than the journal",
    ]


@pytest.mark.parametrize("text", [b"", b"nonsense\n", b'{"seq": 1}\n'])
def test_a_journal_that_cannot_be_read_is_a_finding(made: Path, text: bytes) -> None:
    """Never a crash."""
    found = forged(made, lambda files, _meta: files.update({"journal.jsonl": text}))
    assert "cannot be read" in found[0]


def test_large_files_are_compressed_and_checked_all_the_same(
    journal: Journal, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A week of verdicts stays small; the check unpacks within a bound."""
    monkeypatch.setattr(dossier, "PLAIN_MAX", 1000)
    files, meta = dossier_of(journal, "web-1", None, "0.1.0")
    assert "journal.jsonl.gz" in files
    write_bundle(made, files, meta)
    assert list(dossier_findings(open_bundle(made))) == []
    monkeypatch.setattr(dossier, "UNPACKED_MAX", 1000)
    assert "larger than 1,000 bytes" in next(dossier_findings(open_bundle(made)))

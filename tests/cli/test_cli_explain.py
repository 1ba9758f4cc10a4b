"""`golive explain`: the story of a rollout and its verdicts, recomputed from nothing but the journal."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec
import pytest

from golive.cli import app_for
from golive.cli.explain_view import as_json, as_text
from golive.cli.moment import up_to
from golive.cli.story import tell
from golive.cli.terminal import ASCII, UNICODE
from golive.errors import UsageError
from golive.planning import make_judge
from golive.rollout import events as ev
from golive.rollout.journal import Journal
from golive.rollout.recompute import recompute
from golive.testing.simulator import Faults


def text_of(entries, maker, *, width=100, glyphs=UNICODE, at_moment=False):
    story, again = tell(entries), list(recompute(entries, maker))
    story.state = msgspec.structs.replace(story.state, judging=entries.state.judging)
    lines = as_text(story, entries, again, width, glyphs, at_moment=at_moment)
    return "\n".join(line.plain.rstrip() for line in lines)


@pytest.fixture(scope="module")
def healthy(journey):
    """A good release."""
    return journey(Faults())


@pytest.fixture(scope="module")
def told(journey):
    """A good release, and one that is taken back from its second stage, judged in words that never change."""
    return journey(Faults(), plain=True), journey(Faults(error_ratio=0.05, kills=(30, 60)), plain=True)


@pytest.fixture(scope="module")
def worse(journey):
    """Four in a hundred requests of the candidate fail, and the controller is killed twice meanwhile."""
    return journey(Faults(error_ratio=0.04, kills=(20, 40)))


FAULTS = {
    "good": Faults(),
    "broken": Faults(error_ratio=0.5),
    "killed_often": Faults(kills=(9, 14, 20, 33, 47, 60)),
    "usurped": Faults(usurper_at=200),
    "worse_and_killed": Faults(error_ratio=0.04, kills=(20, 40)),
    "evidence_fails": Faults(evidence=0.3),
    "all_at_once": Faults(error_ratio=0.02, evidence=0.2, gateway=0.2, kills=(25, 50), usurper_at=150),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_verdict_of_every_life_recomputes_to_the_same(journey, judges, name, seed):
    """The real judge, fed from the journal, repeats word for word what it said, whoever controlled the rollout."""
    entries = journey(FAULTS[name], seed=seed)
    again = list(recompute(entries, judges))
    assert [each.differences for each in again] == [()] * len(again)
    assert len(again) == sum(isinstance(e.event, ev.Verdict) and e.event.evidence is not None for e in entries)
    assert len(again) >= 3


def test_the_production_wiring_recomputes_the_same(healthy):
    """What `golive explain` uses, make_judge, takes every setting from the journal and none from today's file."""
    assert not any(each.differences for each in recompute(healthy, make_judge))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("action", lambda verdict: {"action": "promote" if verdict.action != "promote" else "hold"}),
        ("confidence", lambda verdict: {"confidence": verdict.confidence + 1}),
        ("reason", lambda verdict: {"reason": "because I say so"}),
        ("row error_rate", lambda verdict: {"rows": verdict.rows[1:]}),
        ("canary", lambda verdict: {"evidence": {**verdict.evidence, "errors": [[0], [9]]}}),
    ],
)
def test_an_altered_verdict_is_told(worse, judges, what, change):
    """A figure, a sentence, an action or the evidence that was changed afterwards comes out differently."""
    number = next(i for i, e in enumerate(worse) if isinstance(e.event, ev.Verdict) and e.phase == "rolling_back")
    event = msgspec.structs.replace(worse[number].event, **change(worse[number].event))
    altered = [*worse[:number], msgspec.structs.replace(worse[number], event=event), *worse[number + 1 :]]
    different = [each for each in recompute(altered, judges) if each.differences]
    assert [each.entry.seq for each in different] == [worse[number].seq]
    assert what in " ".join(different[0].differences)


def test_the_story_of_a_good_release(told, plain_judges, golden):
    """Stages with their times, requests and failures, and why each ended."""
    golden("explain_live", text_of(told[0], plain_judges))


def test_the_story_of_a_release_taken_back(told, plain_judges, golden):
    """What decided, in the judge's words, the controllers, and the chart that shows it."""
    golden("explain_rolled_back", text_of(told[1], plain_judges))


def test_a_moment_of_it(told, plain_judges, golden):
    """Only the verdict then, with what was known then."""
    golden("explain_at", text_of(up(told[0], "+1m30s"), plain_judges, at_moment=True))


def up(entries, moment):
    return type(entries)(up_to(entries, moment))


def test_without_utf8_the_story_is_ascii(worse, judges):
    """Chart, arrows and marks have a plain form."""
    text = text_of(worse, judges, glyphs=ASCII, width=70)
    assert text.isascii()
    assert max(len(line) for line in text.splitlines()) <= 72


def test_the_figures_of_the_story_add_up_to_the_counters(healthy):
    """Requests and failures of all stages together are what the gateway counted since the judge's first look."""
    story = tell(healthy)
    evidence = [e.event.evidence for e in healthy if isinstance(e.event, ev.Verdict) and e.event.evidence]
    for name in ("requests", "errors"):
        counted = evidence[-1][name][1][0] - evidence[0][name][1][0]
        assert sum(sum(getattr(chapter.arms[1], name)) for chapter in story.chapters) == counted > 0
    assert [chapter.weight for chapter in story.chapters] == [500, 2500, 5000, 10000]
    assert all(chapter.ended_at and chapter.ending for chapter in story.chapters)


def test_json_is_the_same_story(worse, judges):
    """For scripts: the same figures, whether it recomputed, and nothing that is not JSON."""
    again = list(recompute(worse, judges))
    facts = json.loads(json.dumps(as_json(tell(worse), worse, again, at_moment=False)))
    assert facts["schema"] == "golive/explain/v1"
    assert facts["recomputed"]["same"] is True
    assert facts["recomputed"]["verdict"] == facts["verdict"]
    assert facts["stages"][-1]["candidate"]["failed"] > 0
    assert facts["phase"] == "rolled_back"


def test_moments_are_offsets_clock_times_instants_and_entries(healthy):
    """Each of the four ways to name a moment cuts the journal at the same place."""
    start = healthy[0].at
    wanted = [e.seq for e in healthy if e.at <= start + timedelta(seconds=90)]
    for text in ("+90s", "+1m30s", str(wanted[-1]), f"#{wanted[-1]}", "09:01:33", "2026-01-05T09:01:34Z"):
        assert [e.seq for e in up_to(healthy, text)] == wanted, text
    assert [e.seq for e in up_to(healthy, "09:01")] == [e.seq for e in healthy if e.at.minute <= 1]


@pytest.mark.parametrize(
    "text",
    ["yesterday", "+12", "25:00", "99999999", "2026-01-05T09:01:30", "2020-01-01T00:00:00Z", "", "+99999999999999w"],
)
def test_what_is_no_moment_is_refused_with_examples(healthy, text):
    """Nonsense, a number of another rollout, and a time before the start say what was expected."""
    with pytest.raises(UsageError, match="--at"):
        up_to(healthy, text)


@pytest.fixture
def project(tmp_path, monkeypatch, worse, keep):
    """A project whose journal holds one rollout."""
    (tmp_path / "golive.toml").write_text('service = "web"\napp = "app:app"\n')
    keep(tmp_path, worse)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    code = app_for({"explain": ""}, ["explain", *arguments])
    return code, capsys.readouterr()


def test_the_command_tells_the_latest_rollout(project, capsys):
    """Without an ID the latest is told; the answer to --at is the verdict then."""
    code, out = run(capsys)
    assert code == 0
    assert "recomputed: the same" in out.out
    assert "took over" in out.out
    code, out = run(capsys, "web-1", "--at", "+60s")
    assert code == 0
    assert "after the start" in out.out
    assert json.loads(run(capsys, "-o", "json")[1].out)["recomputed"]["same"] is True


def test_the_command_exits_3_when_a_verdict_comes_out_differently(project, capsys):
    """A journal whose evidence was changed behind its back does not pass as explained."""
    journal = Journal(project / ".golive" / "golive.db")
    journal.connection.execute("drop trigger journal_is_append_only_update")
    changed = journal.connection.execute(
        "update journal set body = replace(body, '\"confidence\":', '\"confidence\":1') where body like '%\"verdict\"%'"
    )
    assert changed.rowcount > 0
    journal.close()
    code, out = run(capsys)
    assert code == 3
    assert "DIFFER" in out.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["web-9"], "web-9: there is none"), (["--at", "soon"], "--at soon: expected a moment")],
)
def test_the_command_refuses_what_it_cannot_find(project, capsys, arguments, says):
    """Unknown rollouts and moments exit 2 with one line."""
    code, out = run(capsys, *arguments)
    assert code == 2
    assert says in out.err

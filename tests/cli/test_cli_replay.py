"""`golive replay`: the evidence of a recorded rollout before another judge, and where its story ends."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from golive.cli import app_for
from golive.cli.replay_view import as_text, differences
from golive.cli.terminal import ASCII, UNICODE
from golive.rollout.judge import Judge
from golive.rollout.machine import replay
from golive.rollout.plan import Stage, make_plan
from golive.rollout.rejudge import rejudge
from golive.rollout.semantics.argo import ArgoRules
from golive.testing.simulator import Faults


def make(state, stored):
    """As the wiring does, for the three buckets of the simulator's gateway."""
    if stored is not None:
        return Judge.from_dict(stored)
    if state.judging["semantics"] == "argo":
        return ArgoRules(state.plan.weights, state.judging["slo"], 10.0, (0.1, 1.0), ("*",), interval_s=30.0, count=2)
    floors = [stage.floor.total_seconds() for stage in state.plan.stages]
    return Judge(
        plan=state.plan.weights, slo=state.judging["slo"], tick_s=10.0, histogram_bounds=(0.1, 1.0), routes=("*",),
        pace="demo", floor_s=floors, ceiling_s=[3600.0] * len(floors), **state.judging["options"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def good(journey):
    return journey(Faults())


@pytest.fixture(scope="module")
def worse(journey):
    return journey(Faults(error_ratio=0.04, kills=(20, 40)))


def judging(entries, **changes):
    return {"semantics": "golive", **entries.state.judging, **changes}


def told(replayed, changed=(), glyphs=UNICODE, width=100):
    return "\n".join(line.plain.rstrip() for line in as_text(replayed, changed, width, glyphs))


@pytest.mark.parametrize("fixture", ["good", "worse"])
def test_the_same_settings_tell_the_same_story(fixture, request):
    """Stage by stage, second by second; nothing is left unknown."""
    entries = request.getfixturevalue(fixture)
    replayed = rejudge(entries, entries.state.plan, judging(entries), make)
    assert [step.recorded for step in replayed.steps] == [step.replayed for step in replayed.steps]
    for step in replayed.steps:
        assert step.recorded_at == pytest.approx(step.replayed_at, abs=1.0)
    assert (replayed.end, replayed.unknown) == ("live" if fixture == "good" else "rollback", "")
    assert replayed.last.recorded.rows == replayed.last.now.rows


def test_a_stricter_judge_holds_where_the_recording_went_on(good):
    """A stage it cannot finish from the recording ends its story, and that is said."""
    replayed = rejudge(good, good.state.plan, judging(good, options={"beta": 1e-12}), make)
    step = replayed.steps[-1]
    assert [each.replayed for each in replayed.steps[:-1]] == ["promote"] * (len(replayed.steps) - 1)
    assert (step.recorded, step.replayed, replayed.end) == ("promote", "", "unknown")
    assert "where the replay still held" in replayed.unknown
    assert "needs about" in step.why
    text = told(replayed, ["options.beta: 0.05 -> 1e-12"])
    assert "not known: the recording left 50 %" in text
    assert "cannot be known" in text.splitlines()[-1]


def test_a_table_that_tolerates_more_does_not_know_what_came_after(worse):
    """The recording was taken back; whether another judge would have been is not in it."""
    replayed = rejudge(worse, worse.state.plan, judging(worse, options={"alpha": 1e-9}), make)
    step = replayed.steps[-1]
    assert (step.recorded, step.replayed, replayed.end) == ("rollback", "", "unknown")
    assert "was taken back" in replayed.unknown


def test_the_rules_of_another_tool_see_the_same_evidence(worse):
    """Argo's first measurement had nothing to divide by, which it calls Inconclusive: a person decides."""
    replayed = rejudge(worse, worse.state.plan, judging(worse, semantics="argo"), make)
    (step,) = replayed.steps
    assert (step.recorded, step.replayed, replayed.end) == ("promote", "", "unknown")
    assert "a person has to decide" in step.why


def test_a_weight_the_other_plan_does_not_have_ends_the_story(good):
    """Evidence belongs to the traffic it was gathered at."""
    plan = make_plan([Stage(weight, timedelta(minutes=2)) for weight in (500, 6_000, 10_000)])
    replayed = rejudge(good, plan, judging(good), make)
    assert any("25 % was recorded and is no stage of this plan (5, 60, 100 %)" in note for note in replayed.notes)
    assert replayed.end == "unknown"
    assert len(replayed.steps) == 1


def test_a_shorter_floor_goes_on_sooner_and_says_on_what_it_rests(good):
    """From the first stage on the replay would have had more traffic than was recorded."""
    plan = make_plan([Stage(stage.weight, timedelta(seconds=20)) for stage in good.state.plan.stages])
    replayed = rejudge(good, plan, judging(good), make)
    assert all(step.replayed_at <= step.recorded_at for step in replayed.steps if step.replayed_at is not None)
    assert replayed.steps[0].replayed_at < replayed.steps[0].recorded_at - 1
    assert any("lower weight" in note for note in replayed.notes)


def test_a_rollout_that_was_never_judged_says_so(good):
    """An empty journal is no rollout at all."""
    replayed = rejudge(good[:3], good.state.plan, judging(good), make)
    assert "never judged" in replayed.unknown
    assert told(replayed, glyphs=ASCII).isascii()
    with pytest.raises(ValueError, match="begins with its start"):
        rejudge(good[1:], good.state.plan, judging(good), make)


def test_what_differs_is_told_in_a_line_each(good):
    """Options, rows and stages; what is the same is left out."""
    state = replay([entry.event for entry in good])
    plan = make_plan([Stage(1_000, timedelta(0)), Stage(10_000, timedelta(0))])
    lines = differences(state, plan, {"pace": "demo", "slo": {"error_rate": {"target": "< 1%"}}, "routes": ["*"]})
    assert any(line.startswith("plan: 5 % 2m to 1h, 25 %") and line.endswith("-> 10 % 0s, 100 % 0s") for line in lines)
    assert "slo: none -> {error_rate {'target': '< 1%'}}" in lines
    assert "pace: none -> demo" in lines


@pytest.fixture
def project(tmp_path, monkeypatch, worse, keep):
    """A project whose journal holds one rollout."""
    (tmp_path / "golive.toml").write_text('service = "web"\napp = "app:app"\n')
    keep(tmp_path, worse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("golive.cli.replay.make_judge", make)


def run(capsys, *arguments):
    return app_for({"replay": ""}, ["replay", *arguments]), capsys.readouterr()


def test_the_command_prints_both_stories(project, capsys):
    """As text and as data, by today's file and what the command line adds; the journal stays as it is."""
    code, out = run(capsys, "--preset", "demo", "--option", "alpha=0.001")
    assert code == 0
    assert "RECORDED" in out.out
    assert "plan:" in out.out
    document = json.loads(run(capsys, "web-1", "-o", "json")[1].out)
    assert document["schema"] == "golive/replay/v1"
    assert document["stages"][0]["recorded"]["end"] in ("promote", "rollback")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["web-9"], "web-9: there is none"),
        (["--option", "alpha"], '--option alpha: expected NAME=NUMBER such as "alpha=0.001"'),
        (["--option", "alpha=nan"], "--option alpha=nan: expected"),
        (["--preset", "nope"], "nope"),
        (["--semantics", "spinnaker"], "spinnaker"),
    ],
)
def test_the_command_refuses_nonsense_by_name(project, capsys, arguments, says):
    """Exit 2, one line."""
    code, out = run(capsys, *arguments)
    assert code == 2
    assert says in out.err

"""`golive plan`: the stages of a rollout, when they are reached, what they can see, and the lint of a plan."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from golive.cli import app_for, main
from golive.cli.plan_view import Outlook, as_json, as_markdown, as_text, lint
from golive.rollout.evidence.envoy import BOUNDS
from golive.rollout.judge import Judge
from golive.rollout.plan import PRESETS, Stage, make_plan, preset
from golive.rollout.power import Broken, Power, StagePower, Traffic, power_of

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SLO = {"error_rate": {"target": "<= 1%", "alert_if": "> 2%"}, "latency_p95": {"target": "< 500ms", "alert_if": "> 1s"}}
TOML = """
service = "web"
app = "app:app"
[slo]
error_rate = { target = "<= 1%", alert_if = "> 2%" }
[rollout]
preset = "progressive"
"""


#: Figures of the same order as the real ones; goldens of words should not move when the judge is tuned.
POWER = Power(
    (
        StagePower(12, 18, None, 90.0),
        StagePower(60, 90, 0.1, 180.0),
        StagePower(300, 3000, 0.0075, 790.4),
        StagePower(600, 3000, 0.0056, 1735.0),
        StagePower(1140, 5700, 0.0056, None),
        StagePower(1200, 0, None, None),
    ),
    Broken(31.2, 3.12, 1),
)


def outlook(plan, rate=None, *, slo=SLO, pace="careful", groups=(), power=None):
    """What `golive plan` would print for *plan*."""
    floors = [stage.floor.total_seconds() for stage in plan.stages]
    ceilings = [(stage.ceiling or stage.floor + timedelta(hours=1)).total_seconds() for stage in plan.stages]

    def judge():
        return Judge(plan=plan.weights, slo=slo, tick_s=5.0, histogram_bounds=BOUNDS, routes=("*",), pace=pace,
                     floor_s=floors, ceiling_s=ceilings)  # fmt: skip

    traffic = Traffic(rate) if rate else None
    power = power or (power_of(judge, floors, ceilings, traffic) if traffic else None)
    source = "as given" if rate else ""
    return Outlook("web  v1 -> v2  plan progressive, pace careful", plan, judge(), NOW, traffic, source, power,
                   frozenset(groups))  # fmt: skip


def stages(*rows, **options):
    """(percent, minutes, group) rows as a plan."""
    return make_plan([Stage(round(w * 100), timedelta(minutes=m), None, group) for w, m, group in rows], **options)


def test_the_table_of_a_plan(golden):
    """Weights, floors, times and what is found, at a small team's traffic."""
    golden("plan_text", "\n".join(as_text(outlook(preset("progressive"), 20, power=POWER), 100)))


def test_without_a_rate_it_says_what_is_missing(golden):
    """No figures are invented: power needs traffic."""
    golden("plan_no_rate", "\n".join(as_text(outlook(preset("canary-10-50-100")), 80)))


def test_markdown_is_the_same_plan(golden):
    """For a change ticket; a stage per row."""
    golden("plan_markdown", "\n".join(as_markdown(outlook(preset("progressive"), 20, power=POWER))))


def test_the_clock_adds_up_floors():
    """Each stage is reached when the floors before it are over; the last figure is the plan's own sum."""
    plan = stages((1, 1.5, None), (10, 20, None), (100, 5, None))
    facts = as_json(outlook(plan, 50))
    assert [stage["earliest_seconds"] for stage in facts["stages"]] == [0, 90, 1290]
    assert facts["stages"][2]["earliest_at"] == "2026-01-05T09:21:30.000Z"
    assert facts["stages"][1]["candidate_requests_per_minute"] == pytest.approx(300)
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_of_text_is_wider_than_the_terminal(width):
    """Columns that can be worked out give way first."""
    lines = as_text(outlook(preset("progressive"), 5), width)
    assert max(len(line) for line in lines if not line.startswith(("STAGE", "1", "5", "2", "9"))) <= width
    assert any(line.startswith("100 %") for line in lines)


def test_lint_names_a_stage_without_information():
    """One per cent of a request a second for a minute is nothing, and the merge is suggested."""
    warnings = " ".join(lint(outlook(stages((1, 1, None), (25, 60, None), (100, 0, None)), 1)))
    assert "1 % carries no information" in warnings
    assert "Merge it with 25 %" in warnings


def test_lint_names_a_stage_that_finds_nothing_new():
    """A short stage behind a long one at nearly the same weight only costs time."""
    warnings = " ".join(lint(outlook(stages((20, 120, None), (21, 1, None), (100, 0, None)), 50)))
    assert "21 % finds nothing the stages before did not find" in warnings


def test_lint_says_when_the_alarm_is_out_of_sight():
    """A table that promises less than the plan can see is told so, and only then."""
    plan = stages((10, 2, None), (100, 0, None))
    assert "alarms at > 2%" in " ".join(lint(outlook(plan, 1)))
    assert "alarms at" not in " ".join(lint(outlook(plan, 2000)))


def test_lint_says_who_will_be_asked_when_the_evidence_cannot_suffice():
    """What on_inconclusive does to a good release at this traffic is said before it happens."""
    rows = ((10, 2, None), (50, 2, None), (100, 0, None))
    assert "a person is asked" in " ".join(lint(outlook(stages(*rows), 0.05)))
    rolled = lint(outlook(stages(*rows, on_inconclusive="rollback"), 0.05))
    assert "a good release would be taken back" in " ".join(rolled)


def test_lint_names_groups_that_anybody_may_speak_for():
    """A group that is not listed is a typing error or an open door."""
    plan = preset("canary-10-50-100")
    assert sum("Anybody may approve" in warning for warning in lint(outlook(plan))) == 2
    assert sum("Anybody may approve" in warning for warning in lint(outlook(plan, groups=["product"]))) == 1


def test_lint_names_stages_too_short_for_latency():
    """Within the warm-up of a stage nothing is learned about latency."""
    plan = stages((10, 0.5, None), (50, 10, None), (100, 0, None))
    assert "Latency is not judged within the floor of 10 %" in " ".join(lint(outlook(plan)))


def test_a_sound_plan_has_no_warnings():
    """The lint is worth reading because it is silent when there is nothing to say."""
    assert list(lint(outlook(stages((5, 15, None), (50, 30, None), (100, 0, None)), 200))) == []


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project in which golive never ran."""
    (tmp_path / "golive.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    code = app_for({"plan": ""}, ["plan", *arguments])
    return code, capsys.readouterr()


def test_the_command_plans_without_leaving_a_trace(project, capsys):
    """Planning before anything ever ran makes no state folder, and asks for the rate."""
    code, out = run(capsys, "v2")
    assert code == 0
    assert "say --rate" in out.out
    assert "stable -> v2" in out.out
    assert not (project / ".golive").exists()


def test_the_presets_can_be_listed_anywhere(tmp_path, monkeypatch, capsys):
    """Every one by name, with shares, floors, who is asked and the watch; no golive.toml is needed for it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--list"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    assert "canary-10-50-100               10%/1d  50%/1d (eng-lead)  100%/0s (product)  watch 2d" in lines


def test_the_command_takes_rate_errors_and_preset(project, capsys):
    """Figures given on the command line are those reckoned with."""
    code, out = run(capsys, "--rate", "20", "--error-rate", "0.5", "--preset", "canary-24h", "-o", "json")
    assert code == 0
    facts = json.loads(out.out)
    assert facts["schema"] == "golive/plan/v1"
    assert facts["rate_per_second"] == 20
    assert facts["stable_error_ratio"] == 0.005
    assert [stage["weight_percent"] for stage in facts["stages"]] == [5, 100]
    assert facts["stages"][0]["finds_error_ratio"] < 0.02
    assert facts["broken_build"]["failed_requests"] > 0


def test_the_judge_of_the_plan_is_the_judge_of_the_rollout(project):
    """Table, stages, tick and pace come from the file by the way a rollout takes them."""
    from golive.cli.inbox import settings_for
    from golive.cli.plan import judge_for
    from golive.planning import plan_of

    settings = settings_for(None, None)
    judge = judge_for(settings, plan_of(settings))
    assert judge.tick_s == settings.rollout.tick.total_seconds()
    assert judge.plan == list(preset("progressive").weights)
    assert [want.name for want in judge.wants] == list(settings.slo)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", "0"], "above 0, got 0"),
        (["--rate", "-3"], "above 0, got -3"),
        (["--rate", "nan"], "above 0, got nan"),
        (["--rate", "many"], "--rate"),
        (["--error-rate", "70", "--rate", "1"], "percent from 0 to 50, got 70"),
        (["--preset", "progresive"], 'did you mean "progressive"'),
        (["-o", "yaml"], "yaml"),
    ],
)
def test_what_cannot_be_planned_is_refused(project, capsys, arguments, says):
    """Exit 2 and what was expected."""
    code, out = run(capsys, *arguments)
    assert code == 2
    assert says in out.err

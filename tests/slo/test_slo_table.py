"""The table: what rows mean, what is refused, and what one value is worth."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.slo.condition import parse_condition
from golive.slo.table import Condition, Row, SloError, Verdict, parse_table, to_markdown
from golive.slo.units import UNITS, format_quantity, parse_quantity

DESIGN = {
    "success_rate": {"target": "> 99%", "alert_if": "< 98%", "window": "5m"},
    "submit_latency_p95": {"target": "< 3s", "alert_if": "> 5s", "route": "POST /api/vpr"},
    "job_duration_p95": {"target": "< 90s", "alert_if": "> 120s", "queue": "vpr"},
    "latency_p99": {"target": "<= 1s", "alert_if": "> 1s", "baseline": "+20%"},
    "queue_depth": {"target": "< 10", "alert_if": "> 50", "act_if": "> 100"},
    "dead_letters": {"target": "== 0", "alert_if": ">= 1", "severity": "page"},
    "cost_per_job": {"target": "< $0.01", "alert_if": "> $0.05"},
    "memory_ratio": {"target": "< 0.8"},
    "paid": {"target": "> 92%", "alert_if": "< 85%", "query": "sum(rate(paid_total{$labels}[$window]))"},
}


def row(name: str = "error_rate", **settings: object) -> Row:
    return parse_table({name: settings})[name]


def faults(name: str = "error_rate", **settings: object) -> list[str]:
    with pytest.raises(SloError) as caught:
        parse_table({name: settings})
    return [str(fault) for fault in caught.value.faults]


def test_the_table_of_the_design_parses_as_it_stands() -> None:
    """Every row of the design means what it says: unit, quantile, window, scope and severity."""
    table = parse_table(DESIGN)
    assert list(table) == list(DESIGN)
    assert table["success_rate"].target == Condition(">", 0.99, "ratio")
    assert table["submit_latency_p95"].indicator == "latency"
    assert table["submit_latency_p95"].quantile == 0.95
    assert table["submit_latency_p95"].route == "POST /api/vpr"
    assert table["job_duration_p95"].alert_if == Condition(">", 120.0, "seconds")
    assert table["latency_p99"].baseline == pytest.approx(0.2)
    assert table["queue_depth"].act_if == Condition(">", 100.0, "number")
    assert table["cost_per_job"].target == Condition("<", 0.01, "usd")
    assert table["memory_ratio"].target == Condition("<", 0.8, "ratio")
    assert (table["paid"].indicator, table["paid"].quantile) == ("custom", None)
    assert table["success_rate"].window == timedelta(minutes=5)


def test_what_users_feel_pages_and_the_rest_is_a_ticket_unless_said_otherwise() -> None:
    """The default severity follows the indicator; the row's own word wins."""
    table = parse_table(DESIGN)
    assert {name: r.severity for name, r in table.items()} == {
        "success_rate": "page", "submit_latency_p95": "page", "latency_p99": "page", "dead_letters": "page",
        "job_duration_p95": "ticket", "queue_depth": "ticket", "cost_per_job": "ticket", "memory_ratio": "ticket",
        "paid": "ticket",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "verdict", "sentence"),
    [
        (0.0034, Verdict.PASS, "error_rate is 0.34% (target <= 1%)"),
        (0.01, Verdict.PASS, "error_rate is 1% (target <= 1%)"),
        (0.015, Verdict.INCONCLUSIVE, "error_rate is 1.5%, between target <= 1% and alert if > 2%"),
        (0.02, Verdict.INCONCLUSIVE, "error_rate is 2%, between target <= 1% and alert if > 2%"),
        (0.053, Verdict.FAIL, "error_rate is 5.3% (alert if > 2%, target <= 1%)"),
        (None, Verdict.INCONCLUSIVE, "error_rate: no data in the last 5m, which neither passes nor fails"),
        (math.nan, Verdict.INCONCLUSIVE,
         "error_rate: the measurement is not a number (nothing was counted), which neither passes nor fails"),
        (math.inf, Verdict.INCONCLUSIVE,
         "error_rate: the measurement inf is not a share between 0 and 1, which neither passes nor fails"),
        (-0.1, Verdict.INCONCLUSIVE,
         "error_rate: the measurement -0.1 is not a share between 0 and 1, which neither passes nor fails"),
    ],
)  # fmt: skip
def test_a_value_is_judged_in_three_states_with_a_reason(value: float | None, verdict: Verdict, sentence: str) -> None:
    """Target met passes, alarm true fails, everything between or unknown holds."""
    judgement = row(target="<= 1%", alert_if="> 2%").judge(value)
    assert (judgement.verdict, judgement.sentence) == (verdict, sentence)


def test_a_row_without_an_alarm_has_one_limit() -> None:
    """`memory_ratio = { target = "< 0.8" }` fails at 0.8: there is no room between target and alarm."""
    memory = row("memory_ratio", target="< 0.8")
    assert memory.judge(0.79).verdict is Verdict.PASS
    assert memory.judge(0.8).verdict is Verdict.FAIL
    assert memory.judge(0.91).sentence == "memory_ratio is 91% (target < 80%)"


def test_the_third_threshold_says_act() -> None:
    """The queue depth of the gradual deployment plan: target < 10, alarm > 50, act > 100."""
    depth = parse_table(DESIGN)["queue_depth"]
    assert depth.judge(60).sentence == "queue_depth is 60 (alert if > 50, target < 10)"
    assert depth.judge(101).sentence == "queue_depth is 101 (act if > 100, target < 10)"


def test_a_value_next_to_the_limit_is_shown_with_the_digits_that_matter() -> None:
    """ "1% (alert if > 1%)" would read as a mistake."""
    assert row(target="<= 1%").judge(0.01000001).sentence == "error_rate is 1.000001% (target <= 1%)"


def test_a_phase_overrides_only_what_it_names() -> None:
    """The load gate, the canary and the steady state may use other numbers; the rest of the row stays."""
    error_rate = row(target="<= 1%", alert_if="> 2%", window="10m", canary={"alert_if": "> 5%"}, gate={"window": "1m"})
    canary = error_rate.for_phase("canary")
    assert (str(canary.target), str(canary.alert_if), canary.window) == ("<= 1%", "> 5%", timedelta(minutes=10))
    assert error_rate.for_phase("gate").window == timedelta(minutes=1)
    assert error_rate.for_phase("steady") is error_rate


def test_the_quantile_is_part_of_the_name() -> None:
    """p50, p95, p99, p999 and p9999 are quantiles; the maximum is not one."""
    names = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p999": 0.999, "job_duration_p9999": 0.9999}
    assert {name: row(name, target="< 1s").quantile for name in names} == names
    assert "slo.latency_p100" in faults("latency_p100", target="< 1s")[0]


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("latency_p95", {"target": "< 300"},
         'slo.latency_p95.target: expected seconds such as "< 300ms" or "< 3s", got "< 300", which has no unit.'),
        ("latency_p95", {"target": "< 300%"},
         'slo.latency_p95.target: expected seconds such as "< 300ms" or "< 3s", got "< 300%", which is in ratio.'),
        ("latency_p95", {"target": "< 300", "alert_if": "> 1 sec"},
         'slo.latency_p95.alert_if: unknown unit "sec" in "1 sec". '
         "Write one of %, ms, s, m, h, B, KiB, MiB, GiB, TiB, or $ in front."),
        ("error_rate", {"target": "< 150%"},
         'slo.error_rate.target: expected a share between 0% and 100%, got "< 150%".'),
        ("error_rate", {"target": "1%"},
         'slo.error_rate.target: expected a condition such as "< 1%", got "1%". Begin with <, <=, ==, >= or >.'),
        ("error_rate", {"target": "=< 1%"},
         'slo.error_rate.target: expected one of <, <=, ==, >=, >, got "=<" in "=< 1%".'),
        ("error_rate", {"target": 1},
         'slo.error_rate.target: expected a condition such as "< 1%", got 1. Write an operator and quotes.'),
        ("error_rate", {"target": "< 0%"},
         'slo.error_rate.target: "< 0%" can never be true of error_rate.'),
        ("success_rate", {"target": "> 100%"},
         'slo.success_rate.target: "> 100%" can never be true of success_rate.'),
        ("queue_depth", {"target": "< -1"}, 'slo.queue_depth.target: queue_depth is never negative, got "< -1".'),
        ("error_rate", {"alert_if": "> 2%"},
         'slo.error_rate: has no target. Write { target = "...", alert_if = "..." }.'),
        ("error_rate", {"target": "< 1%", "alert_iff": "> 2%"},
         'slo.error_rate.alert_iff: unknown key, did you mean "alert_if"?'),
        ("error_rate", {"target": "< 1%", "canry": {}},
         'slo.error_rate.canry: unknown key, did you mean "canary"?'),
        ("error_rate", {"target": "< 1%", "canary": {"route": "/"}},
         "slo.error_rate.canary.route: unknown key. "
         "Known here: target, alert_if, act_if, window, severity, baseline."),
        ("error_rate", {"target": "< 3%", "alert_if": "> 2%"},
         'slo.error_rate.alert_if: "> 2%" can be true while the target "< 3%" is met. Leave no overlap.'),
        ("error_rate", {"target": "< 1%", "alert_if": "> 2%", "gate": {"target": "< 3%"}},
         'slo.error_rate.gate: alert_if "> 2%" can be true while the target "< 3%" is met. Leave no overlap.'),
        ("queue_depth", {"target": "< 10", "alert_if": "> 50", "act_if": "> 20"},
         'slo.queue_depth.act_if: "> 20" must be a worse case of alert_if "> 50".'),
        ("latency_p99", {"target": "< 1s", "baseline": "-20%"},
         'slo.latency_p99.baseline: worse than target "< 1s" is the other way: write "+...%".'),
        ("success_rate", {"target": "> 99%", "baseline": "20"},
         "slo.success_rate.baseline: expected a tolerance against the stable version such as \"+20%\", got '20'."),
        ("error_rate", {"target": "< 1%", "window": "5"},
         'slo.error_rate.window: expected a duration such as "30m", got \'5\'. Write "5s" or "5m".'),
        ("error_rate", {"target": "< 1%", "window": "0s"},
         'slo.error_rate.window: expected a window longer than zero, such as "5m".'),
        ("error_rate", {"target": "< 1%", "severity": "sms"},
         "slo.error_rate.severity: expected \"page\" or \"ticket\", got 'sms'."),
        ("error_rate", {"target": "< 1%", "route": "api"},
         "slo.error_rate.route: expected a route such as \"POST /api/orders\" or \"/api/orders\", got 'api'."),
        ("queue_depth", {"target": "< 10", "route": "/"},
         "slo.queue_depth.route: queue_depth cannot be narrowed by route; it takes queue."),
        ("error_rate", {"target": "< 1%", "route": "/", "queue": "vpr"},
         "slo.error_rate.queue: a row is about a route or a queue, not both."),
        ("paid", {"target": "> 92%", "alert_if": "< 85", "query": "x"},
         'slo.paid.alert_if: is in number, the target "> 92%" in ratio. Use one unit.'),
        ("paid", {"target": "> 92%", "query": " "}, "slo.paid.query: expected a text that is not empty, got ' '."),
    ],
)  # fmt: skip
def test_a_fault_names_its_key_and_what_to_write(name: str, settings: dict[str, object], expected: str) -> None:
    """Messages verbatim: they are what an engineer reads at night."""
    assert expected in faults(name, **settings)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("p95_latency", 'did you mean "latency_p95"?'),
        ("error_rat", 'did you mean "error_rate"?'),
        ("p95_submit_latency", 'The quantile comes last: "submit_latency_p95".'),
        ("checkout_page_latency", 'The quantile is part of the name: "checkout_page_latency_p95".'),
        ("Error_Rate", "lower case"),
    ],
)
def test_a_misspelt_row_is_told_its_name(name: str, hint: str) -> None:
    """A name that ends in no indicator is refused with the nearest spelling."""
    assert hint in faults(name, target="< 1s")[0]


def test_all_faults_of_all_rows_come_at_once_and_carry_their_keys() -> None:
    """One error, every fault, each with the path that finds its line."""
    with pytest.raises(SloError) as caught:
        parse_table({"error_rate": {"target": "1%", "canary": {"windo": "1m"}}, "latency_p95": "< 3s"})  # type: ignore[dict-item]
    assert {fault.key for fault in caught.value.faults} == {
        ("error_rate", "canary", "windo"),
        ("error_rate", "target"),
        ("latency_p95",),
    }
    assert 'expected a table such as { target = "< 3s" }' in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_number_of_rows_is_limited() -> None:
    """A hundred rows at most, and the message says how many there are."""
    rows = {f"r{n}_error_rate": {"target": "< 1%"} for n in range(101)}
    with pytest.raises(SloError, match="expected at most 100 rows, got 101"):
        parse_table(rows)
    assert len(parse_table(dict(list(rows.items())[:100]))) == 100


def test_the_markdown_is_the_table_of_the_runbook() -> None:
    """The gradual deployment plan's own table, rendered from rows."""
    rows = {name: DESIGN[name] for name in ("success_rate", "submit_latency_p95", "cost_per_job", "memory_ratio")}
    assert to_markdown(parse_table(rows)) == (
        "| Metric | Target | Alert If |\n"
        "| --- | --- | --- |\n"
        "| Success Rate | > 99% | < 98% |\n"
        "| P95 Submit Latency | < 3s | > 5s |\n"
        "| Cost Per Job | < $0.01 | > $0.05 |\n"
        "| Memory Ratio | < 80% | – |\n"
    )


def test_the_markdown_shows_act_if_and_phases_only_where_they_exist() -> None:
    """A fourth column and an extra line appear when a row has them."""
    rows = parse_table(
        {"queue_depth": DESIGN["queue_depth"], "error_rate": {"target": "< 1%", "gate": {"target": "< 2%"}}}
    )
    assert to_markdown(rows) == (
        "| Metric | Target | Alert If | Act If |\n"
        "| --- | --- | --- | --- |\n"
        "| Queue Depth | < 10 | > 50 | > 100 |\n"
        "| Error Rate | < 1% | – | – |\n"
        "| Error Rate (gate) | < 2% | – | – |\n"
    )


@given(
    op=st.sampled_from(["<", "<=", "==", ">=", ">"]),
    value=st.floats(min_value=0, max_value=1e15),
    unit=st.sampled_from(UNITS),
)
def test_a_condition_reads_back_what_it_writes(op: str, value: float, unit: str) -> None:
    """Writing and reading are inverse for every operator, unit and value, to the last bit."""
    condition = Condition(op, value, unit)  # type: ignore[arg-type]
    assert parse_condition(str(condition), condition.unit) == condition


@given(
    a=st.sampled_from(["<", "<=", "==", ">=", ">"]), b=st.sampled_from(["<", "<=", "==", ">=", ">"]),
    x=st.integers(0, 4), y=st.integers(0, 4),
)  # fmt: skip
def test_overlap_agrees_with_trying_many_values(a: str, b: str, x: int, y: int) -> None:
    """The shortcut over five values says what a fine grid says."""
    one, other = Condition(a, x, "number"), Condition(b, y, "number")  # type: ignore[arg-type]
    grid = [step / 10 for step in range(-20, 70)]
    assert one.overlaps(other) == any(one.holds(value) and other.holds(value) for value in grid)


@given(value=st.none() | st.floats(), alert=st.floats(0.01, 0.99), target=st.floats(0, 0.01))
def test_pass_and_fail_say_exactly_what_the_conditions_say(value: float | None, alert: float, target: float) -> None:
    """PASS only with the target met, FAIL only with the alarm true, and nothing unmeasured ever decides."""
    limits = [f"{sign} {format_quantity(limit, 'ratio')}" for sign, limit in (("<=", target), (">", alert))]
    error_rate = row(target=limits[0], alert_if=limits[1])
    verdict = error_rate.judge(value).verdict
    usable = value is not None and 0 <= value <= 1
    assert (verdict is Verdict.PASS) == (usable and value <= target)  # type: ignore[operator]
    assert (verdict is Verdict.FAIL) == (usable and value > alert)  # type: ignore[operator]


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_a_clear_refusal(text: str) -> None:
    """Nothing but ValueError leaves the parser, whatever is typed."""
    try:
        value, unit = parse_quantity(text)
    except ValueError:
        return
    assert math.isfinite(value)
    assert unit in UNITS

"""Running gates: order, limits, waivers, and nothing a gate does takes the run down."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.errors import ConfigError, UnavailableError, UsageError
from golive.gates import Gate, Outcome, Phase, Report, Result, Target, Verdict, Waiver, failed, passed, run_gates
from golive.gates.planner import waves

TODAY = datetime.now(UTC).date()
TARGET = Target()


def gate(name: str, check=None, **more) -> Gate:  # type: ignore[no-untyped-def]
    async def fine(_target: Target) -> Outcome:
        return passed("fine")

    return Gate(name, "", Phase.SMOKE, check or fine, **more)


def catalogue(*gates: Gate) -> dict[str, Gate]:
    return {entry.name: entry for entry in gates}


async def run_one(check, **more) -> Outcome:  # type: ignore[no-untyped-def]
    report = await run_gates(["it"], TARGET, gates=catalogue(gate("it", check, **more)))
    return report.results[0].outcome


async def test_a_gate_that_hangs_is_unavailable_after_its_time_out() -> None:
    """With the limit in the sentence."""

    async def hangs(_target: Target) -> Outcome:
        await asyncio.sleep(60)
        return passed("never")

    outcome = await run_one(hangs, timeout=0.05)
    assert outcome == Outcome(Verdict.UNAVAILABLE, "did not finish within 0.05 s")


async def test_a_gate_that_ignores_its_cancellation_is_left_behind() -> None:
    """The run goes on a second later, while the gate still runs."""
    let_go = False

    async def stubborn(_target: Target) -> Outcome:
        while not let_go:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return passed("too late")

    outcome = await asyncio.wait_for(run_one(stubborn, timeout=0.05), 10)
    let_go = True
    assert outcome.verdict is Verdict.UNAVAILABLE


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UnavailableError("no URL"), "no URL"),
        (ConnectionResetError(104, "reset"), "[Errno 104] reset"),
        (ZeroDivisionError("division by zero"), "the gate itself failed: ZeroDivisionError: division by zero"),
    ],
)
async def test_a_gate_that_raises_is_unavailable_with_the_reason(error: Exception, sentence: str) -> None:
    """Never a trace, never a pass."""

    async def raises(_target: Target) -> Outcome:
        raise error

    assert await run_one(raises) == Outcome(Verdict.UNAVAILABLE, sentence)


async def test_a_gate_is_not_run_when_what_it_needs_did_not_pass() -> None:
    """And says so; what does not depend on it still runs."""

    async def red(_target: Target) -> Outcome:
        return failed("no")

    async def must_not_run(_target: Target) -> Outcome:
        raise AssertionError("it was run")

    gates = catalogue(gate("a", red), gate("b", must_not_run, depends_on=("a",)), gate("c"))
    report = await run_gates(["a", "b", "c"], TARGET, gates=gates)
    verdicts = {result.gate: result.outcome for result in report.results}
    assert verdicts["b"] == Outcome(Verdict.UNAVAILABLE, "not run: it needs a, which is FAIL")
    assert verdicts["c"].verdict is Verdict.PASS
    assert not report.go


async def test_gates_of_one_wave_run_together_and_an_exclusive_one_alone() -> None:
    """Overlap is counted by the gates themselves."""
    running = 0
    seen: dict[str, int] = {}

    def counting(name: str):  # type: ignore[no-untyped-def]
        async def check(_target: Target) -> Outcome:
            nonlocal running
            running += 1
            await asyncio.sleep(0.05)
            seen[name] = max(seen.get(name, 0), running)
            await asyncio.sleep(0.05)
            running -= 1
            return passed("counted")

        return check

    names = ["a", "b", "c", "alone"]
    gates = catalogue(*(gate(name, counting(name), exclusive=name == "alone") for name in names))
    await run_gates(names, TARGET, gates=gates)
    assert seen == {"a": 3, "b": 3, "c": 3, "alone": 1}


@given(st.lists(st.tuples(st.sets(st.integers(0, 7)), st.booleans()), min_size=1, max_size=8))
def test_every_gate_is_planned_once_and_after_what_it_needs(shape: list[tuple[set[int], bool]]) -> None:
    """For any graph without circles."""
    gates = catalogue(
        *(
            gate(str(number), depends_on=tuple(str(n) for n in needs if n < number), exclusive=alone)
            for number, (needs, alone) in enumerate(shape)
        )
    )
    planned = waves(list(gates), gates)
    order = [entry.name for wave in planned for entry in wave]
    assert sorted(order) == sorted(gates)
    done: set[str] = set()
    for wave in planned:
        assert all(done.issuperset(entry.depends_on) for entry in wave)
        assert len(wave) == 1 or not any(entry.exclusive for entry in wave)
        done |= {entry.name for entry in wave}


def test_what_a_gate_needs_is_planned_with_it() -> None:
    """``golive check smoke`` first looks whether the service is there."""
    gates = catalogue(gate("startup"), gate("smoke", depends_on=("startup",)), gate("other"))
    assert [[entry.name for entry in wave] for wave in waves(["smoke"], gates)] == [["startup"], ["smoke"]]


def test_gates_that_need_each_other_are_refused() -> None:
    """Instead of waiting for ever."""
    gates = catalogue(gate("a", depends_on=("b",)), gate("b", depends_on=("a",)))
    with pytest.raises(UsageError, match="circle"):
        waves(["a"], gates)


async def test_an_unknown_gate_is_refused_with_a_suggestion() -> None:
    """Before anything runs."""
    with pytest.raises(UsageError, match='unknown gate "idempotancy", did you mean "idempotency"'):
        await run_gates(["health", "idempotancy"], TARGET)


async def waived(expires: date, verdict_of=failed) -> Result:  # type: ignore[no-untyped-def]
    async def check(_target: Target) -> Outcome:
        return verdict_of("why")

    waiver = Waiver("it", "ana", "the supplier mends it in May", expires)
    report = await run_gates(["it"], TARGET, gates=catalogue(gate("it", check)), waivers=[waiver])
    assert report.go == report.results[0].good
    return report.results[0]


async def test_a_waiver_in_force_accepts_a_failure_with_owner_reason_and_day() -> None:
    """GO, but never silently."""
    result = await waived(TODAY)
    assert result.outcome.verdict is Verdict.WAIVED
    assert f"accepted by ana until {TODAY}: the supplier mends it in May" in result.outcome.sentence
    assert result.outcome.evidence["waiver"]["instead_of"] == "FAIL"


async def test_an_expired_waiver_is_a_failure() -> None:
    """And named, so that somebody renews or mends."""
    yesterday = TODAY - timedelta(days=1)
    result = await waived(yesterday)
    assert result.outcome.verdict is Verdict.FAIL
    assert f"the waiver of ana expired on {yesterday}" in result.outcome.sentence


async def test_a_waiver_does_not_touch_a_pass() -> None:
    """Nothing to accept."""
    assert (await waived(TODAY, passed)).outcome == passed("why")


@pytest.mark.parametrize(
    "waivers",
    [
        [Waiver("it", "ana", "x", TODAY), Waiver("it", "ben", "y", TODAY)],
        [Waiver("it", " ", "x", TODAY)],
        [Waiver("it", "ana", "", TODAY)],
        [Waiver("its", "ana", "x", TODAY)],
    ],
)
async def test_contradictory_or_unsigned_waivers_are_refused(waivers: list[Waiver]) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError, match="waiver of it"):
        await run_gates(["it"], TARGET, gates=catalogue(gate("it")), waivers=waivers)


async def test_results_are_told_as_they_come_and_listed_as_planned() -> None:
    """A person watching sees progress; the report is stable."""

    async def slow(_target: Target) -> Outcome:
        await asyncio.sleep(0.05)
        return passed("slow")

    told: list[str] = []
    gates = catalogue(gate("slow", slow), gate("quick"))
    report = await run_gates(["quick", "slow"], TARGET, gates=gates, on_result=lambda result: told.append(result.gate))
    assert told == ["quick", "slow"]
    assert [result.gate for result in report.results] == ["slow", "quick"]


def test_no_gate_is_no_go() -> None:
    """Nothing proven is not a pass."""
    report = Report("", "", datetime.now(UTC), 0.0, [])
    assert report.verdict == "NO-GO"
    assert report.sentence == "NO-GO: no gate ran"

"""The statistics under the verdict: by property, against slower versions that are obviously right, and by hand."""

from __future__ import annotations

import itertools
import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.slo.baseline import RATE_MIN, Baseline
from golive.slo.clumping import PHI_MAX, Clumping
from golive.slo.evalue import NEVER, late_reserve, late_stake, log_add, log_sum, rate_gain, shared_gain
from golive.slo.noninferiority import Refutation, excess_gains, factor_gains, ladder_of
from golive.slo.tails import limit_cut, quantile_cut, quantile_estimate, slower_tail_ratio, tail
from golive.slo.wager import BlockClock, Patience, Wager

logs = st.floats(-700, 700)


def binomial(k: int, n: int, p: float) -> float:
    """The probability of k of n."""
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


# ---------------------------------------------------------------------- sums in log space


@given(logs, logs)
def test_log_add_is_the_log_of_the_sum(a: float, b: float) -> None:
    """Against the textbook, shifted so that it does not overflow."""
    top = max(a, b)
    assert log_add(a, b) == pytest.approx(top + math.log(math.exp(a - top) + math.exp(b - top)), abs=1e-9)


@given(st.lists(logs, min_size=1, max_size=12))
def test_log_sum_is_repeated_log_add(terms: list[float]) -> None:
    """Order and number do not matter."""
    by_pairs = terms[0]
    for term in terms[1:]:
        by_pairs = log_add(by_pairs, term)
    assert log_sum(terms) == pytest.approx(by_pairs, abs=1e-9)


def test_no_stake_is_a_number() -> None:
    """`NEVER` adds nothing and survives JSON."""
    assert log_add(NEVER, 1.5) == 1.5
    assert log_sum([]) == NEVER
    assert json.loads(json.dumps(NEVER)) == NEVER


def test_the_late_stakes_and_the_reserve_are_one_whole_for_ever() -> None:
    """What was paid and what is left is always everything."""
    paid = 0.0
    for k in range(1, 5000):
        paid += late_stake(k)
        assert paid + late_reserve(k) == pytest.approx(1.0)


# ---------------------------------------------------------------------- fair odds


@pytest.mark.parametrize(
    ("n_c", "n_s", "ratio_0", "ratio_1"), [(10, 90, 1.25, 12.5), (50, 50, 1.0, 2.0), (3, 1, 1.2, 0.9)]
)
@pytest.mark.parametrize("total", [0, 1, 2, 7, 20])
def test_the_shared_bet_is_fair(n_c: float, n_s: float, ratio_0: float, ratio_1: float, total: int) -> None:
    """Under the null the expected factor is exactly 1, whatever the total: a martingale (enumerated)."""
    theta = ratio_0 * n_c / (ratio_0 * n_c + n_s)
    mean = sum(
        binomial(c, total, theta) * math.exp(shared_gain(c, total - c, n_c, n_s, ratio_0, ratio_1))
        for c in range(total + 1)
    )
    assert mean == pytest.approx(1.0)


@pytest.mark.parametrize("true_ratio", [0.2, 1.0, 1.2])
def test_the_shared_bet_loses_below_the_null(true_ratio: float) -> None:
    """A canary better than tolerated makes the factor's mean less than 1: a supermartingale."""
    theta = true_ratio * 10 / (true_ratio * 10 + 90)
    mean = sum(binomial(c, 8, theta) * math.exp(shared_gain(c, 8 - c, 10, 90, 1.25, 5.0)) for c in range(9))
    assert mean < 1


@given(st.integers(0, 30), st.integers(0, 30), st.floats(1, 1e4), st.floats(1, 1e4), st.floats(1.1, 50))
def test_the_shared_bet_is_the_ratio_of_two_binomials(c: int, b: int, n_c: float, n_s: float, ratio: float) -> None:
    """Against the slow definition: likelihood of the split under both ratios."""
    theta_0, theta_1 = n_c / (n_c + n_s), ratio * n_c / (ratio * n_c + n_s)
    slow = c * math.log(theta_1 / theta_0) + b * math.log((1 - theta_1) / (1 - theta_0))
    assert shared_gain(c, b, n_c, n_s, 1.0, ratio) == pytest.approx(slow, abs=1e-6)


def test_ticks_without_events_or_with_one_version_say_nothing() -> None:
    """No exposure, no bet."""
    assert shared_gain(0, 0, 10, 90, 1.0, 2.0) == 0
    assert shared_gain(5, 0, 10, 0, 1.0, 2.0) == 0
    assert shared_gain(0, 5, 0, 90, 1.0, 2.0) == 0


@pytest.mark.parametrize("n", [1, 4, 15])
def test_the_rate_bet_is_fair(n: int) -> None:
    """Expected factor 1 under the null rate."""
    mean = sum(binomial(k, n, 0.02) * math.exp(rate_gain(k, n, 0.02, 0.5)) for k in range(n + 1))
    assert mean == pytest.approx(1.0)


def test_three_failures_of_six_against_half_a_per_cent() -> None:
    """The figure the fuse is built on, by hand: 3 log(100) + 3 log(0.5 / 0.995)."""
    assert rate_gain(3, 6, 0.005, 0.5) == pytest.approx(3 * math.log(100) + 3 * math.log(0.5 / 0.995))


# ---------------------------------------------------------------------- wagers

PLAIN = Patience(block_s=10, parts=1e-9, window=0, express_s=0)
PATIENT = Patience(block_s=10, parts=2, window=6, express_s=0)


def run_wager(wager: Wager, gains: list[list[float]], late_every: int = 6) -> list[float]:
    """The values after every tick of 10 s; a late start every minute."""
    clock, values = BlockClock([10.0]), []
    for k, gain in enumerate(gains, start=1):
        wager.bet(gain)
        values.append(wager.value(10.0 * k, steady=True))
        wager.settle(clock.advance(10.0 * k))
        if k % late_every == 0:
            wager.start_late(0.3 * late_stake(k // late_every))
    return values


def true_log_wealth(weights: list[float], gains: list[list[float]], late_every: int = 6) -> float:
    """The impatient mixture, slowly: every alternative, every beginning, nothing capped or left out."""
    terms = []
    for j, weight in enumerate(weights):
        terms.append(math.log(weight * 0.7) + sum(gain[j] for gain in gains))
        for k in range(late_every, len(gains), late_every):
            stake = 0.3 * late_stake(k // late_every)
            terms.append(math.log(weight * stake) + sum(gain[j] for gain in gains[k:]))
    return log_sum(terms)


@given(st.lists(st.tuples(st.floats(-3, 6), st.floats(-3, 6)), min_size=1, max_size=40))
def test_patience_only_ever_lowers_the_wealth(gains: list[tuple[float, float]]) -> None:
    """So Ville's bound holds for what is counted: never above the true mixture over all beginnings."""
    weights, rows = [0.5, 0.5], [list(gain) for gain in gains]
    values = run_wager(Wager(weights, [PATIENT, PLAIN], math.log(100)), rows)
    for k in range(1, len(rows) + 1):
        assert values[k - 1] <= true_log_wealth(weights, rows[:k]) + 1e-9


@given(st.floats(0, 1e6), st.integers(0, 30))
def test_a_burst_of_five_blocks_never_wins(size: float, healthy: int) -> None:
    """However bad: five ticks of anything between health stay below the stake."""
    gains = [[-0.1]] * healthy + [[size]] * 5 + [[-0.1]] * 20
    values = run_wager(Wager([1.0], [PATIENT], math.log(100)), gains)
    assert max(values) < math.log(2)


def test_what_lasts_wins_two_blocks_after_the_window() -> None:
    """Six blocks are left out, two parts make the goal."""
    values = run_wager(Wager([1.0], [PATIENT], math.log(100)), [[50.0]] * 12)
    assert next(k for k, value in enumerate(values, start=1) if value >= math.log(100) - 1e-9) == 8


def test_a_late_fault_is_found_after_an_hour_of_health() -> None:
    """An hour of evidence for the canary does not have to be won back."""
    gains = [[-5.0]] * 360 + [[50.0]] * 30
    values = run_wager(Wager([1.0], [PATIENT], math.log(100)), gains)
    found = next(k for k, value in enumerate(values) if value >= math.log(100) - 1e-9)
    assert 366 <= found <= 376


def test_only_a_steady_beginning_is_believed_early() -> None:
    """Within the first minutes the window counts, unless the first block spoke against it."""
    early = Patience(block_s=10, parts=2, window=6, express_s=90)
    bad_at_once = run_wager(Wager([1.0], [early], math.log(100)), [[4.0]] * 5)
    bad_after_a_while = run_wager(Wager([1.0], [early], math.log(100)), [[-1.6], *[[4.0]] * 4])
    assert bad_at_once[-1] > math.log(100)
    assert bad_after_a_while[-1] < 0


def test_ville_holds_in_simulation() -> None:
    """Two thousand healthy runs, looked at after every tick: at most alpha of them ever cross (here 5 %)."""
    rng, crossed, alpha = random.Random(7), 0, 0.05
    for _ in range(2000):
        wager = Wager([0.5, 0.5], [Patience(10, 1e-9, 0, 0)] * 2, math.log(1 / alpha))
        gains = []
        for _ in range(60):
            events = sum(rng.random() < 0.5 for _ in range(6))
            theta = 0.1 * 1.25 / (0.1 * 1.25 + 0.9)
            c = sum(rng.random() < theta for _ in range(events))
            gains.append([shared_gain(c, events - c, 10, 90, 1.25, 1.25 * m) for m in (2.0, 6.0)])
        crossed += max(run_wager(wager, gains)) >= math.log(1 / alpha)
    assert crossed / 2000 <= alpha


def test_a_block_clock_closes_each_block_once_whatever_the_ticks() -> None:
    """Irregular looks: a block is closed by the first look at or after its end."""
    clock = BlockClock([10.0, 15.0])
    assert clock.advance(9.0) == set()
    assert clock.advance(10.0) == {10.0}
    assert clock.advance(47.0) == {10.0, 15.0}
    assert clock.advance(49.0) == set()
    assert clock.advance(50.0) == {10.0}


# ---------------------------------------------------------------------- clumping and baseline


def clump_factor(clump: int, seed: int, drift: float = 0.0) -> float:
    """phi after 2,000 intervals of Poisson causes with *clump* events each, over a drifting load."""
    rng = random.Random(seed)
    clumping = Clumping(1, 10.0)
    for k in range(2000):
        exposure = 1000 * (1 + drift * math.sin(k / 200))
        causes = sum(rng.random() < 0.004 * exposure / 1000 * 5 / clump for _ in range(250))
        clumping.learn([causes * clump], [exposure], 10.0)
    return clumping.factor(0)


def test_clumping_is_one_for_single_events_and_the_clump_size_for_clumps() -> None:
    """The variance of a compound Poisson count over its mean is the size of a clump."""
    assert clump_factor(1, 1) == pytest.approx(1.0, abs=0.1)
    assert clump_factor(5, 2) == pytest.approx(5.0, rel=0.15)


def test_clumping_is_blind_to_daily_load() -> None:
    """Successive differences: a load that swings by a half is no clumping."""
    assert clump_factor(1, 3, drift=0.5) == pytest.approx(1.0, abs=0.12)


def test_the_noise_of_single_events_is_not_taken_for_clumps_and_pairs_are() -> None:
    """Estimates up to 1.2 are chance; events that come two by two are seen as two."""
    rng = random.Random(3)
    single, pairs = Clumping(1, 10.0), Clumping(1, 10.0)
    for _ in range(300):
        count = sum(rng.random() < 0.02 for _ in range(500))
        single.learn([float(count)], [500.0], 10.0)
        pairs.learn([2.0 * count], [1000.0], 10.0)
    assert single.factor(0) == 1.0
    assert pairs.factor(0) == pytest.approx(2.0, abs=0.35)


def test_latency_that_stays_worse_for_ten_minutes_is_the_new_normal_and_errors_never_are() -> None:
    """Ten minutes of trouble: the rows that may be accepted begin again from the last minute, the others stay in it."""
    baseline = Baseline(2)
    baseline.learn([60.0, 60.0], [6000.0, 6000.0], 0.0, [True, True])
    for k in range(61):
        baseline.look([60.0, 60.0], [600.0, 600.0])
        trouble = [baseline.incident(row, 1.0) for row in (0, 1)]
        assert trouble == [True, True] if k < 60 else trouble == [False, True]
        baseline.learn([60.0, 60.0], [600.0, 600.0], 10.0, [not each for each in trouble])
        baseline.accept([0])
    assert baseline.rate(0) == pytest.approx(0.1, rel=0.15)
    assert baseline.rate(1) == pytest.approx(0.01, rel=0.15)


def test_one_block_may_do_everything_only_while_it_is_free() -> None:
    """A fuse whose first ten seconds are free wins with one block then, and needs two of them later."""

    def won(first: list[list[float]]) -> bool:
        fuse = Wager([1.0], [Patience(10, 1.4, 0, 0, late=False, free_s=10.0)], math.log(100))
        clock = BlockClock([10.0])
        for k, gain in enumerate(first, start=1):
            fuse.bet(gain)
            fuse.settle(clock.advance(10.0 * k), 10.0 * k)
        return fuse.value(10.0 * len(first), steady=False) >= math.log(100)

    assert won([[8.0]])
    assert not won([[0.0], [8.0]])
    assert won([[0.0], [8.0], [8.0]])


def test_clumping_has_a_prior_and_a_ceiling() -> None:
    """1 before anything was seen; never beyond the maximum."""
    clumping = Clumping(1, 10.0)
    assert clumping.factor(0) == 1.0
    for k in range(50):
        clumping.learn([1000.0 * (k % 2)], [1000.0], 10.0)
    assert 10 < clumping.factor(0) <= PHI_MAX


def test_the_baseline_is_the_rate_and_a_cautious_one_lies_above() -> None:
    """30 of 30,000: 0.1 %, cautiously half a standard error more."""
    baseline = Baseline(1)
    baseline.learn([30.0], [30_000.0], 0.0, [True])
    assert baseline.rate(0) == pytest.approx(0.001, rel=0.02)
    assert baseline.cautious_rate(0) == pytest.approx((30.5 + 0.5 * math.sqrt(30.5)) / 30_100)
    assert Baseline(1).cautious_rate(0) == pytest.approx((0.5 + 0.5 * math.sqrt(0.5)) / 100)
    baseline.learn([0.0], [1e9], 0.0, [True])
    assert baseline.cautious_rate(0) == RATE_MIN


def test_an_incident_is_twice_the_usual_and_more_than_chance() -> None:
    """Usual: ten errors a tick. Fifteen are none, thirty are one, and an incident teaches nothing."""
    baseline = Baseline(1)
    for _ in range(100):
        baseline.look([10.0], [1000.0])
        baseline.learn([10.0], [1000.0], 10.0, [True])
    assert not baseline.incident(0, 1.0)
    for _ in range(6):
        baseline.look([15.0], [1000.0])
    assert not baseline.incident(0, 1.0)
    for _ in range(6):
        baseline.look([30.0], [1000.0])
    assert baseline.incident(0, 1.0)
    before = baseline.rate(0)
    baseline.learn([500.0], [1000.0], 10.0, [False])
    assert baseline.rate(0) == before


# ---------------------------------------------------------------------- tails

BOUNDS = (0.05, 0.1, 0.2, 0.4, 0.8)


def test_slow_is_what_at_most_one_in_twenty_was() -> None:
    """The cut of the 95 % quantile leaves at most 5 % of history at or above it."""
    histogram = [400.0, 300.0, 200.0, 60.0, 30.0, 10.0]
    cut = quantile_cut(histogram, 0.95)
    assert tail(histogram, cut) / 1000 <= 0.05 < tail(histogram, cut - 1) / 1000
    assert quantile_cut(histogram, 0.9999) == 5


def test_a_limit_begins_at_the_next_edge() -> None:
    """Nothing between edges is known; on an edge the limit is exact."""
    assert limit_cut(BOUNDS, 0.2) == 3
    assert limit_cut(BOUNDS, 0.15) == 3
    assert limit_cut(BOUNDS, 9.0) == 5


@given(st.lists(st.integers(0, 1000), min_size=6, max_size=6).filter(lambda h: sum(h) > 0), st.floats(1.01, 3))
def test_a_slower_version_has_at_least_as_many_slow_requests(histogram: list[int], factor: float) -> None:
    """The ratio is never below one and grows with the factor."""
    ratios = [slower_tail_ratio(histogram, BOUNDS, 3, f) for f in (factor, factor * 1.5)]
    assert 1.0 <= ratios[0] <= ratios[1] + 1e-9


def test_the_slower_tail_is_right_for_a_power_law() -> None:
    """P(L > x) = (0.05 / x)^2 is a straight line log-log: 1.2 times slower means 1.44 times more slow requests."""
    above = [1.0] + [min((0.05 / edge) ** 2, 1.0) for edge in BOUNDS]
    histogram = [1e6 * (a - b) for a, b in itertools.pairwise([*above, 0.0])]
    assert slower_tail_ratio(histogram, BOUNDS, 3, 1.2) == pytest.approx(1.44, rel=0.01)


def test_the_quantile_is_linear_within_its_bucket() -> None:
    """Half of the second bucket."""
    assert quantile_estimate([50.0, 50.0, 0, 0, 0, 0], BOUNDS, 0.75) == pytest.approx(0.075)
    assert quantile_estimate([0, 0, 0, 0, 0, 10.0], BOUNDS, 0.5) == 0.8


# ---------------------------------------------------------------------- non-inferiority


def test_the_ladder_begins_at_the_margin() -> None:
    """Only rungs above the margin are of use."""
    assert ladder_of(0.003)[:3] == (0.003, 0.005, 0.01)
    assert ladder_of(0.03)[:2] == (0.03, 0.04)


def test_a_canary_worse_by_the_margin_is_found_good_in_at_most_one_of_twenty() -> None:
    """Calibration of the confidence: 95 is reached by at most 5 % of canaries that are worse by exactly the margin."""
    rng, refuted, runs = random.Random(11), 0, 400
    for _ in range(runs):
        refutation = Refutation(1)
        for k in range(1, 120):
            c = sum(rng.random() < 0.031 for _ in range(25))
            b = sum(rng.random() < 0.001 for _ in range(25))
            refutation.bet(*excess_gains(c, b, 25, 25, 0.001, (0.03,)))
            if k % 6 == 0:
                refutation.start_late()
            if refutation.value(0) >= math.log(20):
                refuted += 1
                break
    assert refuted / runs <= 0.05


def test_a_good_canary_refutes_the_margin_in_a_few_hundred_requests() -> None:
    """Three points, no failures: about 5 nats at 0.027 each."""
    refutation = Refutation(1)
    served = 0
    while refutation.value(0) < math.log(20):
        refutation.bet(*excess_gains(0, 0, 10, 10, 0.001, (0.03,)))
        served += 10
    assert 120 <= served <= 180


def test_the_factor_bet_is_won_by_an_equal_tail_and_lost_by_a_longer_one() -> None:
    """5 % slow as before against 8 % slow."""
    equal, longer = (
        sum(sum(form) for form in factor_gains(c, 500, 1000, 10_000, 0.05, 1.6)) for c in (50, 80)
    )  # fmt: skip
    assert equal > 5
    assert longer < -5


def test_one_stall_does_not_pass_for_clumping() -> None:
    """A minute of quiet, one interval in which everything is slow, quiet again: the factor stays small."""
    clumping = Clumping(1, 1.0)
    for k in range(60):
        clumping.learn([1000.0 if k == 30 else 5.0 + k % 2], [1000.0], 1.0)
    assert clumping.factor(0) < 10

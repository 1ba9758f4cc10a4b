"""
``stability``: the process survives its callers. Good and broken requests at the same time; health is sampled
throughout.

Judged is the process, not the answers: liveness must be 200 in every sample, and the process must be the same one
before and after, as far as ``process_start_time_seconds`` tells. What broken requests are answered is the gate ``bad-
input``.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Iterator

from golive.gates.builtin.health import LIVE, find_paths
from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import SmokeRequest, StabilityProbe, Target

SAMPLE_SECONDS = 0.1
_WORKERS_SEEN = 4  # scrapes: a server may have several processes behind one port
_START_TIME = re.compile(rb"^process_start_time_seconds(?:\{[^}]*\})? ([0-9.eE+]+)", re.MULTILINE)
_BROKEN = (
    SmokeRequest("/golive-no-such-path"),
    SmokeRequest("/", "POST", headers={"content-type": "application/json"}, body='{"broken": '),
    SmokeRequest("/", "BREW"),
    SmokeRequest("/", headers={"x-long": "x" * 9000}),
    SmokeRequest("/%00%ff?x=%0d%0a"),
)
_RAW = (b"\x00\x01\x02 nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nhost: x\r\ncontent-le", b"GET / HTTP/9.9\r\n\r\n")


async def check(target: Target) -> Outcome:
    """PASS when health stayed 200 and the process stayed the same."""
    client = Client(target)
    paths = await find_paths(client, target.health)
    if paths is None:
        return failed(f"no health endpoint to watch: none of {', '.join(LIVE)} answers 200")
    before = await start_times(client, target.metrics_path)
    stop = asyncio.Event()
    sampler = asyncio.create_task(sample_health(client, paths.live, stop))
    try:
        async with asyncio.timeout(target.stability.seconds_max):
            answered = await _storm(client, target)
    except TimeoutError:
        answered = Counter({"time-out": target.stability.requests})
    finally:
        stop.set()
    bad, samples = await sampler
    evidence = {"answered": dict(answered), "health_samples": samples, "health_not_200": bad}
    if bad:
        return failed(f"{paths.live} was not 200 in {len(bad)} of {samples} samples, first: {bad[0]}", **evidence)
    after = await start_times(client, target.metrics_path)
    if before and not before & after:
        return failed(f"the process was replaced: started at {_list(before)}, afterwards {_list(after)}", **evidence)
    same = "same process before and after" if before else "the process start time is not published"
    return passed(
        f"{sum(answered.values())} good and broken requests, health 200 in {samples} samples, {same}", **evidence
    )


async def sample_health(client: Client, path: str, stop: asyncio.Event) -> tuple[list[str], int]:
    """Ask *path* every 100 ms until *stop*, at least once more after it; what was not 200, and how many samples."""
    bad: list[str] = []
    for number in itertools.count(1):
        last = stop.is_set()
        try:
            answer = await client.get(path)
            if answer.status != 200:
                bad.append(f"status {answer.status}")
        except NoAnswerError as error:
            bad.append(error.why)
        if last:
            return bad, number
        try:
            await asyncio.wait_for(stop.wait(), SAMPLE_SECONDS)
        except TimeoutError:
            pass
    raise AssertionError("the count is endless")


async def start_times(client: Client, path: str) -> set[str]:
    """The ``process_start_time_seconds`` of the workers that answer; empty when it is not published."""
    found = set()
    for _ in range(_WORKERS_SEEN):
        try:
            match = _START_TIME.search((await client.get(path)).body)
        except NoAnswerError:
            match = None
        if match:
            found.add(match[1].decode())
    return found


def _list(values: set[str]) -> str:
    return ", ".join(sorted(values)) or "unknown"


async def _storm(client: Client, target: Target) -> Counter[str]:
    """Send good, broken and raw requests, a few at a time; how they ended, by status or reason."""
    work = _mix(target.smoke, target.stability)
    answered: Counter[str] = Counter()

    async def caller() -> None:
        for request in work:
            try:
                sent = client.send(request) if isinstance(request, SmokeRequest) else client.raw(request, 2.0)
                answered[str((await sent).status)] += 1
            except NoAnswerError as error:
                answered[error.why] += 1

    await asyncio.gather(*(caller() for _ in range(target.stability.concurrency)))
    return answered


def _mix(declared: tuple[SmokeRequest, ...], probe: StabilityProbe) -> Iterator[SmokeRequest | bytes]:
    """Every declared request, every broken one, in turn, so many in all."""
    good = declared or (SmokeRequest("/"),)
    return itertools.islice(itertools.cycle((*good, *_BROKEN, *_RAW)), probe.requests)


GATE = Gate(
    "stability",
    "The process survives concurrent good and broken requests; health stays 200.",
    Phase.DEPLOY,
    check,
    depends_on=("startup",),
    timeout=60.0,
    exclusive=True,
)

"""
``duplicates``: under load, a key has one effect: so many requests with a fifth as many keys. Source: seed 002 (2,000
requests, 400 keys, 75 at a time: one 201 per key, 204 for the rest; P95 <= 1 s, errors <= 1 %).
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import uuid

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.gates.thresholds import latency_limit, parse_threshold
from golive.load import LoadPlan, RequestSpec, run
from golive.promises.behaviour import DuplicatesProbe


async def check(target: Target) -> Outcome:
    """PASS when exactly one request per key had an effect, the counter agrees, and the thresholds hold."""
    probe = target.required(DuplicatesProbe, "duplicates")
    client = Client(target)
    thresholds = [parse_threshold(text) for text in probe.thresholds]
    before = await _counted(client, target, probe)
    stop = threading.Event()
    try:
        report = await asyncio.to_thread(run, _plan(target, client.url, probe, latency_limit(thresholds)), None, stop)
    finally:
        stop.set()
    if not report.valid:
        return unavailable(report.why, report=report.to_json())
    keys = _keys(probe)
    expected = {probe.first: keys, probe.again: probe.requests - keys}
    statuses = {status: count for status, count in sorted(report.statuses.items()) if count}
    problems = [sentence for holds, sentence in (each.judge(report) for each in thresholds) if not holds]
    if statuses != expected or report.requests != probe.requests:
        got = ", ".join(f"{count} x {status}" for status, count in statuses.items())
        wanted = ", ".join(f"{count} x {status}" for status, count in expected.items())
        problems.insert(0, f"expected {wanted}, got {got or 'no answer'}")
    after = await _counted(client, target, probe)
    if before is not None and after is not None and after - before != probe.requests - keys:
        problems.append(f"{probe.counter} grew by {after - before:g}, expected {probe.requests - keys}")
    if probe.counter and after is None:
        problems.append(f"{probe.counter} is not on {target.metrics_path}")
    evidence = {"statuses": statuses, "report": report.to_json()}
    if problems:
        return failed("; ".join(problems), **evidence)
    p95 = (report.latency.quantile(0.95) or 0.0) * 1000
    return passed(f"{probe.requests} requests, {keys} keys: one effect each, p95 {p95:.0f} ms", **evidence)


def _each(probe: DuplicatesProbe) -> int:
    """Requests per key. They follow each other, so that they meet inside the service: apart, a race is never run."""
    return max(probe.requests // max(probe.keys, 1), 1)


def _keys(probe: DuplicatesProbe) -> int:
    return -(-probe.requests // _each(probe))


def _plan(target: Target, url: str, probe: DuplicatesProbe, limit: float | None) -> LoadPlan:
    request, run_id = probe.request, uuid.uuid4().hex[:12]
    body = json.dumps(request.json) if request.json is not None else request.body
    key = f"{run_id}-{{n/{_each(probe)}}}"
    headers = {"content-type": "application/json", **target.headers, **request.headers, probe.header: key}
    text = body.decode() if isinstance(body, bytes) else body
    return LoadPlan(
        url,
        duration=60.0,
        concurrency=probe.concurrency,
        requests_max=probe.requests,
        requests=[RequestSpec(request.method, request.path, headers, text and text.replace("{key}", key))],
        expect=(str(probe.first), str(probe.again)),
        latency_limit=limit,
        remote_allowed=target.remote_allowed,
        tls_verify=target.tls_verify,
    )


async def _counted(client: Client, target: Target, probe: DuplicatesProbe) -> float | None:
    """The sum of the counter over its labels; 0 on a page that does not have it yet, None without a page."""
    if not probe.counter:
        return None
    answer = await client.get(target.metrics_path)
    if answer.status != 200:
        return None
    name = re.escape(probe.counter)
    samples = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)", answer.body.decode("utf-8", "replace"), re.MULTILINE)
    return sum(map(float, samples))


GATE = Gate(
    "duplicates",
    "Under load, a key has one effect, and the counter of duplicates agrees.",
    Phase.LOAD,
    check,
    depends_on=("startup", "health"),
    timeout=120.0,
    exclusive=True,
)

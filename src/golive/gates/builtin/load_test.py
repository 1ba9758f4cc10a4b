"""
``load``: the service holds its promises under load, measured by golive's own engine. Source: seed 002, 2,000
requests.
"""

from __future__ import annotations

import asyncio
import json
import threading

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import LoadProbe, Target
from golive.gates.thresholds import latency_limit, parse_threshold
from golive.load import LoadPlan, RequestSpec, run


async def check(target: Target) -> Outcome:
    """PASS when every threshold holds; UNAVAILABLE when the generator, not the service, was the limit."""
    client = Client(target)
    thresholds = [parse_threshold(text) for text in target.load.thresholds]
    plan = _plan(target, client.url, latency_limit(thresholds))
    stop = threading.Event()
    try:
        report = await asyncio.to_thread(run, plan, None, stop)
    finally:
        stop.set()
    if not report.valid:
        return unavailable(report.why, report=report.to_json())
    verdicts = [threshold.judge(report) for threshold in thresholds]
    wrong = [sentence for holds, sentence in verdicts if not holds]
    said = f"{report.requests} requests: " + "; ".join(wrong or [sentence for _, sentence in verdicts])
    return failed(said, report=report.to_json()) if wrong else passed(said, report=report.to_json())


def _plan(target: Target, url: str, limit: float | None) -> LoadPlan:
    probe: LoadProbe = target.load
    request, headers = probe.request, {**target.headers, **probe.request.headers}
    body = request.body
    if request.json is not None:
        body, headers = json.dumps(request.json), {"content-type": "application/json", **headers}
    return LoadPlan(
        url,
        rate=probe.rate,
        duration=probe.seconds_max,
        concurrency=probe.concurrency,
        requests_max=probe.requests,
        requests=[RequestSpec(request.method, request.path, headers, body)],
        expect=tuple(str(status) for status in request.expect),
        latency_limit=limit,
        remote_allowed=target.remote_allowed,
        tls_verify=target.tls_verify,
    )


GATE = Gate(
    "load",
    "Latency and errors stay within limits under load.",
    Phase.LOAD,
    check,
    depends_on=("startup", "health"),
    timeout=120.0,
    exclusive=True,
)

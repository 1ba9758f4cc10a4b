"""
``probes``: the platform's own probes, asked as the platform asks, keep a healthy service alive. Source: seed 000
(readiness 5 s / 5 s / 3, liveness 5 s / 10 s).

Each declared probe is sent as often as it may fail in a row, *timeout* each, without waiting out the period in between:
what fails under that fails under the real, slower rhythm too.
"""

from __future__ import annotations

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import Target
from golive.promises.state import CloudRunProbe


async def check(target: Target) -> Outcome:
    """PASS when no declared probe misses."""
    probe = target.required(CloudRunProbe, "cloud_run")
    declared = {name: each for name, each in (("liveness", probe.liveness), ("startup", probe.startup)) if each}
    if not declared:
        return unavailable("[gates.cloud_run] declares neither liveness nor startup")
    client, problems, asked = Client(target), [], 0
    for name, each in declared.items():
        for _ in range(each.failures):
            asked += 1
            try:
                status = (await client.get(each.path, timeout=each.timeout)).status
                seen = None if 200 <= status < 400 else f"status {status}"
            except NoAnswerError as error:
                seen = error.why
            if seen:
                after = each.failures * each.period
                problems.append(
                    f"{name} {each.path}: {seen}; after {after:g} s of it the platform gives up on the service"
                )
                break
    if problems:
        return failed("; ".join(problems), problems=problems)
    return passed(f"{asked} platform probes, none missed")


GATE = Gate("probes", "The platform's probes do not miss.", Phase.DEPLOY, check, depends_on=("startup",), watch=True)

"""``async-accept``: a job is accepted at once, with a way to follow it. Source: seed 000, gate B (202 within 2 s)."""

from __future__ import annotations

from golive.gates.expect import difference
from golive.gates.gate import Gate, Phase
from golive.gates.http import Answer, Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import JobsProbe, Target

NOTHING = "no job endpoint declared, nothing to submit"


async def check(target: Target) -> Outcome:
    """PASS when the declared job is answered 202 in time and the answer says where to ask for it."""
    probe = target.jobs
    if probe is None:
        return unavailable(NOTHING)
    answer = await Client(target).send(probe.submit)
    path = f"{probe.submit.method} {probe.submit.path}"
    problem = difference(answer, probe.submit)
    if problem is None and answer.status != 202:
        problem = f"expected status 202, got {answer.status}"
    if problem is None and status_path(answer, probe) is None:
        problem = f"expected a Location, or an id in {probe.id_field!r}, got neither"
    evidence = {"accepted_after_seconds": round(answer.seconds, 4), "status": answer.status}
    if problem is not None:
        return failed(f"{path}: {problem}", **evidence)
    if answer.seconds >= probe.accept_max:
        return failed(f"{path}: accepted after {answer.seconds:.2f} s (limit {probe.accept_max:g} s)", **evidence)
    return passed(f"{path}: 202 after {answer.seconds * 1000:.0f} ms (limit {probe.accept_max:g} s)", **evidence)


def status_path(answer: Answer, probe: JobsProbe) -> str | None:
    """Where the job of a 202 is asked for; None when the answer does not say."""
    if probe.status_path is None:
        location = answer.header("location")
        return location if location is not None and location.startswith("/") else None
    document = answer.json()
    job_id = document.get(probe.id_field) if isinstance(document, dict) else None
    return probe.status_path.replace("{id}", job_id) if isinstance(job_id, str) and _plain(job_id) else None


def _plain(job_id: str) -> bool:
    return 0 < len(job_id) <= 200 and all(character.isalnum() or character in "-_.~" for character in job_id)


GATE = Gate(
    "async-accept",
    "A job is accepted with 202 at once, and says where to follow it.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
)

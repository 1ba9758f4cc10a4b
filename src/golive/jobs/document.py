"""The job as every interface shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from golive.jobs.model import Failure, Job
from golive.jobs.offloading import Reference
from golive.timing import format_instant


def document(job: Job, reference: Reference | None = None, result_url: str = "") -> bytes:
    """
    *job* as JSON on one line. What only operators may see (exceptions, workers, payloads) is left out. Of a result that
    is kept elsewhere (*reference*) it has the size, and where to ask for it if that is known.
    """
    fields: dict[str, Any] = {
        "id": job.id,
        "status": job.state,
        "kind": job.kind,
        "created_at": _instant(job.created_at),
        "started_at": _instant(job.started_at),
        "finished_at": _instant(job.finished_at),
        "attempts": job.attempts,
        "attempts_max": job.attempts_max,
    }
    if job.cost is not None:
        fields["cost_dollars"] = round(job.cost, 6)
    if job.progress is not None:
        fields["progress"] = job.progress
    if reference is not None:
        fields |= {"result_bytes": reference.bytes} | ({"result_url": result_url} if result_url else {})
    elif job.result is not None:
        fields["result"] = msgspec.Raw(job.result)
    if job.failure is not None and job.result is None:
        fields["error"] = _shown(job.failure)
    return msgspec.json.encode(fields)


def _shown(failure: Failure) -> dict[str, Any]:
    return {"code": failure.code, "message": failure.message, "status": failure.status}


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else format_instant(datetime.fromtimestamp(seconds, UTC))

"""What a submission may say beside its payload. Refused here, it is the same in every store, and nothing is stored."""

from __future__ import annotations

from datetime import datetime

from golive.errors import UsageError

#: Characters of a tenant's name, and of an idempotency key.
NAME_MAX = 255
#: A priority is a 32-bit integer in every store.
PRIORITY_MAX = 2**31 - 1


def check_identity(tenant: str, idempotency_key: str | None, priority: int, run_at: datetime | None) -> None:
    """
    Raises: UsageError naming what no job can have.
    """
    for what, text in (("tenant", tenant), ("idempotency_key", idempotency_key)):
        if text is not None and not _is_name(text):
            raise UsageError(
                f"submit: {what}: expected at most {NAME_MAX} characters and no control ones, got {text!r:.80}."
            )
    if idempotency_key == "":
        raise UsageError("submit: idempotency_key: expected a key or None, got an empty one.")
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > PRIORITY_MAX:
        raise UsageError(f"submit: priority: expected a whole number within 32 bits, got {priority!r}.")
    if run_at is not None and (not isinstance(run_at, datetime) or run_at.tzinfo is None or run_at.year > 9000):
        raise UsageError(f"submit: run_at: expected an aware datetime, got {run_at!r}.")


def _is_name(text: object) -> bool:
    if not isinstance(text, str) or len(text) > NAME_MAX:
        return False
    return text.isprintable() or not any(ord(each) < 32 or 0xD800 <= ord(each) <= 0xDFFF for each in text)

"""
Idempotency keys: the words, the rules and the arithmetic; running a request under them is :mod:`golive.chassis.once`.

    new --begin--> running(owner, lease) --finish--> done(response) --ttl--> new
                      |  lease ends: the next begin takes over with a new owner; the old one's finish is refused
                      (fencing) +--release (the answer is not one to keep)--> new

Source: draft-ietf-httpapi-idempotency-key-header-07. The key is a quoted string there; a bare token is taken too,
because that is what Stripe's clients send, and ``"k"`` is ``k``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import msgspec

from golive.chassis.types import Scope

HEADER = b"idempotency-key"
KEY_LENGTH_MAX = 255
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_PLAIN = re.compile(rb"[A-Za-z0-9._~:/+=-]{1,255}")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")

#: Answers that are not results: the next try may well succeed.
NOT_KEPT = frozenset({401, 403, 408, 413, 421, 422, 425, 429})


@dataclass(frozen=True, slots=True)
class IdempotencyRules:
    """
    How one route treats repeated requests.

    Attributes:
        on_duplicate: ``replay`` answers with the first answer, ``204`` with nothing (ingest).
        in_flight: while the first one runs, ``reject`` answers 409 and ``wait`` waits for it.
        required: a request without a key is 400.
        scope: whose keys these are (a tenant); keys of different scopes are independent.
        ttl_seconds: how long a result is remembered.
        lease_seconds: how long a process that died blocks its key; renewed while the handler runs.
        wait_seconds: how long ``wait`` waits before it answers 409.
        save_5xx: keep server errors too, as Stripe does.
        response_max_bytes: a longer answer is sent and not kept.
        on_store_error: ``closed`` answers 503, ``open`` runs the handler without protection.
        derive: a request without a key is known by its body: the same JSON, whatever its spacing and order of members,
            is the same request.
        source: the label in ``ingest_dedup_total``; the route's template when empty.
    """

    on_duplicate: str = "replay"
    in_flight: str = "reject"
    required: bool = False
    scope: Callable[[Scope], str | None] | None = None
    ttl_seconds: float = 86_400.0
    lease_seconds: float = 30.0
    wait_seconds: float = 5.0
    save_5xx: bool = False
    response_max_bytes: int = 1_048_576
    on_store_error: str = "closed"
    derive: bool = False
    source: str = ""

    def keeps(self, status: int) -> bool:
        """Whether an answer with *status* is the result of the key."""
        return status not in NOT_KEPT and (status < 500 or self.save_5xx)


class Saved(msgspec.Struct, array_like=True):
    """An answer that can be given again."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Record(msgspec.Struct, frozen=True, gc=False):
    """
    What a store knows about a key.

    Attributes:
        fingerprint: of the request that began it.
        owner: the token of whoever runs it, or ran it.
        mine: this call began it.
        done: it has ended with an answer to keep.
        saved: the encoded answer; None when it was too long to keep, or its process died before it could be kept.
        left_seconds: how much longer the store holds the key.
    """

    fingerprint: bytes
    owner: str
    mine: bool
    done: bool
    saved: bytes | None
    left_seconds: float


class IdempotencyStore(Protocol):
    """
    Where keys live. Each call is atomic, and time is the store's own clock, because those of processes differ.

    Any exception means that the store is away. :class:`golive.testing.idempotency.IdempotencyStoreContract` is the
    specification.

    Attributes:
        bounded: calls end by themselves, because they wait for nobody or keep a budget of their own.
    """

    bounded: bool

    async def begin(self, key: str, fingerprint: bytes, owner: str, lease_seconds: float) -> Record:
        """Take *key* if it is new, expired, or its lease has ended; otherwise say what holds it."""
        ...

    async def renew(self, key: str, owner: str, lease_seconds: float) -> bool:
        """Extend the lease; False when *owner* no longer holds it."""
        ...

    async def finish(self, key: str, owner: str, saved: bytes | None, ttl_seconds: float) -> bool:
        """Store the answer for *ttl_seconds*; False when *owner* no longer holds the key (fenced)."""
        ...

    async def release(self, key: str, owner: str) -> None:
        """Forget a key that *owner* holds: its answer is not one to keep."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent; the next call opens them again."""
        ...


def parse_key(values: list[bytes]) -> str:
    """
    The key in the header lines *values*.

    Raises: ValueError saying what is wrong: several lines, empty, too long, control characters, an open quote.
    """
    if len(values) != 1:
        raise ValueError("Send one Idempotency-Key header.")
    if _PLAIN.fullmatch(values[0]):
        return values[0].decode("ascii")
    text = values[0].decode("latin-1").strip()
    quoted = _QUOTED.fullmatch(text)
    if text.startswith('"') and quoted is None:
        raise ValueError("The quotes of the Idempotency-Key do not close.")
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if not key or len(key) > KEY_LENGTH_MAX or not _PRINTABLE.fullmatch(key):
        raise ValueError(f"An Idempotency-Key has 1 to {KEY_LENGTH_MAX} printable ASCII characters.")
    return key


def store_key(template: str, method: str, scope: str, key: str) -> str:
    """
    What a store calls the key: route, method and tenant are part of it, so that equal keys elsewhere are independent.
    """
    return _digest(template.encode(), method.encode(), scope.encode("utf-8", "surrogatepass"), key.encode()).hex()


def near_key(template: str, method: str, scope: str, key: str) -> str:
    """:func:`store_key` for a store in this process, where it need not be short: no hash. Lengths keep names apart."""
    return f"{method} {len(template)} {len(scope)} {template}{scope}{key}"


def fingerprint(path: str, query: bytes, content_type: bytes, body: bytes) -> bytes:
    """What makes two requests the same request."""
    return _digest(path.encode("utf-8", "surrogatepass"), query, content_type, body)


def canonical(body: bytes) -> bytes:
    """JSON with its members in order and no spaces; anything else as it is."""
    try:
        return msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return body


def _digest(first: bytes, second: bytes, third: bytes, fourth: bytes) -> bytes:
    """Lengths are part of it: ("a", "bc") and ("ab", "c") differ."""
    parts = (len(first), len(second), len(third), len(fourth), first, second, third, fourth)
    return blake2b(b"%d,%d,%d,%d:%b%b%b%b" % parts, digest_size=16).digest()

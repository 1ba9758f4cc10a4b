"""
``redaction``: personal data and secrets that callers send do not appear in the logs. Behaviour, not configuration: real
looking values are planted, and the log files are searched for them afterwards.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from pathlib import Path

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import SmokeRequest, Target

_LOG_BYTES_MAX = 64 * 1024 * 1024


async def check(target: Target) -> Outcome:
    """PASS when none of the planted values is in what was logged since."""
    probe = target.redaction
    if probe is None or not probe.logs:
        return unavailable("no request with personal data or no log files declared")
    client, planted = Client(target), planted_values()
    begins = {path: path.stat().st_size for path in probe.logs}
    answers = [await client.send(carrier) for carrier in _carriers(probe.request, planted)]
    await asyncio.sleep(probe.settle)
    logged = {path: await asyncio.to_thread(_since, path, begin) for path, begin in begins.items()}
    if not any(logged.values()):
        return unavailable("nothing was logged meanwhile: these are not the logs of this service, or it logs nothing")
    leaks = [
        f"{kind} in {path.name}" for path, text in logged.items() for kind, value in planted.items() if value in text
    ]
    evidence = {"planted": sorted(planted), "answers": [answer.status for answer in answers]}
    if leaks:
        return failed(f"planted values appear in the logs: {', '.join(sorted(set(leaks)))}", leaks=leaks, **evidence)
    size = sum(len(text) for text in logged.values())
    return passed(f"{len(planted)} kinds of planted values, none in {size:,} bytes of logs", **evidence)


def planted_values() -> dict[str, str]:
    """One value of each kind, random, so that a hit is ours: an address, a phone, a card (Luhn-valid), secrets."""
    tail = secrets.token_hex(6)
    digits = "4" + "".join(str(secrets.randbelow(10)) for _ in range(14))
    return {
        "email": f"jane.{tail}@example.com",
        "phone": f"+49151{secrets.randbelow(10**8):08d}",
        "card number": digits + _luhn(digits),
        "password": f"pw-{tail}-Tr0ub4dor",
        "api key": f"sk_live_{secrets.token_hex(16)}",
        "bearer token": f"eyJhbGciOiJIUzI1NiJ9.{secrets.token_hex(12)}.{secrets.token_hex(16)}",
    }


def _carriers(request: SmokeRequest, planted: dict[str, str]) -> list[SmokeRequest]:
    """The same values in body, query and headers: each is logged by different code."""
    document = json.dumps({kind.replace(" ", "_"): value for kind, value in planted.items()})
    in_body = replace(
        request, json=None, body=document, headers={**request.headers, "content-type": "application/json"}
    )
    email = planted["email"].replace("@", "%40")
    in_query = replace(request, path=f"{request.path}?email={email}&token={planted['api key']}")
    bearer = f"Bearer {planted['bearer token']}"
    return [in_body, in_query, replace(request, headers={**request.headers, "authorization": bearer})]


def _since(path: Path, begin: int) -> str:
    with path.open("rb") as file:
        file.seek(begin if path.stat().st_size >= begin else 0)  # smaller than before: rotated
        return file.read(_LOG_BYTES_MAX).decode("utf-8", "replace")


def _luhn(digits: str) -> str:
    """The check digit that makes *digits* a well-formed card number."""
    doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits))]
    return str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


GATE = Gate(
    "redaction",
    "Planted personal data and secrets do not appear in the logs.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
)

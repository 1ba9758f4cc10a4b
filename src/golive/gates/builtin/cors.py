"""``cors``: the declared origins may call, and nothing that only looks like them."""

from __future__ import annotations

from urllib.parse import urlsplit

from golive.gates.gate import Gate, Phase
from golive.gates.http import Answer, Client
from golive.gates.outcome import Outcome, failed, passed, unavailable
from golive.gates.target import CorsProbe, Target


async def check(target: Target) -> Outcome:
    """PASS when preflights from declared origins are allowed by name, and every impostor is not."""
    probe = target.cors
    if probe is None or not probe.origins:
        return unavailable("no allowed origins declared, nothing to compare with")
    client = Client(target)
    problems, asked = [], 0
    for origin in probe.origins:
        problem = _allowed(await _preflight(client, probe, origin), origin)
        problems += [problem] if problem else []
        for impostor in impostors(origin):
            asked += 1
            allowed = (await _preflight(client, probe, impostor)).header("access-control-allow-origin")
            if allowed in (impostor, "*", "null"):
                problems.append(f"{impostor} is allowed (Access-Control-Allow-Origin: {allowed})")
    if problems:
        return failed("; ".join(problems), problems=problems)
    return passed(f"{len(probe.origins)} origins allowed by name, {asked} impostors refused")


def impostors(origin: str) -> list[str]:
    """Origins that a careless comparison takes for *origin*."""
    parts = urlsplit(origin)
    host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    other_scheme = "http" if parts.scheme == "https" else "https"
    return [
        "https://evil.test",
        "null",
        f"{parts.scheme}://{host}.evil.test{port}",
        f"{parts.scheme}://evil{host}{port}",
        f"{other_scheme}://{host}{port}",
        f"{parts.scheme}://{host}:{(parts.port or 0) + 1}",
    ]


async def _preflight(client: Client, probe: CorsProbe, origin: str) -> Answer:
    headers = {"origin": origin, "access-control-request-method": probe.method}
    return await client.request("OPTIONS", probe.path, headers)


def _allowed(answer: Answer, origin: str) -> str | None:
    allowed = answer.header("access-control-allow-origin")
    if allowed == "*" and answer.header("access-control-allow-credentials") == "true":
        return "any origin is allowed with credentials"
    if allowed not in (origin, "*"):
        return f"{origin} is not allowed (Access-Control-Allow-Origin: {allowed or 'none'}, status {answer.status})"
    if allowed == origin and "origin" not in ", ".join(answer.every("vary")).lower():
        return f"the answer to {origin} has no Vary: Origin, so a cache may hand it to others"
    return None


GATE = Gate(
    "cors", "Declared origins may call, impostors may not.", Phase.SMOKE, check, depends_on=("startup",), watch=True
)

"""
``pages``: pages load, with everything they need, and call nobody but the API they should. Source: seed 001.

Reads what is served, as bytes: rendered HTML, its scripts and styles. What a script does once it runs is for a person
or a browser; see attestations.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from golive.gates.builtin.no_localhost import look
from golive.gates.gate import Gate, Phase
from golive.gates.http import Answer, Client
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import Target
from golive.promises.behaviour import PagesProbe

_PARTS = re.compile(r"""<(?:script|link|img)\b[^>]*?\b(?:src|href)\s*=\s*["']([^"'#]+)""", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d+)?")
#: names that stand in markup and libraries without anybody calling them
_NAMES_ONLY = ("http://www.w3.org", "https://www.w3.org", "https://schema.org", "http://schema.org", "https://reactjs.org",
               "https://react.dev", "https://github.com", "https://vuejs.org", "https://json-schema.org")  # fmt: skip
PARTS_MAX = 200


async def check(target: Target) -> Outcome:
    """PASS when each page and each of its own parts is 200 and none names another API or a developer's machine."""
    probe = target.required(PagesProbe, "pages")
    client = Client(target)
    problems: list[str] = []
    parts: dict[str, None] = {}
    for path in probe.paths:
        answer = await client.get(path)
        if answer.status != 200 or "html" not in (answer.header("content-type") or ""):
            problems.append(f"GET {path}: expected a page, got {answer.status} {answer.header('content-type') or ''}")
            continue
        problems += _foreign(path, answer, probe, client)
        for part in _PARTS.findall(answer.body.decode("utf-8", "replace")):
            try:
                address = urlsplit(urljoin(f"{client.url}{path}", part))
            except ValueError:
                problems.append(f"{path} names {part[:80]!r}, which is no address")
                continue
            if address.netloc == client.authority:
                parts[address.path + (f"?{address.query}" if address.query else "")] = None
    for part in list(parts)[:PARTS_MAX]:
        answer = await client.get(part)
        if answer.status != 200:
            problems.append(f"GET {part}, part of a page: expected 200, got {answer.status}")
        elif re.search("javascript|css|json", answer.header("content-type") or ""):
            problems += _foreign(part, answer, probe, client)
    if problems:
        return failed("; ".join(problems[:5]), problems=problems[:100])
    return passed(f"{len(probe.paths)} pages and {len(parts)} scripts, styles and images load")


def _foreign(path: str, answer: Answer, probe: PagesProbe, client: Client) -> list[str]:
    """Addresses of a developer's machine, and of APIs that are not the one."""
    text = answer.body.decode("utf-8", "replace")
    local = [found.text for found in look("page.html", text) if not found.text.startswith(client.url)]
    problems = [f"{path} names {address}" for address in dict.fromkeys(local)]
    if probe.api:
        known = (probe.api, client.url, *_NAMES_ONLY)
        others = {found for found in _ADDRESS.findall(text) if not found.startswith(known) and found not in local}
        problems += [f"{path} names {address}, the API is {probe.api}" for address in sorted(others)]
    return problems


GATE = Gate(
    "pages",
    "Pages load with all their parts and name no other machine.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    timeout=90.0,
    watch=True,
)

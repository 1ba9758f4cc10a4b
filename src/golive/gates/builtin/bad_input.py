"""
``bad-input``: what no caller should send is refused, never a server error, and never without an answer.

Sent to the declared requests' paths as well as to the start page. Whether the process survives is the gate
``stability``.
"""

from __future__ import annotations

from dataclasses import replace

from golive.gates.gate import Gate, Phase
from golive.gates.http import Client, NoAnswerError
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.target import SmokeRequest, Target

_JSON = {"content-type": "application/json"}
#: name -> body, sent as JSON
_BODIES: dict[str, bytes] = {
    "truncated JSON": b'{"a": ',
    "NaN": b'{"a": NaN}',
    "deep nesting": b"[" * 20_000,
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "a 5,000-digit number": b'{"a": ' + b"9" * 5000 + b"}",
    "an array for an object": b"[1, 2, 3]",
    "a string for an object": b'"text"',
    "an empty body": b"",
}
_RAW: dict[str, bytes] = {
    "a negative Content-Length": b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: -5\r\n\r\n",
    "two Content-Lengths": b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "no HTTP at all": b"nonsense\r\n\r\n",
    "a header of 100 KB": b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-a: " + b"a" * 100_000 + b"\r\n\r\n",
    "5,000 headers": b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + b"x-a: 1\r\n" * 5000 + b"\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-a: 1\r\n 2\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-a: \x00\r\n\r\n",
}

# Two lengths that disagree: whoever believes the other one than the proxy in front answers a request nobody saw.
_HIDDEN = b"0\r\n\r\nGET /golive-hidden HTTP/1.1\r\nhost: x\r\n\r\n"
_SMUGGLING = (
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\ntransfer-encoding: chunked\r\n\r\n" % len(_HIDDEN)
) + _HIDDEN
_SMUGGLING_SECONDS = 1.0


async def check(target: Target) -> Outcome:
    """PASS when nothing in the corpus is answered with a server error, or not at all."""
    client = Client(target)
    posts = [request for request in target.smoke if request.method in ("POST", "PUT", "PATCH")] or [
        SmokeRequest("/", "POST")
    ]
    seen: dict[str, str] = {}
    for request in {post.path: post for post in posts}.values():
        for name, body in _BODIES.items():
            broken = replace(request, json=None, body=body, headers={**request.headers, **_JSON}, within=5.0)
            seen[f"{name} to {request.method} {request.path}"] = await _ending(client, broken)
    for name, data in _RAW.items():
        seen[name] = await _ending(client, data)
    seen["a byte that is no character in the path"] = await _ending(client, SmokeRequest("/%00%ff%c0", within=5.0))
    seen["a request hidden in another"] = await _smuggled(client)
    wrong = {name: ending for name, ending in seen.items() if ending.startswith(("5", "no answer", "twice"))}
    if wrong:
        listed = "; ".join(f"{name} is answered {ending}" for name, ending in wrong.items())
        return failed(f"{len(wrong)} of {len(seen)} broken requests: {listed}", endings=seen)
    return passed(f"{len(seen)} broken requests, none is a server error", endings=seen)


async def _ending(client: Client, request: SmokeRequest | bytes) -> str:
    """The status, or why there is none. A closed connection is a fair answer, and so is "not implemented"."""
    try:
        answer = await (client.send(request) if isinstance(request, SmokeRequest) else client.raw(request, 5.0))
    except NoAnswerError as error:
        return error.why
    return "not implemented" if answer.status == 501 else str(answer.status)


async def _smuggled(client: Client) -> str:
    try:
        count = (await client.everything(_SMUGGLING, _SMUGGLING_SECONDS)).count(b"HTTP/1.1 ")
    except NoAnswerError as error:
        return error.why
    return "twice, so it can be smuggled past a proxy" if count > 1 else f"{count} times"


GATE = Gate(
    "bad-input",
    "Broken requests are refused, never a server error.",
    Phase.SMOKE,
    check,
    depends_on=("startup",),
    timeout=120.0,
)

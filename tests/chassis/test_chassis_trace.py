"""Trace context (case T5)."""

from __future__ import annotations

import pytest

from golive import Chassis
from golive.chassis.trace import read_traceparent, traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


async def see(scope, receive, send):
    """Answers with what the app would continue."""
    given = [name + b"=" + value for name, value in scope["headers"] if name in (b"traceparent", b"tracestate")]
    body = b"|".join([traceparent().encode(), *given])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("value", [GOOD, f"01-{TRACE}-{SPAN}-01-more", f"cc-{TRACE}-{SPAN}-00"])
async def test_t5_a_well_formed_trace_is_kept(call, value):
    """Same trace, new span for the call we make; its id is the request id when the caller sent none."""
    headers = [(b"traceparent", value.encode()), (b"tracestate", b"a=b")]
    answer = await call(Chassis().wrap(see), headers=headers)
    outgoing, *given = answer.body.decode().split("|")
    assert outgoing.split("-")[1] == TRACE
    assert outgoing.split("-")[2] != SPAN
    assert given == [f"traceparent={value}", "tracestate=a=b"]
    assert answer.headers["x-request-id"] == TRACE


@pytest.mark.parametrize(
    "values",
    [
        [GOOD.upper()],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"ff-{TRACE}-{SPAN}-01"],
        [GOOD[:54]],
        [GOOD + "-more"],
        [GOOD, GOOD],
        [""],
    ],
)
async def test_t5_a_malformed_trace_starts_a_new_one_and_its_state_is_dropped(call, values):
    """Nobody inside continues what cannot be trusted."""
    headers = [(b"traceparent", value.encode()) for value in values] + [(b"tracestate", b"a=b")]
    answer = await call(Chassis().wrap(see), headers=headers)
    outgoing, *given = answer.body.decode().split("|")
    assert TRACE not in answer.body.decode().lower()
    assert len(given) == 1
    assert given[0].startswith("traceparent=00-" + outgoing.split("-")[1])


async def test_the_request_id_wins_over_the_trace_and_nothing_remains_after_the_request(call):
    """Two identities, each where it belongs."""
    headers = [(b"x-request-id", b"mine"), (b"traceparent", GOOD.encode())]
    assert (await call(Chassis().wrap(see), headers=headers)).headers["x-request-id"] == "mine"
    assert traceparent() == ""
    assert read_traceparent([]) is None

"""The short form of `make fuzz-http`: the seeds, and a thousand broken copies of them from a fixed seed."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("fuzz_http", Path(__file__).with_name("fuzz_http.py"))
fuzz_http = importlib.util.module_from_spec(_spec)
sys.modules["fuzz_http"] = fuzz_http
_spec.loader.exec_module(fuzz_http)

PIECES = [
    b"\x00",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"\xff",
    b"%0a",
    b"\x1b",
    b"content-length: 3\r\n",
    b"NaN",
    b"transfer-encoding: chunked\r\n",
    b"9" * 30,
    b"-1",
    b'"',
    b",",
    b";",
    b"a" * 300,
    b"\t",
    b"{",
    b"[",
    b"HTTP/1.1",
    b"\xc3\x28",
    b"x-request-id: a\r\n",
    b"eyJ.eyJ.x",
]


@pytest.fixture(scope="module")
def service():
    return fuzz_http.Service()


@pytest.mark.parametrize("number", range(len(fuzz_http.SEEDS)))
def test_the_seeds_themselves_are_answered(service, number):
    """Each begins the search from a request that works."""
    fuzz_http.check(service, fuzz_http.SEEDS[number])
    assert service.feed(fuzz_http.SEEDS[number]).startswith(b"HTTP/1.1 ")


def broken(seed: random.Random, data: bytes) -> bytes:
    """*data* with one to six pieces put in, taken out, doubled or changed."""
    for _ in range(seed.randint(1, 6)):
        at, end = sorted(seed.choices(range(len(data) + 1), k=2))
        data = seed.choice(
            [
                data[:at] + seed.choice(PIECES) + data[at:],
                data[:at] + data[min(end, at + 20) :],
                data[:at] + data[at:end] + data[at:end] + data[end:],
                data[:at] + bytes([seed.randrange(256)]) + data[at + 1 :],
            ]
        )
    return data[:20_000]


def test_a_thousand_broken_requests_hold_what_must_hold(service):
    """No 5xx, well-formed ids, no smuggled line breaks, log lines that are JSON, nothing left in flight."""
    seed = random.Random(20261125)
    for _ in range(1000):
        fuzz_http.check(service, broken(seed, seed.choice(fuzz_http.SEEDS)))

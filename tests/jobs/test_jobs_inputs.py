"""The corpus of bad input: payloads, ids, keys, tenants and names end in a clear 4xx, and nothing is stored in part."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
import pytest

from golive.errors import GoliveError
from golive.jobs import Jobs
from golive.testing.jobs_running import finished, working

JSON = {"content-type": "application/json"}

BODIES = {
    "depth bomb": b"[" * 100_000,
    "closed depth bomb": b"[" * 5000 + b"]" * 5000,
    "NaN": b"NaN",
    "in an object": b'{"a": NaN}',
    "infinity": b"-Infinity",
    "half": b'{"a": ',
    "two values": b"1 2",
    "trailing comma": b"[1,]",
    "BOM": b"\xef\xbb\xbf1",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "bare NUL": b"\x00",
    "raw NUL in text": b'"a\x00b"',
    "not UTF-8": b'"\xff\xfe"',
    "cut sequence": b'"\xe2\x82"',
    "encoded surrogate": b'"\xed\xa0\x80"',
    "single quotes": b"{'a': 1}",
    "blank": b"   ",
    "a form": b"a=1&b=2",
    "a script": b"<script>alert(1)</script>",
    "comment": b"/* */ 1",
    "hex": b"0x10",
    "plus": b"+1",
    "bad escape": rb'"\x41"',
    "half a surrogate escape": rb'"\ud80"',
}
KEYS = ["", " ", "k" * 256, "caf\u00e9", "a b\x01", "\x7f", '"open', "tab\there", "\u202e"]
IDS = [
    "0",
    "..",
    "%00",
    "%2e%2e%2f",
    "' OR 1=1 --",
    "00000000-0000-0000-0000-00000000000g",
    "0" * 10_000,
    "{0}",
    "%25s",
    "${jndi:ldap://x}",
    "\u0661",
    "01234567-89AB-CDEF-0123-456789ABCDEF",
]
NAMES = [
    "",
    " ",
    "a" * 65,
    "a/b",
    "a b",
    "a\n",
    "a\x00",
    "caf\u00e9",
    "'; drop table block_jobs; --",
    "../x",
    "a%s",
    "\ud800",
]
#: Odd, and right: they must come through unchanged.
GOOD = [
    "'; drop table block_jobs; --",
    "%s {0} ${jndi:ldap://x}",
    "\u202e\u0000\u001b[31m",
    "\U0001f4a9" * 50,
    "e\u0301",
    "\\u0000",
]


@pytest.fixture
def taking(jobs: Jobs) -> Jobs:
    """It takes anything that is JSON and gives it back."""

    @jobs.handler("any")
    async def any_(value: Any) -> Any:
        return value

    return jobs


def client(jobs: Jobs) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=jobs.asgi("any", prefix="/any"))
    return httpx.AsyncClient(transport=transport, base_url="http://t")


async def stored(jobs: Jobs) -> int:
    return len(await jobs.store.page(100, state=None, kind=None, before=None))


async def test_what_is_no_json_is_refused_and_not_stored(taking: Jobs) -> None:
    """400 with a code, whatever is wrong with it; a handler never sees it."""
    async with taking, client(taking) as http:
        for name, body in BODIES.items():
            for path in ("/any/async", "/any"):
                answer = await http.post(path, content=body, headers=JSON)
                assert answer.status_code == 400, (name, path, answer.text)
                assert answer.headers["content-type"] == "application/problem+json", name
                assert answer.json()["code"] in ("payload_invalid", "payload_missing"), name
        assert await stored(taking) == 0


async def test_bad_keys_are_refused_and_not_stored(taking: Jobs) -> None:
    """400; the same key sent twice is not taken for one."""
    async with taking, client(taking) as http:
        for key in KEYS:
            raw = [(b"content-type", b"application/json"), (b"idempotency-key", key.encode("utf-8"))]
            answer = await http.post("/any/async", content=b"1", headers=raw)
            assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid"), repr(key)
        twice = [(b"content-type", b"application/json"), (b"idempotency-key", b"a"), (b"idempotency-key", b"b")]
        assert (await http.post("/any/async", content=b"1", headers=twice)).status_code == 400
        assert await stored(taking) == 0


async def test_what_is_no_id_is_a_job_nobody_knows(taking: Jobs) -> None:
    """404 on every route; never an error of the store."""
    async with taking, client(taking) as http:
        for job in IDS:
            for method in ("GET", "DELETE"):
                answer = await http.request(method, httpx.URL(f"http://t/any/jobs/{job}"))
                assert answer.status_code in (404, 405), (job[:50], method, answer.text)
            assert await taking.get(job) is None
            assert await taking.cancel(job) is None


async def test_odd_text_comes_through_unchanged(taking: Jobs) -> None:
    """Through payload, key, store and result; it is data and nothing else."""
    async with working(taking), client(taking) as http:
        for text in GOOD:
            answer = await http.post("/any/async", json={"text": text, text.replace("\x00", "0"): 1})
            assert answer.status_code == 202, answer.text
            job = await taking.get(answer.json()["job_id"])
            assert job
            done = await finished(taking, job)
            shown = (await http.get(f"/any/jobs/{done.id}")).json()
            assert shown["result"]["text"] == text


def test_names_that_would_break_a_url_or_a_label_are_refused(jobs: Jobs) -> None:
    """Handlers and queues; the error shows the name, quoted."""
    for name in NAMES:
        for given in ({"name": name}, {"name": "fine", "queue": name}):
            with pytest.raises(GoliveError, match="expected a name of letters"):
                jobs.handler(**given)  # type: ignore[arg-type]


async def test_bad_arguments_of_a_submission_are_refused_and_not_stored(taking: Jobs) -> None:
    """Tenants, keys, priorities and times a store could not keep, or not tell apart."""
    bad: list[dict[str, Any]] = [
        {"tenant": "a\x00b"}, {"tenant": "\ud800"}, {"tenant": "t" * 300}, {"idempotency_key": ""},
        {"idempotency_key": "a\x00"}, {"idempotency_key": "\udfff"}, {"idempotency_key": "k" * 300},
        {"priority": 2**31}, {"priority": -(2**31) - 1}, {"priority": 1.5}, {"priority": True},
        {"run_at": datetime(2026, 1, 1)}, {"run_at": "tomorrow"},
    ]  # fmt: skip
    async with taking:
        for arguments in bad:
            with pytest.raises(GoliveError, match=r"^submit: (tenant|idempotency_key|priority|run_at): expected "):
                await taking.submit("any", 1, **arguments)
        assert await stored(taking) == 0

"""Two thousand planted secrets and pieces of personal data in twelve carriers, and what must not be touched."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import string
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

from golive import Chassis
from golive.chassis import ChassisSettings
from golive.chassis.applog import JsonLogHandler
from golive.jobs import Jobs, JobsSettings
from golive.jobs.log import JsonLines
from golive.redact import redact_text
from golive.testing.jobs_running import finished, working

PLANTED = 2000


def word(seed, alphabet=string.ascii_lowercase + string.digits, length=14):
    return "".join(seed.choices(alphabet, k=length))


def card(seed):
    """Sixteen digits that pass the Luhn check."""
    digits = [int(digit) for digit in "4" + word(seed, string.digits, 14)]
    doubled = [digit if index % 2 else digit * 2 - 9 * (digit > 4) for index, digit in enumerate(digits)]
    return "".join(map(str, digits)) + str(-sum(doubled) % 10)


def grouped(digits):
    return " ".join(digits[start : start + 4] for start in range(0, 16, 4))


def phone(seed):
    return f"+49 {seed.randint(151, 179)} {seed.randint(1_000_000, 9_999_999)}"


#: kind -> (the secret, the text it stands in)
SHAPES = {
    "email": lambda seed, w: (w, f"mail from {w}@mail.example.com arrived"),
    "card": lambda seed, w: (c := card(seed), f"charged {c}."),
    "card in groups": lambda seed, w: (c := grouped(card(seed)), f"card {c}"),
    "phone": lambda seed, w: (p := phone(seed), f"called {p} twice"),
    "bearer": lambda seed, w: (w, f"sent Authorization: Bearer {w}"),
    "basic": lambda seed, w: (w, f"authorization: basic {w}=="),
    "password pair": lambda seed, w: (w, f"login failed password={w}&user=7"),
    "password in json": lambda seed, w: (w, json.dumps({"db_password": w, "n": 1})),
    "cookie": lambda seed, w: (w, f"Cookie: session={w}; theme=dark"),
    "url": lambda seed, w: (w, f"connecting to postgresql://app:{w}@db.internal:5432/shop"),
    "redis url": lambda seed, w: (w, f"lost rediss://:{w}@cache:6380/0"),
    "jwt": lambda seed, w: (w, f"token eyJhbGciOiJIUzI1NiJ9.eyJ{w}{w}.{w}{w} expired"),
    "github": lambda seed, w: (w, f"clone with ghp_{w}{w}{w}"),
    "aws": lambda seed, w: (k := word(seed, string.ascii_uppercase + string.digits, 16), f"key AKIA{k} used"),
    "stripe": lambda seed, w: (w, f"using sk_live_{w}{w}"),
    "slack": lambda seed, w: (w, f"posting as xoxb-{w}-{w}"),
    "private key": lambda seed, w: (w, f"-----BEGIN PRIVATE KEY-----\nMII{w}\n-----END PRIVATE KEY-----"),
    "api key": lambda seed, w: (w, f"X-Api-Key: {w}"),
}  # fmt: skip


def plant(count):
    """Secrets nobody could know, the shapes in turn; each stands in one text."""
    seed = random.Random(20261124)
    kinds = list(SHAPES)
    return [(kind, *SHAPES[kind](seed, word(seed))) for kind in (kinds[n % len(kinds)] for n in range(count))]


class House:
    """A service, its log, its error file, its Sentry, its jobs and their log."""

    def __init__(self, ingest, folder) -> None:
        self.errors = folder / "errors.ndjson"
        self.chassis = Chassis(ChassisSettings(error_file=str(self.errors), sentry_dsn=ingest.dsn))
        self.lines = []
        self.app = self.chassis.wrap(self._serve)
        self.logger = logging.Logger("shop")
        self.logger.addHandler(JsonLogHandler(self.chassis.log))
        self.jobs = Jobs(JobsSettings(url="memory://", backoff_base=timedelta(milliseconds=1)))
        self.job_log = io.StringIO()

        @self.jobs.handler("raises", attempts_max=1)
        async def raises(text: str) -> None:
            raise ValueError(text)

        @self.jobs.handler("talks", attempts_max=1)
        async def talks(text: str) -> None:
            logging.getLogger("golive.jobs.shop").warning("got %s", text)

    async def _serve(self, scope, receive, send):
        if scope["path"] == "/fails":
            raise type(f"Failure{self.failing[1]}", (RuntimeError,), {})(self.failing[0])
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_two_thousand_planted_secrets_are_in_no_log_capture_metric_or_job_record(
    call, keep_log, ingest, tmp_path
):
    """Twelve ways out of the process; a secret that stays in one is named with its kind and its carrier."""
    house, planted = House(ingest, tmp_path), plant(PLANTED)
    kept = keep_log(house.chassis)
    handler = logging.StreamHandler(house.job_log)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("golive.jobs")
    logger.addHandler(handler)
    records, log = [], house.logger

    def raising(text):
        try:
            raise ValueError(text)
        except ValueError:
            log.exception("failed")

    async def requested(text):
        await call(house.app, path=f"/users/{text}/orders", query=text.encode(), headers=[(b"cookie", text.encode())])

    number = 0

    async def failed(text):
        house.failing = (text, number)
        assert (await call(house.app, path="/fails")).status == 500

    async def job(kind, text):
        records.append(await finished(house.jobs, await house.jobs.submit(kind, text)))

    carriers = {
        "message": lambda text: log.info(text.replace("%", "%%")),
        "argument": lambda text: log.info("got %s", text),
        "nested argument": lambda text: log.info("got %s", {"a": [{"b": text}]}),
        "mapping": lambda text: log.info("got %(a)s", {"a": text}),
        "extra": lambda text: log.info("x", extra={"payload": {"deep": (text,)}}),
        "exception in a log": raising,
        "event": lambda text: house.chassis.log.event("check", output=text),
        "nested event": lambda text: house.chassis.log.event("x", nested={"list": [text]}),
        "request": requested,
        "error file, sentry and trace": failed,
        "job record": lambda text: job("raises", text),
        "job log": lambda text: job("talks", text),
    }
    assert len(carriers) == 12
    names = list(carriers)
    async with working(house.jobs):
        for number, (_, _, text) in enumerate(planted):
            outcome = carriers[names[number // len(SHAPES) % 12]](text)
            if outcome is not None:
                await outcome
            if number % 100 == 0:
                assert await asyncio.to_thread(house.chassis.capture.flush, 10)
    logger.removeHandler(handler)
    assert await asyncio.to_thread(house.chassis.capture.flush, 20)
    places = {
        "log": json.dumps(kept),
        "error file": house.errors.read_text(),
        "sentry": b"".join(ingest.bodies).decode(),
        "metrics": (await call(house.app, path="/metrics")).body.decode(),
        "job records": repr([record.failure for record in records]),
        "job log": house.job_log.getvalue(),
    }
    assert len(records) > PLANTED // 7
    traces = {name: text.count("[hidden]") for name, text in places.items()}
    assert all(count > 50 for name, count in traces.items() if name != "metrics"), traces
    found = [
        (kind, names[number // len(SHAPES) % 12], place)
        for number, (kind, secret, _) in enumerate(planted)
        for place, text in places.items()
        if secret in text
    ]
    assert not found, Counter(found)
    house.chassis.stop_background()


def harmless(seed):
    """A line as services write them: ids, times, numbers, addresses of machines, code; nobody's data in it."""
    n = seed.randint
    moment = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=seed.random() * 1e7)
    hexes = "".join(seed.choices("0123456789abcdef", k=40))
    return seed.choice(
        [
            f"order {n(10**15, 10**16 - 1)} shipped in {n(1, 9)} parcels",
            f"job {uuid.UUID(int=seed.getrandbits(128))} finished after {seed.random() * 100:.3f} s",
            f"GET /api/v2/items/{n(1, 10**9)}?page={n(1, 99)} 200 {seed.random():.6f}",
            f"{moment.isoformat()} checkpoint complete: wrote {n(1, 10**6)} buffers",
            f"peer 10.{n(0, 255)}.{n(0, 255)}.{n(0, 255)}:{n(1024, 65535)} gone",
            f"commit {hexes} by build {n(1, 10**5)}",
            f"image registry.internal/shop@sha256:{hexes}{hexes[:24]}",
            f"unix {moment.timestamp():.6f} ns {int(moment.timestamp() * 1e9)}",
            f"total {seed.random() * 10000:.2f} EUR for {n(1, 50)} items, sku {n(10**11, 10**12)}",
            f"select id, name from orders where day = {n(1, 31)} limit {n(1, 500)}",
            f"pod shop-{hexes[:9]}-{hexes[9:14]} restarted {n(1, 9)} times",
            f"heap {n(10**8, 10**10)} bytes, rss {n(10**8, 10**10)}, gc {seed.random() * 9:.1f} ms",
            f"trace 00-{hexes[:32]}-{hexes[:16]}-01 sampled",
            f"ean {n(10**12, 10**13 - 1)} stock {n(0, 999)} shelf {n(1, 99)}-{n(1, 999)}",
            f"offset {n(10**9, 10**12)} lag {n(0, 10**6)} partition {n(0, 63)}",
            f"version v{n(0, 9)}.{n(0, 99)}.{n(0, 99)} of 'token bucket' module: ok",
            f"invoice 2026-{n(1, 12):02}-{n(10000, 99999)} due in {n(1, 60)} days",
            f"tracking {seed.choice(['1Z', 'JD', 'RR'])}{n(10**13, 10**14)} handed over",
            f"mac 0a:1b:{hexes[:2]}:{hexes[2:4]}:{hexes[4:6]}:{hexes[6:8]} ipv6 2001:db8::{hexes[:4]}:{hexes[4:8]}",
            f"isbn 978-3-{n(10, 99)}-{n(100000, 999999)}-{n(0, 9)} printed",
        ]
    )  # fmt: skip


def test_at_most_one_harmless_line_in_a_hundred_is_touched():
    """A log without its order numbers and times is no log."""
    seed = random.Random(7)
    lines = [harmless(seed) for _ in range(10_000)]
    touched = [line for line in lines if redact_text(line) != line]
    assert len(touched) <= 100, touched[:20]

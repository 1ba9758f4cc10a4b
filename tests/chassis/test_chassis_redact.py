"""Redaction and the app's own log (cases L1, L3, L5, L6), with planted secrets in every carrier."""

from __future__ import annotations

import json
import logging
import random
import string
import time

import pytest

from golive import Chassis
from golive.chassis.applog import JsonLogHandler
from golive.chassis.log import LogSink
from golive.redact import is_secret_key, redact, redact_text

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("mail to jane.doe+x@mail.example.co.uk now", "jane.doe"),
        ("card 4111 1111 1111 1111 charged", "4111"),
        ("card 5500-0055-5555-5559", "5500"),
        ("amex 378282246310005.", "378282"),
        (f"token {JWT}", "eyJ"),
        ("Authorization: Bearer abcdef123456", "abcdef123456"),
        ("authorization=basic dXNlcjpodW50ZXIy", "dXNlcjpodW50ZXIy"),
        ("postgresql://user:hunter2@db:5432/x", "hunter2"),
        ("redis://:hunter2@cache", "hunter2"),
        ("password=hunter2&user=1", "hunter2"),
        ('{"api_key": "hunter2", "a": 1}', "hunter2"),
        ("DB_PASSWORD: 'hunter 2'", "hunter 2"),
        ("Cookie: session=abc123def", "abc123def"),
        ("call +49 170 1234567 or (555) 123-4567", "1234567"),
        ("call 555-123-4567", "123-4567"),
        ("key AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("stripe sk_live_abcdefghijklmnop", "abcdefghij"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----", "MIIabc"),
    ],
)
def test_l1_what_has_the_shape_of_a_secret_is_replaced(text, secret):
    """Whatever the sentence around it."""
    assert secret not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112 shipped",
        "GET /api/v1/items/1234567890123456789 200",
        "2026-11-23T18:30:00.123Z took 12.5 ms",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
        "9f1c1f9e-2c44-4f0e-8a53-1f2b3c4d5e6f",
        "at 10.0.0.1:8080, 3 of 5 ok, ratio 0.4111111111111111",
        "tokens used: many; key figures improved",
        "unix 1795456378.370162 ns 1795456378370162000",
        "basic facts about bearers",
        "version v1.2.3-rc.4 sha256 deadbeef",
    ],
)
def test_l1_what_only_looks_similar_is_kept(text):
    """A log without its order numbers and times is no log."""
    assert redact_text(text) == text


def test_l1_values_under_telling_keys_are_hidden_however_they_are_spelled():
    """By name, at any depth; the structure stays readable."""
    value = {
        "user": {"Password": "x", "X-Api-Key": "y", "refreshToken": "z", "name": "n"},
        "items": [{"cvv": 123}],
        "pwd": None,
    }
    assert redact(value) == {
        "user": {"Password": "[hidden]", "X-Api-Key": "[hidden]", "refreshToken": "[hidden]", "name": "n"},
        "items": [{"cvv": "[hidden]"}],
        "pwd": None,
    }
    assert [is_secret_key(key) for key in ("db_password", "clientSecret", "tokenizer", "monkey")] == [
        True,
        True,
        False,
        False,
    ]


class Broken:
    def __repr__(self):
        raise RuntimeError("no")


def test_l3_l5_odd_long_and_deep_values_are_bounded_and_never_raise():
    """Cycles, objects that cannot be shown, a hundred kilobytes, ten thousand items."""
    cycle: list = []
    cycle.append(cycle)
    shown = json.dumps(redact({"cycle": cycle, "broken": Broken(), "many": list(range(10_000)), "bytes": b"\xff\x00"}))
    assert "cannot be shown" in shown
    assert len(shown) < 2_000
    long = redact_text("x" * 100_000)
    assert len(long) < 17_000
    assert long.endswith("[83616 characters cut]")


@pytest.mark.parametrize(
    "hostile",
    ["a@" * 500_000, "a" * 1_000_000 + "@", "4" * 1_000_000, "+1" * 500_000, "token=" * 150_000, "://a:" * 200_000],
)
def test_l6_no_input_makes_the_search_slow(hostile):
    """A megabyte chosen to hurt takes no longer than any other."""
    began = time.process_time()
    redact_text(hostile)
    assert time.process_time() - began < 0.25


def planted(seed: random.Random) -> str:
    """A secret nobody could know, in one of six shapes."""
    word = "".join(seed.choices(string.ascii_lowercase, k=12))
    shapes = [
        f"{word}@example.com",
        f"Bearer {word}XY9",
        f"password={word}",
        f"https://u:{word}@host/x",
        f"eyJ{word}.{word}.{word}",
        f"ghp_{word}{word}",
    ]
    return word, seed.choice(shapes)


def test_two_thousand_planted_secrets_appear_in_no_line_of_any_carrier():
    """Message, argument, nested argument, extra, exception text, check output, event field, path: none leaks."""
    seed, lines, words = random.Random(5), [], []
    sink = LogSink()
    sink.record = lines.append
    logger = logging.Logger("planted")
    logger.addHandler(JsonLogHandler(sink))

    def raising(text: str) -> None:
        try:
            raise ValueError(text)
        except ValueError:
            logger.exception("failed")

    carriers = [
        lambda text: logger.info(text.replace("%", "%%")),
        lambda text: logger.info("got %s", text),
        lambda text: logger.info("got %s", {"a": [{"b": text}]}),
        lambda text: logger.info("got %(a)s", {"a": text}),
        lambda text: logger.info("x", extra={"payload": {"deep": (text,)}}),
        raising,
        lambda text: sink.event("check", output=text),
        lambda text: sink.event("x", nested={"list": [text]}),
    ]
    for number in range(2000):
        word, text = planted(seed)
        words.append(word)
        carriers[number % len(carriers)](text)
    assert len(lines) == 2000
    everything = json.dumps(lines)
    assert [word for word in words if word in everything] == []


async def test_l1_the_path_in_the_access_line_is_redacted(call, keep_log):
    """An address in a path is still an address."""
    chassis = Chassis()
    lines = keep_log(chassis)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await call(chassis.wrap(app), path="/users/jane@example.com", query=b"token=hunter2")
    assert lines[0]["path"] == "/users/[email]"
    assert "hunter2" not in json.dumps(lines)
    chassis.stop_background()


@pytest.mark.process
def test_the_apps_own_log_is_json_redacted_and_carries_the_request_id(start):
    """Under `golive serve`, without a line of configuration."""
    service = start(
        """
        import logging
        from fastapi import FastAPI
        app = FastAPI()
        @app.get("/x")
        def x():
            logging.getLogger("shop").info("sold to %s", "jane@example.com", extra={"password": "hunter2"})
        """,
        "--lame-duck",
        "0s",
    ).wait_started()
    service.get("/x", "x-request-id: id-7\r\n")
    service.terminate()
    service.wait()
    [line] = [line for line in service.log("log") if line["logger"] == "shop"]
    assert (line["message"], line["request_id"], line["extra"]) == ("sold to [email]", "id-7", {"password": "[hidden]"})

"""
Personal data and secrets out of everything that leaves the process as text: log lines, traces, captured errors, job
arguments.

Two ways, because each alone leaks: values under a telling *key* (``password``, ``authorization``) are replaced whole,
and *text* is searched for what has a shape: e-mail addresses, card numbers that pass the Luhn check, JSON web tokens,
bearer and provider tokens, private keys, ``password=...`` and credentials in URLs, phone numbers. A cheap look for the
characters a pattern needs comes first; most lines contain none. Left out: names and street addresses, which need a
model and not a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

#: Longer text is cut before it is searched, so that no input makes the search slow.
TEXT_MAX = 16_384
#: Deeper structures are shown as their type.
DEPTH_MAX = 8
#: Members of one mapping or sequence that are kept.
ITEMS_MAX = 200

HIDDEN = "[hidden]"

_KEYS = frozenset(
    [
        "accesskey",
        "apikey",
        "authorization",
        "auth",
        "cardnumber",
        "clientsecret",
        "connectionstring",
        "cookie",
        "creditcard",
        "credential",
        "credentials",
        "cvc",
        "cvv",
        "databaseurl",
        "dsn",
        "email",
        "iban",
        "idtoken",
        "passphrase",
        "passwd",
        "password",
        "phone",
        "phonenumber",
        "privatekey",
        "proxyauthorization",
        "pwd",
        "refreshtoken",
        "secret",
        "secretkey",
        "sessionid",
        "setcookie",
        "signature",
        "ssn",
        "token",
        "xapikey",
    ]
)
_KEY_ENDS = ("password", "secret", "token", "apikey", "privatekey", "passwd", "secretkey", "accesskey")

_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_USERINFO = re.compile(r"(?<=://)[^\s/@:]{0,256}:[^\s/@]{1,256}(?=@)")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*")
_SCHEME = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_PROVIDER = re.compile(
    r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}"
    r"|AIza[A-Za-z0-9_-]{30,}|glpat-[A-Za-z0-9_-]{16,})"
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_PAIR = re.compile(
    r"(?P<key>[A-Za-z_-]{0,40}(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|authorization|cookie"
    r"|session[_-]?id))"
    r"(?P<sep>[\"']?\s{0,8}[=:]\s{0,8})"
    r"(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;&\"'}\])]+)",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"(?<![\w.-])[2-6](?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_PHONE = re.compile(r"(?<![\w+])(?:\+\d(?:[ ()./-]{0,2}\d){7,14}|\(\d{3}\)\s?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\w-])")
_PAIR_HINT = re.compile(r"pass|pwd|secret|token|key|authorization|cookie|session", re.IGNORECASE)
_THREE_DIGITS = re.compile(r"\d{3}")
#: Every search below needs at least one of these.
_SUSPICIOUS = re.compile(r"[@=:_A-]|\d{3}|eyJ|earer|asic|EARER")


def redact_text(text: str) -> str:
    """
    *text* with everything that looks like a secret or personal data replaced by a word in brackets; long text is cut.
    """
    if len(text) > TEXT_MAX:
        text = f"{text[:TEXT_MAX]}... [{len(text) - TEXT_MAX} characters cut]"
    if not _SUSPICIOUS.search(text):
        return text
    for needs, replace in _SEARCHES:
        if needs(text):
            text = replace(text)
    return text


def redact(value: Any) -> Any:
    """A copy of *value* for people to read: mappings by key, text by shape, depth and width bounded. Never raises."""
    return _redact(value, 0)


def is_secret_key(key: str) -> bool:
    """Whether a value under *key* is a secret by name (``apiKey``, ``X-Api-Key`` and ``db_password`` are)."""
    plain = key.lower().replace("_", "").replace("-", "")
    return plain in _KEYS or plain.endswith(_KEY_ENDS)


def _redact(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= DEPTH_MAX:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        members = list(value.items())[:ITEMS_MAX]
        return {
            redact_text(str(key)): HIDDEN if is_secret_key(str(key)) and item is not None else _redact(item, depth + 1)
            for key, item in members
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(item, depth + 1) for item in list(value)[:ITEMS_MAX]]
    if isinstance(value, bytes | bytearray):
        return redact_text(bytes(value[:TEXT_MAX]).decode("utf-8", "backslashreplace"))
    try:
        return redact_text(str(value))
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"


def _luhn(digits: str) -> bool:
    """Source: ISO/IEC 7812-1, annex B."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if index % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def _card(found: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", found[0])
    return "[card]" if _luhn(digits) else found[0]


def _pair(found: re.Match[str]) -> str:
    return f"{found['key']}{found['sep']}{HIDDEN}"


#: What a text must contain for the search to be worth it, and the search. Credentials in URLs come before e-mail
#: addresses, which they contain.
_SEARCHES: tuple[tuple[Callable[[str], Any], Callable[[str], str]], ...] = (
    (lambda text: "PRIVATE KEY" in text, lambda text: _PEM.sub("[private key]", text)),
    (lambda text: "://" in text and "@" in text, lambda text: _USERINFO.sub(HIDDEN, text)),
    (lambda text: "@" in text, lambda text: _EMAIL.sub("[email]", text)),
    (lambda text: "eyJ" in text, lambda text: _JWT.sub("[jwt]", text)),
    (
        lambda text: "earer" in text or "asic" in text or "EARER" in text,
        lambda text: _SCHEME.sub(rf"\1 {HIDDEN}", text),
    ),
    (lambda text: "=" in text or ":" in text, lambda text: _PAIR.sub(_pair, text) if _PAIR_HINT.search(text) else text),
    (lambda text: "_" in text or "-" in text or "A" in text, lambda text: _PROVIDER.sub(HIDDEN, text)),
    (_THREE_DIGITS.search, lambda text: _PHONE.sub("[phone]", _DIGITS.sub(_card, text))),
)

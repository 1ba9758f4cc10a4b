"""
Tokens an identity provider signed with its private key (RS256, ES256 and their kin), by the public keys it publishes.

The keys are fetched in a thread and kept. A token that names an unknown key causes a fetch, at most one in ten seconds
for everybody together, so that made-up key names cannot be turned into traffic; a provider that is down costs nothing,
because the keys that are known stay. Which algorithm a key may be used with is decided by the key, never by the token;
symmetric, encryption and short RSA keys in the set are ignored, and so is every key or address inside a token.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from golive.chassis.jwt import ClaimRules, TokenError, claims_of, header_of
from golive.errors import ConfigError

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis

#: Between two fetches, whoever asks; and the age at which keys are fetched anew in the background.
FETCH_EVERY_SECONDS, FRESH_SECONDS = 10.0, 300.0
#: What one fetch may take, and how much it may bring.
FETCH_SECONDS, BYTES_MAX = 5.0, 512 * 1024
#: Keys kept of one set; RSA keys shorter than this are ignored (NIST SP 800-131A).
KEYS_MAX, RSA_BITS_MIN = 100, 2048

_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
}


class UnknownKeyError(TokenError):
    """The token names a key that is not known; it may have been published a moment ago."""


class PublicKey(NamedTuple):
    """A key and what may be signed with it."""

    key: Any
    algorithms: tuple[str, ...]


class KeySet:
    """
    The keys at one URL.

    Args:
        fetch: brings the document; blocking, called in a thread.
        now: monotonic seconds.

    Attributes:
        keys: by ``kid``; empty until the first fetch succeeded.

    Raises: ConfigError when PyJWT or cryptography is missing.
    """

    def __init__(
        self,
        chassis: Chassis,
        url: str,
        fetch: Callable[[str], bytes] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if importlib.util.find_spec("jwt") is None or importlib.util.find_spec("cryptography") is None:
            raise ConfigError("jwks_url: expected PyJWT and cryptography to be installed. Install golive[auth].")
        self._url = url
        self._fetch = fetch or fetch_document
        self._now = now
        self._chassis = chassis
        self._tried_at = self._fetched_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self.keys: dict[str, PublicKey] = {}
        self._fetches = chassis.metrics.counter("jwks_fetches_total", "Fetches of the public keys.", ("outcome",))

    def find(self, kid: str | None) -> PublicKey | None:
        """The key a token names; a token that names none means the only one. Old keys are fetched anew meanwhile."""
        if self._now() - self._fetched_at > FRESH_SECONDS:
            self._start()
        if kid is None:
            return next(iter(self.keys.values())) if len(self.keys) == 1 else None
        return self.keys.get(kid)

    def fetch_ahead(self) -> None:
        """Begin to fetch, so that the first token finds its key. Needs a running event loop."""
        self._start()

    async def refresh(self) -> None:
        """Fetch, unless that was tried a moment ago; returns when the fetch that runs has ended."""
        self._start()
        if self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    def _start(self) -> None:
        now = self._now()
        if (self._task is not None and not self._task.done()) or now - self._tried_at < FETCH_EVERY_SECONDS:
            return
        self._tried_at = now
        self._task = asyncio.get_running_loop().create_task(self._bring(), name="jwks")

    async def _bring(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS * 2):
                keys = await asyncio.to_thread(lambda: read_keys(self._fetch(self._url)))
        except Exception as error:  # whatever is wrong over there: the keys that are known stay
            self._fetches.inc("failed")
            self._note(away=True, why=f"{type(error).__name__}: {error}")
            return
        self.keys, self._fetched_at = keys, self._now()
        self._fetches.inc("fetched")
        self._note(away=False)

    def _note(self, *, away: bool, why: str = "") -> None:
        """Say it once when the provider goes and once when it is back."""
        if away is not self._away:
            self._away = away
            more = {"output": why[:300], "keys": len(self.keys)} if away else {"keys": len(self.keys)}
            self._chassis.log.event(
                "jwks", level="warning" if away else "info", status="away" if away else "back", **more
            )


class PublicKeyVerifier:
    """Verifies tokens with the keys of a :class:`KeySet` and the rules every token meets."""

    def __init__(self, keys: KeySet, rules: ClaimRules) -> None:
        self._keys = keys
        self._rules = rules

    def verify(self, token: str, now: float) -> dict[str, Any]:
        """
        The claims of *token*.

        Raises: UnknownKeyError when its key may be found by a fetch; TokenError otherwise, as
            :meth:`golive.chassis.jwt.Hs256Verifier.verify`.
        """
        header = header_of(token)
        kid = header.get("kid")
        known = self._keys.find(kid if isinstance(kid, str) else None)
        if known is None:
            raise UnknownKeyError("the token's key is not known")
        if header.get("alg") not in known.algorithms:
            raise TokenError("the token's algorithm is not accepted")
        from jwt.api_jws import PyJWS
        from jwt.exceptions import PyJWTError

        try:
            PyJWS().decode_complete(token, known.key, algorithms=list(known.algorithms))
        except (PyJWTError, ValueError):
            raise TokenError("the token's signature is wrong") from None
        claims = claims_of(token)
        self._rules.check(claims, now)
        return claims


def read_keys(document: bytes) -> dict[str, PublicKey]:
    """
    The usable keys of a key set (RFC 7517).

    Raises: ValueError when it is none, or has no usable key: a provider in trouble must not take our keys away.
    """
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    found = json.loads(document)
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ValueError("expected a JSON object with a list of keys")
    keys: dict[str, PublicKey] = {}
    for number, entry in enumerate(entries[:KEYS_MAX]):
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or "d" in entry:
            continue
        allowed = _ALGORITHMS.get(str(entry.get("crv") if entry.get("kty") in ("EC", "OKP") else entry.get("kty")), ())
        if "alg" in entry:
            allowed = tuple(name for name in allowed if name == entry["alg"])
        if not allowed:
            continue
        try:
            key = PyJWK.from_dict(entry, algorithm=allowed[0]).key
        except (PyJWTError, ValueError, TypeError):
            continue
        if getattr(key, "key_size", RSA_BITS_MIN) < RSA_BITS_MIN and entry.get("kty") == "RSA":
            continue
        keys[str(entry.get("kid", f"number {number}"))] = PublicKey(key, allowed)
    if not keys:
        raise ValueError("expected at least one public signing key, got none")
    return keys


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead anywhere; the URL is the operator's word."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


def fetch_document(url: str) -> bytes:
    """The body at *url*, which the settings have checked. Raises: OSError, ValueError when it is too long."""
    opener = urllib.request.build_opener(_NoRedirects)
    request = urllib.request.Request(url, headers={"accept": "application/json"})  # noqa: S310  # https, see settings
    with opener.open(request, timeout=FETCH_SECONDS) as answer:
        body: bytes = answer.read(BYTES_MAX + 1)
    if len(body) > BYTES_MAX:
        raise ValueError(f"expected at most {BYTES_MAX} bytes of keys")
    return body

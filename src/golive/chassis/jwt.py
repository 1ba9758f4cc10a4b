"""
JSON web tokens: their parts, the rules every token meets, and those signed with a shared secret (HS256).

The algorithm is ours, not the token's: a header that names another one, ``none`` included, is refused before anything
is computed. Public keys are :mod:`golive.chassis.jwks`, which needs a cryptography library.
Source: RFC 7515 (JWS), RFC 7519 (claims), RFC 8725 (best practice).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any

import msgspec

#: RFC 7518, section 3.2: a key at least as long as the hash.
SECRET_BYTES_MIN = 32
#: The year 5138; a number beyond it is no time, and may be too long to be a float.
_TIME_MAX = 10**11
#: No honest token is longer; checked before any work is done on it.
TOKEN_LENGTH_MAX = 8192


class TokenError(Exception):
    """The token proves nothing; the message may be told to the caller."""


class ClaimRules:
    """
    What a token must say, whoever signed it.

    Args:
        issuer: the ``iss`` a token must have; empty for any.
        audience: what must be in ``aud``; empty for any.
        leeway_seconds: clocks may differ by this much.
    """

    def __init__(self, *, issuer: str, audience: str, leeway_seconds: float) -> None:
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_seconds

    def check(self, claims: dict[str, Any], now: float) -> None:
        """Raises: TokenError when it is expired, not yet valid, or meant for somebody else. *now* is Unix time."""
        if _time(claims, "exp", required=True) + self._leeway <= now:
            raise TokenError("the token has expired")
        if _time(claims, "nbf", required=False) - self._leeway > now:
            raise TokenError("the token is not valid yet")
        if self._issuer and claims.get("iss") != self._issuer:
            raise TokenError("the token's issuer is not accepted")
        audience = claims.get("aud")
        if self._audience and self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenError("the token is for another audience")


class Hs256Verifier:
    """
    Args:
        secret: at least :data:`SECRET_BYTES_MIN` bytes.
        rules: what the claims must say.
    """

    def __init__(self, secret: bytes, rules: ClaimRules) -> None:
        assert len(secret) >= SECRET_BYTES_MIN, "the settings check this"
        self._secret = secret
        self._rules = rules

    def verify(self, token: str, now: float) -> dict[str, Any]:
        """
        The claims of *token*.

        Args:
            now: Unix time in seconds.
        Raises: TokenError when it is malformed, not signed by us, expired, not yet valid, or meant for somebody else.
        """
        if header_of(token).get("alg") != "HS256":
            raise TokenError("the token's algorithm is not accepted")
        signed, _, signature = token.rpartition(".")
        expected = hmac.digest(self._secret, signed.encode(), "sha256")
        if not hmac.compare_digest(expected, _bytes(signature)):
            raise TokenError("the token's signature is wrong")
        claims = claims_of(token)
        self._rules.check(claims, now)
        return claims


def header_of(token: str) -> dict[str, Any]:
    """The header, which nobody has vouched for yet. Raises: TokenError when malformed, or with demands of its own."""
    if token.count(".") != 2 or len(token) > TOKEN_LENGTH_MAX:
        raise TokenError("the token is malformed")
    header = _object(token.partition(".")[0])
    if "crit" in header or "b64" in header:
        raise TokenError("the token's algorithm is not accepted")
    return header


def claims_of(token: str) -> dict[str, Any]:
    """The claims, to be used after the signature was checked. Raises: TokenError when malformed."""
    return _object(token.split(".")[1])


def _bytes(part: str) -> bytes:
    """base64url without padding, and nothing else: lax decoders accept two spellings of one token."""
    try:
        decoded = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise TokenError("the token is malformed") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != part:
        raise TokenError("the token is malformed")
    return decoded


def _object(part: str) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(_bytes(part))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TokenError("the token is malformed") from None
    if not isinstance(decoded, dict):
        raise TokenError("the token is malformed")
    return decoded


def _time(claims: dict[str, Any], name: str, *, required: bool) -> float:
    value = claims.get(name)
    if value is None and not required:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _TIME_MAX:
        raise TokenError(f"the token has no usable {name}")
    return float(value)

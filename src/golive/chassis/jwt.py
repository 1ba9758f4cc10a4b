"""
JSON web tokens signed with a shared secret (HS256), verified; nothing else.

The algorithm is ours, not the token's: a header that names another one, ``none`` included, is refused before anything
is computed. Left
out: public-key algorithms and key sets, which need a cryptography library.
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
#: No honest token is longer; checked before any work is done on it.
TOKEN_LENGTH_MAX = 8192


class TokenError(Exception):
    """The token proves nothing; the message may be told to the caller."""


class Hs256Verifier:
    """
    Args:
        secret: at least :data:`SECRET_BYTES_MIN` bytes.
        issuer: the ``iss`` a token must have; empty for any.
        audience: what must be in ``aud``; empty for any.
        leeway_seconds: clocks may differ by this much.
    """

    def __init__(self, secret: bytes, *, issuer: str, audience: str, leeway_seconds: float) -> None:
        assert len(secret) >= SECRET_BYTES_MIN, "the settings check this"
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_seconds

    def verify(self, token: str, now: float) -> dict[str, Any]:
        """
        The claims of *token*.

        Args:
            now: Unix time in seconds.
        Raises: TokenError when it is malformed, not signed by us, expired, not yet valid, or meant for somebody else.
        """
        parts = token.split(".")
        if len(parts) != 3 or len(token) > TOKEN_LENGTH_MAX:
            raise TokenError("the token is malformed")
        header = _object(parts[0])
        if header.get("alg") != "HS256" or "crit" in header:
            raise TokenError("the token's algorithm is not accepted")
        expected = hmac.digest(self._secret, f"{parts[0]}.{parts[1]}".encode(), "sha256")
        if not hmac.compare_digest(expected, _bytes(parts[2])):
            raise TokenError("the token's signature is wrong")
        claims = _object(parts[1])
        self._check_times(claims, now)
        self._check_parties(claims)
        return claims

    def _check_times(self, claims: dict[str, Any], now: float) -> None:
        if _time(claims, "exp", required=True) + self._leeway <= now:
            raise TokenError("the token has expired")
        if _time(claims, "nbf", required=False) - self._leeway > now:
            raise TokenError("the token is not valid yet")

    def _check_parties(self, claims: dict[str, Any]) -> None:
        if self._issuer and claims.get("iss") != self._issuer:
            raise TokenError("the token's issuer is not accepted")
        audience = claims.get("aud")
        if self._audience and self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenError("the token is for another audience")


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
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(f"the token has no usable {name}")
    return float(value)

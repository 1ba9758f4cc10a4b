"""
Who is asking: a bearer token or an API key becomes a principal, or the request ends here.

Fails fast: ``REQUIRE_AUTH`` without anything to verify with refuses the start. Keys are configured as SHA-256 hashes,
so that neither the environment nor a log holds one, and are compared in constant time. Which object a principal may
see stays the app's business.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from golive.chassis.jwt import SECRET_BYTES_MIN, Hs256Verifier, TokenError
from golive.chassis.limits import Refusal
from golive.chassis.types import Scope

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.policies import Policy
    from golive.chassis.settings import ChassisSettings

#: Hidden from strangers in production: they describe every way in.
DOCUMENTATION_PATHS = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})

_CREDENTIALS = (b"authorization", b"x-api-key")
_HASHED_KEY = re.compile(r"([A-Za-z0-9_.-]{1,64}):([0-9a-f]{64})(?::([!-~ ]*))?")


class Principal(NamedTuple):
    """
    Who is asking; in ``request.state.principal``.

    Attributes:
        subject: the token's ``sub``, or the name of the API key.
        tenant: the token's tenant claim, empty if it has none.
        scopes: what it may do.
        kind: ``"jwt"`` or ``"api-key"``.
    """

    subject: str
    tenant: str
    scopes: frozenset[str]
    kind: str


class AuthError(Exception):
    """Not authenticated. *error* is RFC 6750's code, empty when no credentials came."""

    def __init__(self, error: str, reason: str) -> None:
        super().__init__(reason)
        self.error = error


def auth_faults(settings: ChassisSettings) -> list[str]:
    """Every reason not to start with these settings; secrets are never shown."""
    faults = []
    if settings.jwt_secret and len(settings.jwt_secret.encode()) < SECRET_BYTES_MIN:
        faults.append(
            f"jwt_secret: expected at least {SECRET_BYTES_MIN} bytes (RFC 7518), got {len(settings.jwt_secret)}."
        )
    for number, entry in enumerate(settings.api_key_hashes, start=1):
        if not _HASHED_KEY.fullmatch(entry):
            faults.append(f"api_key_hashes: entry {number}: expected name:sha256 or name:sha256:scope scope.")
    if settings.require_auth and not settings.jwt_secret and not settings.api_key_hashes:
        faults.append("require_auth: nothing to verify with. Set jwt_secret or api_key_hashes.")
    return faults


class Auth:
    """Authentication and scopes for one chassis."""

    def __init__(self, chassis: Chassis) -> None:
        settings = chassis.settings
        self._required = settings.require_auth
        self._hides_documentation = settings.environment == "production"
        self._tenant_claim = settings.jwt_tenant_claim
        self._realm = settings.service.replace("\\", "").replace('"', "")
        self._verifier = None
        if settings.jwt_secret:
            self._verifier = Hs256Verifier(
                settings.jwt_secret.encode(),
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
                leeway_seconds=settings.jwt_leeway.total_seconds(),
            )
        self._keys = [_read_hashed(entry) for entry in settings.api_key_hashes]
        self._verifies = bool(self._verifier or self._keys)
        self.active = self._verifies or self._hides_documentation
        self._failures = chassis.metrics.counter("auth_failures_total", "Requests not let in.", ("reason",))

    def admit(self, scope: Scope, path: str, policy: Policy | None) -> Refusal | None:
        """Put the principal into *scope*, or say why the request may not pass."""
        scopes = policy.scopes if policy is not None else ()
        needed = bool(scopes) or (self._required and not (policy is not None and policy.public))
        hidden = self._hides_documentation and path in DOCUMENTATION_PATHS
        if not self._verifies:
            return Refusal(404, "") if hidden else None
        try:
            principal = self.principal(scope)
        except AuthError as error:
            if not needed and not hidden and not error.error:
                return None
            return self._refuse(error, hidden=hidden)
        scope.setdefault("state", {})["principal"] = principal
        missing = [name for name in scopes if name not in principal.scopes]
        return self._forbid(missing) if missing else None

    def admits_websocket(self, scope: Scope) -> bool:
        """Whether a websocket may open: the same credentials, in the headers of its handshake."""
        return self.admit(scope, "", None) is None

    def principal(self, scope: Scope) -> Principal:
        """Who asks. Raises: AuthError when there are no credentials or they prove nothing."""
        given = [pair for pair in scope["headers"] if pair[0] in _CREDENTIALS]
        if not given:
            raise AuthError("", "credentials are missing")
        if len(given) > 1:
            raise AuthError("invalid_request", "send one kind of credentials, once")
        name, value = given[0]
        return self._from_token(value) if name == b"authorization" else self._from_key(value)

    def _from_token(self, value: bytes) -> Principal:
        scheme, _, token = value.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or self._verifier is None:
            raise AuthError("", "a bearer token is missing")  # another scheme is the app's own business
        try:
            claims = self._verifier.verify(token.strip(), time.time())
        except TokenError as error:
            raise AuthError("invalid_token", str(error)) from None
        granted = claims.get("scope", "")
        scopes = frozenset(granted.split()) if isinstance(granted, str) else frozenset()
        return Principal(str(claims.get("sub", "")), str(claims.get(self._tenant_claim, "")), scopes, "jwt")

    def _from_key(self, value: bytes) -> Principal:
        """Every configured key is compared, so that time tells nothing about which one was near."""
        digest = hashlib.sha256(value).digest()
        found = None
        for principal, expected in self._keys:
            if hmac.compare_digest(digest, expected):
                found = principal
        if found is None:
            raise AuthError("invalid_token", "the API key is not known")
        return found

    def _refuse(self, error: AuthError, *, hidden: bool) -> Refusal:
        self._failures.inc(error.error or "missing")
        if hidden:
            return Refusal(404, "")
        challenge = f'Bearer realm="{self._realm}"'
        if error.error:
            challenge += f', error="{error.error}", error_description="{error}"'
        return Refusal(
            401, f"Not authenticated: {error}.", headers={b"www-authenticate": challenge.encode("latin-1", "replace")}
        )

    def _forbid(self, missing: list[str]) -> Refusal:
        self._failures.inc("insufficient_scope")
        needed = " ".join(missing)
        challenge = f'Bearer realm="{self._realm}", error="insufficient_scope", scope="{needed}"'
        return Refusal(
            403,
            f"This needs the scope {needed}.",
            headers={b"www-authenticate": challenge.encode("latin-1", "replace")},
        )


def by_principal(scope: Scope) -> str | None:
    """
    For :meth:`Chassis.limit`: the caller by name within its tenant; nobody is None and is limited by address instead.
    """
    principal = scope.get("state", {}).get("principal")
    return f"{principal.tenant}/{principal.subject}" if principal is not None else None


def tenant_of(scope: Scope) -> str | None:
    """For :meth:`Chassis.idempotent`: the tenant in the token."""
    principal = scope.get("state", {}).get("principal")
    return principal.tenant if principal is not None else None


def _read_hashed(entry: str) -> tuple[Principal, bytes]:
    match = _HASHED_KEY.fullmatch(entry)
    assert match is not None, "the settings check this"
    return Principal(match[1], "", frozenset((match[3] or "").split()), "api-key"), bytes.fromhex(match[2])

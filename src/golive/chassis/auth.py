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
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from golive.chassis.jwks import KeySet, PublicKeyVerifier, UnknownKeyError
from golive.chassis.jwt import SECRET_BYTES_MIN, ClaimRules, Hs256Verifier, TokenError, header_of
from golive.chassis.limits import Refusal
from golive.chassis.types import Headers, Scope

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.policies import Policy
    from golive.chassis.settings import ChassisSettings

#: Hidden from strangers in production, with whatever other paths the app gives its documentation: they describe every
#: way in.
DOCUMENTATION_PATHS = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})

#: The headers credentials come in.
CREDENTIALS = (b"authorization", b"x-api-key")
_HASHED_KEY = re.compile(r"([A-Za-z0-9_.-]{1,64})(?:@([A-Za-z0-9_.-]{1,64}))?:([0-9a-f]{64})(?::([!-~ ]*))?")

#: Not an answer: the caller of :meth:`Auth.admit` asks :meth:`Auth.admit_with_new_keys` instead.
FETCH_KEYS = Refusal(503, "The service cannot verify tokens at the moment.", 10)


class Principal(NamedTuple):
    """
    Who is asking; in ``request.state.principal``.

    Attributes:
        subject: the token's ``sub``, or the name of the API key.
        tenant: the token's tenant claim, or the API key's; empty if it has none.
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
    if settings.require_auth and not can_verify(settings):
        faults.append("require_auth: nothing to verify with. Set jwt_secret, jwks_url or api_key_hashes.")
    url = settings.jwks_url
    allowed = ("https://",) if settings.environment == "production" else ("https://", "http://")
    if url and not (url.startswith(allowed) and urlsplit(url).hostname):
        faults.append(f"jwks_url: expected {' or '.join(allowed)}..., got {url[:80]!r}.")
    return faults


def can_verify(settings: ChassisSettings) -> bool:
    """Whether there is anything to verify credentials with."""
    return bool(settings.jwt_secret or settings.jwks_url or settings.api_key_hashes)


class Auth:
    """Authentication and scopes for one chassis."""

    def __init__(self, chassis: Chassis) -> None:
        settings = chassis.settings
        self._required = settings.require_auth
        self._hides_documentation = settings.environment == "production"
        self.documentation: frozenset[str] = DOCUMENTATION_PATHS
        self._tenant_claim = settings.jwt_tenant_claim
        self._realm = settings.service.replace("\\", "").replace('"', "")
        rules = ClaimRules(
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway_seconds=settings.jwt_leeway.total_seconds(),
        )
        self._shared = Hs256Verifier(settings.jwt_secret.encode(), rules) if settings.jwt_secret else None
        self.key_set = KeySet(chassis, settings.jwks_url) if settings.jwks_url else None
        self._public = PublicKeyVerifier(self.key_set, rules) if self.key_set is not None else None
        self._keys = [_read_hashed(entry) for entry in settings.api_key_hashes]
        self._seen: dict[bytes, Principal] = {}
        self._verifies = can_verify(settings)
        self.active = self._verifies or self._hides_documentation
        self._failures = chassis.metrics.counter("auth_failures_total", "Requests not let in.", ("reason",))

    async def admit_with_new_keys(self, scope: Scope, path: str, policy: Policy | None) -> Refusal | None:
        """As :meth:`admit`, after the provider was asked for its keys: at most once in ten seconds, for everybody."""
        assert self.key_set is not None, "admit said so"
        await self.key_set.refresh()
        refusal = self.admit(scope, path, policy)
        if refusal is not FETCH_KEYS or not self.key_set.keys:
            return refusal
        error = AuthError("invalid_token", "the token's key is not known")
        return self._refuse(error, hidden=self._hides_documentation and path in self.documentation)

    def admit(self, scope: Scope, path: str, policy: Policy | None, given: Headers | None = None) -> Refusal | None:
        """
        Put the principal into *scope*, or say why the request may not pass; :data:`FETCH_KEYS` says neither.

        Args:
            given: the headers with credentials, when somebody has looked for them already.
        """
        scopes = policy.scopes if policy is not None else ()
        if not self._verifies:
            return Refusal(404, "") if self._hides_documentation and path in self.documentation else None
        try:
            principal = self.principal(scope, given)
        except UnknownKeyError:
            return FETCH_KEYS
        except AuthError as error:
            needed = bool(scopes) or (self._required and not (policy is not None and policy.public))
            hidden = self._hides_documentation and path in self.documentation
            if not needed and not hidden and not error.error:
                return None
            return self._refuse(error, hidden=hidden)
        scope.setdefault("state", {})["principal"] = principal
        if scopes and not principal.scopes.issuperset(scopes):
            return self._forbid([name for name in scopes if name not in principal.scopes])
        return None

    async def admits_websocket(self, scope: Scope, policy: Policy | None) -> bool:
        """Whether a websocket may open: the same credentials and scopes, in the headers of its handshake."""
        refusal = self.admit(scope, "", policy)
        if refusal is FETCH_KEYS:
            refusal = await self.admit_with_new_keys(scope, "", policy)
        return refusal is None

    def principal(self, scope: Scope, given: Headers | None = None) -> Principal:
        """Who asks. Raises: AuthError when there are no credentials or they prove nothing; UnknownKeyError."""
        if given is None:
            given = [pair for pair in scope["headers"] if pair[0] in CREDENTIALS]
        if not given:
            raise AuthError("", "credentials are missing")
        if len(given) > 1:
            raise AuthError("invalid_request", "send one kind of credentials, once")
        name, value = given[0]
        return self._from_token(value) if name == b"authorization" else self._from_key(value)

    def _from_token(self, value: bytes) -> Principal:
        scheme, _, token = value.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not (self._shared or self._public):
            raise AuthError("", "a bearer token is missing")  # another scheme is the app's own business
        try:
            claims = self._claims(token.strip())
        except UnknownKeyError:
            raise
        except TokenError as error:
            raise AuthError("invalid_token", str(error)) from None
        return Principal(str(claims.get("sub", "")), _tenant(claims, self._tenant_claim), _scopes(claims), "jwt")

    def _claims(self, token: str) -> dict[str, Any]:
        """HS256 is the shared secret's alone, everything else the public keys': neither can stand in for the other."""
        verifier = self._public
        if verifier is None or (self._shared is not None and header_of(token).get("alg") == "HS256"):
            assert self._shared is not None, "one of the two is there"
            return self._shared.verify(token, time.time())
        return verifier.verify(token, time.time())

    def _from_key(self, value: bytes) -> Principal:
        """
        Every configured key is compared, so that time tells nothing about which one was near.

        A key that was right is known again by itself: only who has it gets that far.
        """
        known = self._seen.get(value)
        if known is not None:
            return known
        digest = hashlib.sha256(value).digest()
        found = None
        for principal, expected in self._keys:
            if hmac.compare_digest(digest, expected):
                found = principal
        if found is None:
            raise AuthError("invalid_token", "the API key is not known")
        self._seen[value] = found  # never more than there are keys
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


def _tenant(claims: dict[str, Any], path: str) -> str:
    """The claim at *path*, whose dots lead into objects: ``app_metadata.tenant``."""
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """``scope`` of RFC 8693, a text, or what providers send instead: ``scp``, a list."""
    granted: set[str] = set()
    for name in ("scope", "scp"):
        value = claims.get(name, "")
        parts = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
        granted.update(part for part in parts if isinstance(part, str))
    return frozenset(granted)


def _read_hashed(entry: str) -> tuple[Principal, bytes]:
    match = _HASHED_KEY.fullmatch(entry)
    assert match is not None, "the settings check this"
    name, tenant, digest, scopes = match.groups()
    return Principal(name, tenant or "", frozenset((scopes or "").split()), "api-key"), bytes.fromhex(digest)

"""
What applies to which route, known before the app runs.

A policy is put on an endpoint by a decorator and found here by method and path, so that it is enforced outside the
app: before its body is parsed and around everything it does. Only routes that carry a policy are compiled; an app
without any pays nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from golive.chassis.idempotency import IdempotencyRules
from golive.chassis.ratelimit import KeyFunction, Rule
from golive.chassis.routes import Leaf, RouteTable, path_below, router_of
from golive.chassis.types import Scope

MARK = "__golive_policy__"


@dataclass(frozen=True, slots=True)
class Policy:
    """
    Attributes:
        limits: rules and whom they count.
        idempotency: None when the route has none.
        scopes: what a principal needs for the route; not empty means that it must be authenticated.
        public: the route needs no authentication although the service does.
    """

    limits: tuple[tuple[Rule, KeyFunction], ...] = ()
    idempotency: IdempotencyRules | None = None
    scopes: tuple[str, ...] = ()
    public: bool = False


_SLASHES = re.compile("//+")

#: Template and policy of a route.
Found = tuple[str, Policy]
#: Not even a route without a policy.
MISSING: Found = ("", Policy())


def mark(endpoint: Any, **changes: Any) -> None:
    """Add to the policy an endpoint carries."""
    setattr(endpoint, MARK, replace(getattr(endpoint, MARK, Policy()), **changes))


def policy_of(endpoint: Any) -> Policy | None:
    """The policy on *endpoint*, or None."""
    policy = getattr(endpoint, MARK, None)
    return policy if isinstance(policy, Policy) else None


class PolicyTable:
    """
    The policies of one app's routes, by method and path.

    The route that the app's router would choose decides, also when that route has no policy: a rule on ``/orders/{id}``
    is none on a ``/orders/public`` before it, and the rule of a route that another hides applies to nobody. Where the
    table cannot say which route that is, no route hides a rule: all rules that may be meant hold together.

    Attributes:
        any: whether there is one; a plain attribute, because every request asks.
        documentation: the paths at which the framework describes the app.
        plain: whether the app looks up the path below the server's ``root_path`` as it came; else :meth:`path` says.
    """

    def __init__(self, app: object) -> None:
        self._exact: dict[tuple[str, str], Found | None] = {}
        self._patterns: list[tuple[Leaf, re.Pattern[str], Found | None]] = []
        router = router_of(app)
        routes = getattr(router, "routes", None) or ()
        self._slashes = any(hasattr(each, "route_handlers") or hasattr(each, "route_handler") for each in routes)
        self._root_path: str = getattr(router, "root_path", "") if not self._slashes else ""
        self.plain = not self._slashes and not self._root_path
        self.idempotent: list[str] = []
        leaves = [(leaf, policy_of(leaf.endpoint)) for leaf in RouteTable(app).leaves]
        self.documentation = frozenset(leaf.template for leaf, _ in leaves if leaf.documents)
        self.any = any(policy is not None for _, policy in leaves)
        while leaves and leaves[-1][1] is None and leaves[-1][0].pattern is not None:
            leaves.pop()  # behind the last rule: a pattern that can hide nothing
        for leaf, policy in leaves if self.any else ():
            self._add(leaf, policy)

    def path(self, scope: Scope) -> str:
        """The path that the app's router looks up: Litestar's in normal form, FastAPI's below its own root path."""
        path: str = scope["path"]
        root_path = self._root_path or scope.get("root_path", "")
        if not self._slashes:
            return path_below(path, root_path)
        if root_path:
            path = path.split(root_path, maxsplit=1)[-1]
        return "/" + _SLASHES.sub("/", path.strip("/"))

    def _add(self, leaf: Leaf, policy: Policy | None) -> None:
        found = (leaf.template, policy) if policy is not None else None
        if policy is not None and policy.idempotency is not None:
            self.idempotent = sorted({*self.idempotent, leaf.template})
        if policy is None and not leaf.exact:
            return  # hides nothing and asks for nothing
        if leaf.pattern is not None:
            self._patterns.append((leaf, leaf.pattern, found))
            return
        for method in leaf.methods:
            before = self._before(method, leaf.template)
            if before is None:
                pattern = re.compile(re.escape(leaf.template) + "$")
                self._patterns.append((leaf._replace(methods=frozenset({method})), pattern, found))
            else:
                self._exact.setdefault((method, leaf.template), found if before is MISSING else before[1])

    def _before(self, method: str, path: str) -> Any:
        """What is before a fixed path for every request: MISSING for nothing, None when it depends on the request."""
        for leaf, pattern, found in self._patterns:
            if method in leaf.methods and pattern.match(path):
                return ("", found) if leaf.exact and not leaf.hosts else None
        return MISSING

    def find(self, method: str, path: str, scope: Scope | None = None) -> Found | None:
        """
        The template and policy for a request, or None.

        Args:
            path: the path as the app's router looks it up (:meth:`path`).
            scope: the request's, for rules below a ``Host``; without it they hold for every host.
        """
        found = self._exact.get((method, path), MISSING)
        if found is MISSING:
            found = self._by_pattern(method, path, scope)
        return found if found is not MISSING else None

    def _by_pattern(self, method: str, path: str, scope: Scope | None) -> Found | None:
        """
        The first route decides, together with those before it that may be meant.

        Routers disagree with everybody about a newline: to Starlette ``/admin`` and a newline after it is ``/admin``.
        Every route that may be meant is asked then.
        """
        odd = "\n" in path
        meant = [self._exact.get((method, path.removesuffix("\n")))] if odd else []
        for leaf, pattern, found in self._patterns:
            if method not in leaf.methods or not pattern.match(path):
                continue
            if leaf.hosts and scope is not None and not all(host.matches(scope)[0].value for host in leaf.hosts):
                continue
            if leaf.exact and not odd and (scope is not None or not leaf.hosts):
                if not meant:
                    return found
                meant.append(found)
                break
            meant.append(found)
        return _together(meant) if meant else MISSING


def _together(meant: list[Found | None]) -> Found | None:
    """All that several routes ask for; public only when each of them is."""
    found = [each for each in meant if each is not None]
    if len(found) < 2 and len(meant) == len(found):
        return found[0] if found else None
    if not found:
        return None
    template, _ = max(found, key=lambda each: len(each[1].scopes))
    policies = [policy for _, policy in found]
    idempotency = next((policy.idempotency for policy in policies if policy.idempotency is not None), None)
    return template, Policy(
        limits=tuple({id(rule): rule for policy in policies for rule in policy.limits}.values()),
        idempotency=idempotency,
        scopes=tuple(dict.fromkeys(scope for policy in policies for scope in policy.scopes)),
        public=len(found) == len(meant) and all(policy.public for policy in policies),
    )

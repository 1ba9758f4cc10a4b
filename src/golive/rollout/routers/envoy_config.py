"""
Envoy's configuration as pure text: what golive wants in, JSON resources out, and back again.

Three documents. The *bootstrap* never changes while the gateway runs. The *clusters* say where each version answers,
the *routes* say everything that decides a request, so that one renamed file is one atomic change of traffic. What
golive wanted travels inside the routes as metadata: the files are the whole state, and a gateway that restarts reads
them again.

Each version has two clusters over the same address: one that is counted, and one for traffic that must not be (forced
by header, endless streams). The version in the name, not the role, keeps counters apart when a candidate becomes
stable.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from golive.rollout.ports import WEIGHT_MAX, Arm, Split
from golive.rollout.routers import envoy_tap
from golive.rollout.routers.envoy_settings import GatewaySettings

Json = dict[str, Any]

ROUTES = "golive"
"""The name of the route configuration, and so of its statistics."""
SERVED_BY = "x-golive-served-by"
"""The response header that names the version that answered."""
CLIENT_ID = "x-golive-client"
"""
A request header the gateway sets to a fresh random id, overwriting any other: the identity of a client without one.
"""
UNCOUNTED = "__uncounted"
"""How the name of a cluster ends whose traffic is not evidence."""
COOKIE_SECONDS = 30 * 24 * 3600
"""Longer than any rollout with its watch period."""

_TYPE = "type.googleapis.com/envoy"
_HCM = f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_CONNECTIONS = f"{_TYPE}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
_UNLIMITED = 1_000_000  # Envoy's default of 1,024 answers 503 under load that the service could have taken


class Wanted(msgspec.Struct, frozen=True):
    """
    The state golive wants the gateway in; the files are a rendering of it.

    Attributes:
        fence: the highest fencing token that ever wrote.
        generation: grows by one with every write.
        removals: grows whenever a version is forgotten and its counters with it.
    """

    fence: int = 0
    generation: int = 0
    removals: int = 0
    split: Split | None = None
    arms: tuple[Arm, ...] = ()

    def arm(self, version: str) -> Arm | None:
        """The arm of *version*, None when the gateway does not know it."""
        return next((arm for arm in self.arms if arm.version == version), None)


def cluster_name(service: str, version: str) -> str:
    """
    The counted cluster of *version*: ``web__v1_3_2__5f3a9c01``.

    No dots, which would split Envoy's statistic names; the hash keeps ``v1.2`` and ``v1-2`` apart.
    """
    digest = hashlib.sha256(version.encode()).hexdigest()[:8]
    return f"{_plain(service)}__{_plain(version)}__{digest}"


def uncounted_name(service: str, version: str) -> str:
    """The cluster of *version* for traffic that is not evidence."""
    return cluster_name(service, version) + UNCOUNTED


def clusters(wanted: Wanted, settings: GatewaySettings) -> list[Json]:
    """Both clusters of every arm."""
    found = []
    for arm in wanted.arms:
        found.append(_cluster(cluster_name(settings.service, arm.version), arm, settings) | _checks(settings))
        found.append(_cluster(uncounted_name(settings.service, arm.version), arm, settings))
    return found


def routes(wanted: Wanted, settings: GatewaySettings) -> Json:
    """Everything that decides a request: forced versions first, then streams, then the split."""
    paths = [*(path for path in settings.streams), None]
    rules = [rule for path in paths for rule in (*_forced(wanted, settings, path), *_split(wanted, settings, path))]
    return {
        "@type": f"{_TYPE}.config.route.v3.RouteConfiguration",
        "name": ROUTES,
        "virtual_hosts": [{"name": _plain(settings.service), "domains": ["*"], "routes": rules}],
        "metadata": {"filter_metadata": {"golive": {"wanted": msgspec.json.encode(wanted).decode()}}},
    }


def document(version_info: str, resources: Sequence[Json]) -> bytes:
    """The file Envoy watches."""
    return msgspec.json.format(msgspec.json.encode({"version_info": version_info, "resources": resources}), indent=1)


def version_info(wanted: Wanted, resources: Sequence[Json]) -> str:
    """``g<fence>.<generation>.<hash>``: what the read-back is compared with."""
    return f"g{wanted.fence}.{wanted.generation}.{hashlib.sha256(msgspec.json.encode(resources)).hexdigest()[:8]}"


def wanted_in(route_configuration: Json) -> Wanted | None:
    """What golive wanted when it wrote *route_configuration*; None when golive did not write it."""
    try:
        text = route_configuration["metadata"]["filter_metadata"]["golive"]["wanted"]
        return msgspec.json.decode(text, type=Wanted)
    except (KeyError, TypeError, msgspec.MsgspecError):
        return None


def split_in(route_configuration: Json) -> Split | None:
    """
    The split these routes really make, whatever golive wanted; None when it is not one that golive could have made.

    A candidate of weight 0 is seen as well: its cluster is listed with weight 0.
    """
    try:
        rules = route_configuration["virtual_hosts"][0]["routes"]
        shares = {tuple(_shares(rule)) for rule in rules if str(rule.get("name", "")).startswith("split")}
    except (KeyError, IndexError, TypeError):
        return None
    if len(shares) != 1:
        return None  # nothing live yet, or somebody gave the rules of one path another split
    share = shares.pop()
    if sum(weight for _, weight in share) != WEIGHT_MAX or not 1 <= len(share) <= 2:
        return None
    if len(share) == 1:
        return Split(share[0][0])
    (candidate, weight), (stable, _) = share
    return Split(stable, candidate, weight) if candidate != stable else None


def bootstrap(
    settings: GatewaySettings, node: str, port: int, clusters_path: str, routes_path: str, tap_path: str
) -> Json:
    """What Envoy starts with. *node* is unique per start, so that readers notice when counters began again."""
    taps = [envoy_tap.cluster(tap_path)] if settings.request_tap else []
    admin = {"address": "127.0.0.1", "port_value": settings.admin_port}
    return {
        "node": {"id": node, "cluster": _plain(settings.service)},
        "admin": {"address": {"socket_address": admin}},
        "dynamic_resources": {"cds_config": _watched(clusters_path)},
        "static_resources": {"listeners": [_listener(settings, port, routes_path)], "clusters": taps},
        # Histograms are merged only at a flush; the default of 5 s would judge stale latencies.
        "stats_flush_interval": "0.25s",
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": _CONNECTIONS,
                        "max_active_downstream_connections": settings.connections_max,
                    },
                }
            ]
        },
    }


def seconds(duration: timedelta) -> str:
    """A duration as protobuf JSON spells it."""
    return f"{duration.total_seconds():.3f}s"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _watched(path: str) -> Json:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def _cluster(name: str, arm: Arm, settings: GatewaySettings) -> Json:
    host, _, port = arm.address.rpartition(":")
    endpoint = {"address": {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}}
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), _UNLIMITED)
    options = f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "@type": f"{_TYPE}.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC" if is_numeric(host) else "STRICT_DNS",
        "connect_timeout": seconds(settings.connect_timeout),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        # Envoy would rather send traffic to a dead host than to none; a dead candidate must show at once.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [limits | {"max_retries": 0}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "common_http_protocol_options": {"idle_timeout": seconds(settings.idle_timeout)},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _checks(settings: GatewaySettings) -> Json:
    interval = seconds(settings.health_interval)
    check = {
        "timeout": seconds(settings.health_timeout),
        "interval": interval,
        "no_traffic_interval": interval,  # otherwise a version without traffic is looked at once a minute
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": settings.health_path, "host": "golive-gateway"},
    }
    return {"health_checks": [check]}


def _forced(wanted: Wanted, settings: GatewaySettings, path: str | None) -> Iterable[Json]:
    """
    One rule per word the header may hold. An unknown word matches none of them and falls through to the split: the
    header is a wish of whoever tests, and a wish that cannot be granted is no reason to fail a request.
    """
    if settings.force_header is None:
        return
    words = {arm.version: arm.version for arm in wanted.arms}
    if wanted.split is not None:
        words.setdefault("stable", wanted.split.stable)
        words.setdefault("candidate", wanted.split.candidate or wanted.split.stable)
    for word, version in words.items():
        named = {"name": settings.force_header, "string_match": {"exact": word}}
        yield {
            "name": f"forced {word}",
            "match": _match(path) | {"headers": [named]},
            "route": {"cluster": uncounted_name(settings.service, version), "timeout": _timeout(settings, path)},
            "response_headers_to_add": [_header(SERVED_BY, version)],
        }


def _split(wanted: Wanted, settings: GatewaySettings, path: str | None) -> Iterable[Json]:
    """The rules of the split, one per way to recognise a client; each hashes what it recognised."""
    split = wanted.split
    if split is None:
        body = {"inline_string": "golive: no version is live yet\n"}
        yield {"name": "nothing live", "match": _match(path), "direct_response": {"status": 503, "body": body}}
        return
    if settings.sticky_header:
        by_header = {"headers": [{"name": settings.sticky_header, "present_match": True}]}
        hashed = {"header": {"header_name": settings.sticky_header}}
        yield _split_rule("header", split, settings, path, by_header, hashed)
    if settings.sticky_cookie:
        # Not empty: an empty cookie has no hash, and all clients that send one would be on the same side.
        by_cookie = {"cookies": [{"name": settings.sticky_cookie, "string_match": {"safe_regex": {"regex": ".+"}}}]}
        hashed = {"cookie": {"name": settings.sticky_cookie}}
        yield _split_rule("cookie", split, settings, path, by_cookie, hashed)
    rule = _split_rule("new", split, settings, path, {}, {"header": {"header_name": CLIENT_ID}})
    if settings.sticky_cookie and 0 < split.weight < WEIGHT_MAX:
        # The cookie is the very value that was hashed, so the first answer comes from the side where the client stays.
        # Only while traffic is split: a response that sets a cookie cannot be cached by anybody in front of us.
        cookie = (
            f"{settings.sticky_cookie}=%REQ({CLIENT_ID})%; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax"
        )
        rule["response_headers_to_add"] = [_header("set-cookie", cookie) | {"append_action": "APPEND_IF_EXISTS_OR_ADD"}]
    yield rule


def _split_rule(
    kind: str, split: Split, settings: GatewaySettings, path: str | None, match: Json, hashed: Json
) -> Json:
    # Candidate first: its hash range is [0, weight), which only grows. Salted with its name, so that it is not always
    # the same clients who meet a new version first: a constant, made of the path because every request has one.
    salt = {"pattern": {"regex": "^.*$"}, "substitution": split.candidate or split.stable}
    policy = [{"header": {"header_name": ":path", "regex_rewrite": salt}}, hashed]
    shares = [(split.stable, WEIGHT_MAX - split.weight)]
    if split.candidate is not None:
        shares.insert(0, (split.candidate, split.weight))
    named = cluster_name if path is None else uncounted_name
    weighted = [
        {
            "name": named(settings.service, version),
            "weight": weight,
            "response_headers_to_add": [_header(SERVED_BY, version)],
        }
        for version, weight in shares
    ]
    return {
        "name": f"split by {kind}",
        "match": _match(path) | match,
        "route": {
            "timeout": _timeout(settings, path),
            "hash_policy": policy,
            "weighted_clusters": {"use_hash_policy": True, "clusters": weighted},
        },
    }


def _shares(rule: Json) -> Iterable[tuple[str, int]]:
    for cluster in rule["route"]["weighted_clusters"]["clusters"]:
        headers = {item["header"]["key"]: item["header"]["value"] for item in cluster["response_headers_to_add"]}
        yield headers[SERVED_BY], int(cluster.get("weight", 0))


def _match(path: str | None) -> Json:
    return {"prefix": path or "/"}


def _timeout(settings: GatewaySettings, path: str | None) -> str:
    return seconds(settings.request_timeout) if path is None else "0s"


def _header(key: str, value: str) -> Json:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def is_numeric(host: str) -> bool:
    """Whether *host* is an IP address rather than a name."""
    return re.fullmatch(r"[0-9.]+|\[?[0-9a-fA-F:]+\]?", host) is not None


def _listener(settings: GatewaySettings, port: int, routes_path: str) -> Json:
    manager: Json = {
        "@type": _HCM,
        "stat_prefix": "ingress",
        "rds": {"route_config_name": ROUTES, "config_source": _watched(routes_path)},
        "early_header_mutation_extensions": [_client_id()],
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        # This is the edge: believe no x-envoy-* of a client, which could switch retries on or time-outs off.
        "use_remote_address": True,
        "generate_request_id": False,  # the chassis' concern, which also trusts a caller's id by its own rules
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": "10s",
        "drain_timeout": "5s",
    }
    if settings.request_tap:
        manager["access_log"] = [envoy_tap.access_log()]
        identity = envoy_tap.client_filter(CLIENT_ID, settings.sticky_cookie, settings.sticky_header)
        manager["http_filters"].insert(0, identity)
    return {
        "name": "ingress",
        "address": {"socket_address": {"address": settings.host, "port_value": port}},
        # With it, a second gateway could take the same port and silently half of the traffic.
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _client_id() -> Json:
    name = "envoy.http.early_header_mutation.header_mutation"
    kind = f"{_TYPE}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    return {"name": name, "typed_config": {"@type": kind, "mutations": [{"append": _header(CLIENT_ID, "%UNIQUE_ID%")}]}}

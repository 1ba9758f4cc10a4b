"""The rendering of Envoy's configuration: what goes in comes out again, and names never collide."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from golive.rollout.ports import WEIGHT_MAX, Arm, Split
from golive.rollout.routers.envoy_config import (
    Wanted,
    cluster_name,
    clusters,
    document,
    routes,
    split_in,
    uncounted_name,
    version_info,
    wanted_in,
)
from golive.rollout.routers.envoy_settings import GatewaySettings

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", fullmatch=True)


@st.composite
def wanted_states(draw: st.DrawFn) -> Wanted:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    candidate = draw(st.sampled_from([None, *names[1:]]))
    weight = draw(st.integers(0, WEIGHT_MAX)) if candidate else 0
    split = draw(st.sampled_from([None, Split(names[0], candidate, weight)]))
    arms = tuple(Arm(name, f"127.0.0.1:{1000 + number}") for number, name in enumerate(names))
    return Wanted(draw(st.integers(0, 10**9)), draw(st.integers(0, 10**9)), draw(st.integers(0, 9)), split, arms)


SETTINGS = st.builds(
    GatewaySettings,
    sticky_header=st.sampled_from([None, "x-user-id"]),
    sticky_cookie=st.sampled_from([None, "sid"]),
    force_header=st.sampled_from([None, "x-version"]),
    streams=st.sampled_from([(), ("/events", "/ws")]),
)


@given(wanted_states(), SETTINGS)
def test_what_is_written_is_read_back(wanted: Wanted, settings: GatewaySettings):
    """Through the very JSON that goes to disk: the state, and the split made from nothing but the weights."""
    made = routes(wanted, settings)
    stored = json.loads(document(version_info(wanted, [made]), [made]))["resources"][0]
    assert wanted_in(stored) == wanted
    assert split_in(stored) == wanted.split


@given(wanted_states(), SETTINGS)
def test_no_route_names_a_cluster_that_does_not_exist(wanted: Wanted, settings: GatewaySettings):
    """Such a route would answer 503 for a version that is well."""
    known = {cluster["name"] for cluster in clusters(wanted, settings)}
    text = json.dumps(routes(wanted, settings)["virtual_hosts"])
    named = set(re.findall(r'"(?:cluster|name)": "(app__[a-z0-9_]+)"', text))
    assert named <= known
    assert len(known) == 2 * len(wanted.arms)


@given(wanted_states(), SETTINGS)
def test_every_weighted_rule_adds_up_with_the_candidate_first(wanted: Wanted, settings: GatewaySettings):
    """10,000 in every rule; first means the hash range of the candidate begins at zero and only grows."""
    for rule in routes(wanted, settings)["virtual_hosts"][0]["routes"]:
        weighted = rule.get("route", {}).get("weighted_clusters")
        if weighted is None:
            continue
        shares = weighted["clusters"]
        assert sum(share["weight"] for share in shares) == WEIGHT_MAX
        assert wanted.split is not None
        first = wanted.split.candidate or wanted.split.stable
        assert shares[0]["name"] in (cluster_name("app", first), uncounted_name("app", first))


@given(wanted_states(), SETTINGS)
def test_the_last_rule_takes_everything(wanted: Wanted, settings: GatewaySettings):
    """No request is left without a rule, which would be a 404 made by the gateway."""
    last = routes(wanted, settings)["virtual_hosts"][0]["routes"][-1]
    assert last["match"] == {"prefix": "/"}


@given(NAMES, NAMES)
def test_different_versions_have_different_clusters(one: str, other: str):
    """Also v1.2 and v1-2, V1 and v1; and a name has no dot, which would split the names of its statistics."""
    assert (cluster_name("web", one) == cluster_name("web", other)) is (one == other)
    assert re.fullmatch(r"[a-z0-9_]+", cluster_name("My.Web", one))


def test_routes_that_golive_did_not_write_are_no_split():
    """Half of them changed, an unknown shape, weights that do not add up: not known, instead of guessed."""
    arms = (Arm("v1", "127.0.0.1:1"), Arm("v2", "127.0.0.1:2"))
    good = routes(Wanted(split=Split("v1", "v2", 100), arms=arms), GatewaySettings())
    half = json.loads(json.dumps(good).replace('"weight": 100', '"weight": 300', 1).replace("9900", "9700", 1))
    odd = json.loads(json.dumps(good).replace("9900", "9800"))
    assert split_in(good) == Split("v1", "v2", 100)
    for other in (half, odd, {}, {"virtual_hosts": []}, {"virtual_hosts": [{"routes": [{"name": "split"}]}]}):
        assert split_in(other) is None
    assert wanted_in({"metadata": {"filter_metadata": {"golive": {"wanted": "{"}}}}) is None

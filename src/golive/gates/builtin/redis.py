"""
``redis``: the queue's server keeps what it is given. Source: seed 001 (managed Redis). The hidden setting is the
eviction policy: anything but ``noeviction`` drops queue entries when memory runs out, silently.
"""

from __future__ import annotations

from golive.gates.gate import Gate, Phase
from golive.gates.outcome import Outcome, failed, passed
from golive.gates.redis import ask
from golive.gates.target import Target
from golive.promises.state import RedisProbe


async def check(target: Target) -> Outcome:
    """PASS when the server answers, evicts as declared, and writes to disk when it should."""
    probe = target.required(RedisProbe, "redis")
    pong, memory, persistence, server, saves = await ask(
        probe.url, ("PING",), ("INFO", "memory"), ("INFO", "persistence"), ("INFO", "server"), ("CONFIG", "GET", "save")
    )
    facts = dict(
        line.split(":", 1) for text in (memory, persistence, server) for line in str(text).splitlines() if ":" in line
    )
    policy, version = (
        facts.get("maxmemory_policy", "unknown"),
        facts.get("valkey_version") or facts.get("redis_version"),
    )
    problems = [] if pong == "PONG" else [f"PING is answered {pong!r}"]
    if probe.eviction and policy != probe.eviction:
        problems.append(
            f"maxmemory-policy is {policy}, expected {probe.eviction}: entries are dropped when memory is full"
        )
    saving = isinstance(saves, list) and len(saves) > 1 and bool(saves[1].strip())
    if probe.persistent and facts.get("aof_enabled") != "1" and not saving:
        problems.append("neither an append-only file nor snapshots are on: a restart empties it")
    evidence = {
        "version": version,
        "maxmemory_policy": policy,
        "aof": facts.get("aof_enabled") == "1",
        "snapshots": saving,
    }
    if problems:
        return failed("; ".join(problems), **evidence)
    return passed(f"version {version}, {policy}, {'append-only file' if evidence['aof'] else 'snapshots'}", **evidence)


GATE = Gate("redis", "The queue's server keeps what it is given.", Phase.DEPLOY, check, watch=True)

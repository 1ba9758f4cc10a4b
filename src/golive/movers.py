"""
What a rollout of one service moves: requests through the gateway, jobs of the store, or both. Part of the composition
root: the router, the evidence and the deployer that belong together are chosen here, by ``[rollout] moves``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from golive.config import Settings
from golive.config.children import service_environ
from golive.config.origins import DEFAULT
from golive.errors import ConfigError
from golive.jobs.ports import JobStore
from golive.jobs.stores import store_for
from golive.rollout.deployers.process import ProcessDeployer
from golive.rollout.deployers.releases import Releases
from golive.rollout.deployers.releases_git import GitReleases
from golive.rollout.deployers.releases_path import PathReleases
from golive.rollout.deployers.releases_tree import TreeReleases
from golive.rollout.deployers.settings import DeploySettings
from golive.rollout.deployers.together import DeployersTogether
from golive.rollout.deployers.worker import WorkerDeployer, WorkerSettings
from golive.rollout.evidence.bounds import BOUNDS
from golive.rollout.evidence.envoy import EnvoyEvidence
from golive.rollout.evidence.envoy_requests import RequestTap
from golive.rollout.evidence.processes import ProcessEvidence
from golive.rollout.evidence.prometheus import PrometheusEvidence, PrometheusSettings
from golive.rollout.evidence.together import EvidenceTogether
from golive.rollout.ports import Deployer, Evidence, Health, Router
from golive.rollout.routers.envoy import EnvoyRouter
from golive.rollout.routers.envoy_gateway import EnvoyGateway
from golive.rollout.routers.envoy_settings import GatewaySettings
from golive.rollout.routers.envoy_tap import SOCKET_PATH_MAX
from golive.rollout.routers.together import RoutersTogether
from golive.workers.evidence import JobEvidence
from golive.workers.router import ClaimRouter

LEVELS = ("memory_ratio", "cpu_ratio")
"""Indicators that are measured on the processes of a version, when a row asks for them."""


@dataclass(frozen=True)
class Front:
    """
    What carries the traffic of a service: the gateway, the job store, or both.

    Attributes:
        gateway, tap: None when the rollout moves jobs only.
        store: None when it moves requests only.
    """

    gateway: EnvoyGateway | None
    tap: RequestTap | None
    store: JobStore | None
    jobs_url: str

    def __str__(self) -> str:
        """Where it is, for people; without passwords."""
        places = [f"http://{self.gateway.address}"] if self.gateway else []
        if self.store is not None:
            url = urlsplit(self.jobs_url)
            places.append(f"the jobs in {url.scheme}://{url.hostname or ''}{url.path}")
        return " and ".join(places)

    def alive(self) -> bool:
        """Whether traffic can be moved now; a job store has no process of ours that could be down."""
        return self.gateway is None or self.gateway.alive()

    def running(self) -> bool:
        """Whether a process of it runs."""
        return self.gateway is not None and self.gateway.alive()

    async def up(self) -> None:
        """
        Start it, or find it running.

        Raises: UnavailableError.
        """
        if self.gateway is not None:
            await self.gateway.up()

    async def answers(self, version: str) -> bool:
        """Whether *version*, which has all the traffic, is there for it in the gateway's eyes."""
        if self.gateway is None:
            return True
        arm = (await EnvoyEvidence(self.gateway).sample()).arms.get(version)
        return arm is not None and arm.healthy is True

    async def listen(self) -> None:
        """Begin to hear of every request, where that is wanted."""
        if self.gateway is not None and self.tap is not None and self.gateway.settings.request_tap:
            await self.tap.open()

    async def close(self) -> None:
        """Let go of it; it goes on."""
        if self.tap is not None:
            await self.tap.close()
        if self.store is not None:
            await self.store.close()

    async def down(self) -> None:
        """End it; what it has accepted is answered."""
        if self.gateway is not None and self.gateway.alive():
            await self.gateway.down()


@dataclass(frozen=True)
class Movers:
    """The ports of one service's controller, and what they stand on."""

    front: Front
    router: Router
    evidence: Evidence
    deployer: Deployer


def movers(settings: Settings, routes: tuple[str, ...]) -> Movers:
    """
    Build what ``[rollout] moves`` asks for; nothing is started yet.

    Args:
        routes: those the gateway's records are told apart by.

    Raises: ConfigError.
    """
    deployer = _deployer(settings)
    front = _front(settings, routes)
    routers: list[Router] = []
    sources: list[Evidence] = []
    prometheus = _prometheus(deployer, settings)
    if front.gateway is not None:
        routers.append(EnvoyRouter(front.gateway))
        counts = prometheus is not None and settings.rollout.prometheus.requests is not None
        sources.append(prometheus if counts and prometheus else EnvoyEvidence(front.gateway, tap=front.tap))
    if front.store is not None:

        async def works(version: str) -> bool:
            return (await deployer.condition(version)).health is Health.READY

        routers.append(ClaimRouter(front.store, settings.state_dir / "workers" / "claims.json", works))
        sources.append(JobEvidence(front.store))
    router = routers[0] if len(routers) == 1 else RoutersTogether(*routers)
    if prometheus is not None and prometheus not in sources:
        sources.append(prometheus)
    if any(row.indicator in LEVELS for row in settings.slo.values()):
        sources.append(_processes(deployer, settings))
    evidence = sources[0] if len(sources) == 1 else EvidenceTogether(*sources)
    return Movers(front, router, evidence, deployer)


def _deployer(settings: Settings) -> Deployer:
    """Who runs a version: its web process, its workers, or both. Embedded workers live in the web process."""
    parts: dict[str, Deployer] = {}
    if settings.moves != "jobs":
        parts["web"] = ProcessDeployer(settings.state_dir / "processes", deploy_settings(settings))
    if settings.moves != "requests" and settings.deploy.worker_command:
        parts["worker"] = WorkerDeployer(settings.state_dir / "workers", worker_settings(settings))
    return next(iter(parts.values())) if len(parts) == 1 else DeployersTogether(parts)


def _prometheus(deployer: Deployer, settings: Settings) -> PrometheusEvidence | None:
    """The server of ``[rollout.prometheus]``, when there is one and something to ask it."""
    told = settings.rollout.prometheus
    rows = {name: row for name, row in settings.slo.items() if row.query is not None}
    if not told.url or (told.requests is None and told.errors is None and told.latency is None and not rows):
        return None
    return PrometheusEvidence(
        PrometheusSettings(
            url=told.url,
            requests=told.requests,
            errors=told.errors,
            latency=told.latency,
            rows={name: row.query or "" for name, row in rows.items()},
            windows={name: row.window for name, row in rows.items()},
            label=told.label,
            lookback=told.lookback,
            timeout=told.timeout,
            headers=told.headers,
        ),
        lambda: [arm.version for arm in deployer.running()],
        BOUNDS,
    )


def _processes(deployer: Deployer, settings: Settings) -> ProcessEvidence:
    """Memory and processor of the processes *deployer* starts."""
    parts = deployer.parts.values() if isinstance(deployer, DeployersTogether) else [deployer]
    homes = [part.instances for part in parts if isinstance(part, ProcessDeployer | WorkerDeployer)]
    return ProcessEvidence(lambda: (one for home in homes for one in home.living()), settings.deploy.memory_limit)


def _front(settings: Settings, routes: tuple[str, ...]) -> Front:
    gateway, tap, store, url = None, None, None, service_environ(settings)["GOLIVE_JOBS_URL"]
    if settings.moves != "jobs":
        gateway = EnvoyGateway(settings.state_dir / "gateway", gateway_settings(settings))
        tap = RequestTap(gateway, routes, BOUNDS)
    if settings.moves != "requests":
        store = store_for(url, settings.jobs.table)
    return Front(gateway, tap, store, url)


# ---- settings of the rooms


def gateway_settings(settings: Settings) -> GatewaySettings:
    """``[gateway]`` as the router knows it."""
    gateway = settings.gateway
    socket = settings.state_dir / "gateway" / "tap.sock"
    too_long = len(str(socket).encode()) > SOCKET_PATH_MAX and settings.origin("gateway", "request_tap") == DEFAULT
    return GatewaySettings(
        service=settings.service,
        host=gateway.host,
        port=gateway.port,
        admin_port=gateway.admin_port,
        sticky_header=gateway.sticky.header,
        sticky_cookie=gateway.sticky.cookie,
        force_header=gateway.force_header,
        request_timeout=gateway.request_timeout,
        idle_timeout=gateway.idle_timeout,
        connect_timeout=gateway.connect_timeout,
        health_path=settings.deploy.ready_path,
        request_tap=gateway.request_tap and not too_long,  # asked for in the file, the gateway says what is wrong
    )


def deploy_settings(settings: Settings) -> DeploySettings:
    """
    ``[deploy]`` and ``[release]`` as the deployer knows them.

    Raises: ConfigError when there is neither a command nor an app to serve.
    """
    deploy = settings.deploy
    if not deploy.command:
        raise ConfigError(
            'golive.toml: expected app = "module:app" or a [deploy] command, got neither. '
            "Write one, or run `golive init`."
        )
    return DeploySettings(
        command=tuple(deploy.command),
        releases=releases(settings),
        env={**service_environ(settings), **_env_file(settings), **deploy.env},
        startup_path=deploy.startup_path,
        startup_timeout=deploy.startup_timeout,
        ready_path=deploy.ready_path,
        ready_timeout=deploy.ready_timeout,
        live_path=deploy.live_path,
        stop_timeout=deploy.stop_timeout,
    )


def worker_settings(settings: Settings) -> WorkerSettings:
    """
    ``[deploy] worker_command`` and ``[release]`` as the deployer of workers knows them.

    Raises: ConfigError.
    """
    deploy = settings.deploy
    return WorkerSettings(
        command=tuple(deploy.worker_command or ()),
        releases=releases(settings),
        env={**service_environ(settings), **_env_file(settings), **deploy.env},
        startup_timeout=deploy.startup_timeout,
        stop_timeout=deploy.stop_timeout,
    )


def releases(settings: Settings) -> Releases:
    """Where the folders of versions come from."""
    release, store = settings.release, settings.state_dir / "releases"
    match release.source:
        case "git":
            return GitReleases(settings.root, store)
        case "path":
            pattern = Path(release.path)
            if pattern.name != "{version}":
                raise ConfigError(f'golive.toml release.path: expected ".../{{version}}", got "{release.path}".')
            return PathReleases(settings.root / pattern.parent)
        case "tree":
            return TreeReleases(settings.root, store, exclude=release.exclude, include=release.include)


def _env_file(settings: Settings) -> Mapping[str, str]:
    """``[deploy] env_file``: KEY=value lines, comments and blank lines allowed."""
    if settings.deploy.env_file is None:
        return {}
    path = settings.root / settings.deploy.env_file
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable env_file, got {error.strerror}.") from None
    env = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise ConfigError(f"{path}:{number}: expected KEY=value, got a line without. Mend it.")
        env[key.strip()] = value.strip().strip("\"'")
    return env

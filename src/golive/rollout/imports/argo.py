"""A Rollout of Argo Rollouts and its AnalysisTemplates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from golive.rollout.imports import reasons
from golive.rollout.imports.draft import Draft, Step, one_query, plain
from golive.rollout.imports.manifest import Item, Manifests

TEMPLATES = ("AnalysisTemplate", "ClusterAnalysisTemplate")
_CONDITION = re.compile(
    r"\s*(?:asFloat\()?result(?:\[0\])?\)?\s*(?P<op><=|>=|==|<|>)\s*(?P<limit>-?\d{1,15}(?:\.\d{1,15})?)\s*"
)
_ARGUMENT = re.compile(r"\{\{\s*args\.([A-Za-z0-9_.-]+)\s*\}\}")
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_LIMITS = {  # field -> option, least
    "failureLimit": ("failure_limit", -1),
    "inconclusiveLimit": ("inconclusive_limit", 0),
    "consecutiveErrorLimit": ("consecutive_error_limit", 0),
    "consecutiveSuccessLimit": ("consecutive_success_limit", 0),
}
_METRIC = ("name", "interval", "initialDelay", "count", "successCondition", "failureCondition", "provider", *_LIMITS)


def translate(manifests: Manifests) -> Draft:
    """
    The parts of a golive.toml for the one Rollout of *manifests*.

    Raises: ConfigError with file and line for what no Rollout can say.
    """
    draft, rollout = Draft("argo"), manifests.only("Rollout")
    strategy = rollout.get("spec", "strategy")
    if strategy is None:
        raise rollout.wrong("a Rollout with spec.strategy")
    canary, both = strategy.get("canary"), strategy.get("blueGreen")
    if (canary is None) == (both is None):
        raise strategy.wrong('one of "canary" and "blueGreen"')
    spec = rollout.get("spec")
    draft.rest(spec.table() if spec is not None else {}, ("strategy",), reasons.ARGO_SPEC)
    draft.rest(strategy.table(), ("canary", "blueGreen"))
    if canary is not None:
        _Reader(draft, manifests).canary(canary)
    elif both is not None:
        _blue_green(draft, both)
    draft.others(manifests, "Rollout", *TEMPLATES)
    draft.finish(rollout)
    return draft


def _blue_green(draft: Draft, table: Item) -> None:
    draft.strategy = "blue-green"
    asked = table.get("autoPromotionEnabled")
    draft.stages = [Step(100, approval=asked is not None and asked.value is False)]
    draft.rest(table.table(), ("autoPromotionEnabled",), reasons.ARGO_BLUE_GREEN)


class _Reader:
    """Reads one canary."""

    def __init__(self, draft: Draft, manifests: Manifests) -> None:
        self.draft, self.manifests = draft, manifests
        self.seen: set[tuple[str, int]] = set()
        self.first = True

    def canary(self, canary: Item) -> None:
        most = canary.get("trafficRouting", "maxTrafficWeight")
        scale = most.number(1, 1_000_000) / 100 if most is not None else 1.0
        asked = False
        steps = canary.get("steps")
        for step in steps.items() if steps is not None else ():
            asked = self._step(step, scale, asked)
        if asked:
            self._reach(100, asked=True)
        background = canary.get("analysis")
        if background is not None:
            self.draft.rest(background.table(), ("templates", "args"), reasons.ARGO_ANALYSIS)
            self._analysis(background)
        self.draft.rest(canary.table(), ("steps", "analysis"), reasons.ARGO_CANARY)

    def _step(self, step: Item, scale: float, asked: bool) -> bool:
        """Take one step; returns whether people must agree before the next weight."""
        table = step.table()
        if len(table) != 1:
            raise step.wrong("a step with one key")
        (key, item), *_ = table.items()
        if key == "setWeight":
            return self._weight(item, round(item.number(0, 100 * scale) / scale, 10), asked)
        if key == "pause":
            length = item.get("duration")
            self.draft.rest(item.table(), ("duration",))
            if length is None and self.draft.stages and self.draft.stages[-1].weight >= 100:
                self.draft.note(item, "a pause at 100 % has no equivalent: the rollout is over there.")
                return asked
            if length is None:
                return True
            if self.draft.stages and not asked:
                self.draft.stages[-1].soak += length.duration()
            else:
                length.duration()
                self.draft.note(item, "this pause has no equivalent: golive waits at a weight, before its approval.")
        elif key == "analysis":
            self.draft.note(item, "analysis in one step became analysis in every stage: golive's argo rules judge all.")
            self.draft.rest(item.table(), ("templates", "args"), reasons.ARGO_ANALYSIS)
            self._analysis(item)
        else:
            self.draft.rest(table, (), reasons.ARGO_STEP)
        return asked

    def _weight(self, item: Item, weight: float, asked: bool) -> bool:
        last = self.draft.stages[-1].weight if self.draft.stages else 0
        if weight <= last:
            if weight or last:
                self.draft.note(item, f"setWeight {item.shown()} has no equivalent: stages only go up.")
            return asked
        if abs(weight * 100 - round(weight * 100)) > 1e-6 or weight < 0.01:
            self.draft.note(item, f"{weight:g} % has no equivalent: the finest step is 0.01; it was rounded.")
            weight = max(round(weight, 2), 0.01)
            if weight <= last:
                return asked
        self._reach(weight, asked=asked)
        return False

    def _reach(self, weight: float, *, asked: bool) -> None:
        if self.draft.stages and self.draft.stages[-1].weight >= weight:
            return
        self.draft.stages.append(Step(weight, approval=asked))

    def _analysis(self, analysis: Item) -> None:
        arguments = self._arguments(analysis)
        templates = analysis.get("templates")
        for reference in templates.items() if templates is not None else ():
            name = reference.get("templateName")
            if name is None:
                raise reference.wrong('a "templateName"')
            self.draft.rest(reference.table(), ("templateName", "clusterScope"))
            self._template(name, arguments)

    def _template(self, name: Item, given: dict[str, str]) -> None:
        template = self.manifests.named(name.text(), *TEMPLATES)
        if template is None:
            self.draft.note(name, f"the template {name.shown()} is in none of these files: its metrics are missing.")
            return
        spec = template.get("spec") or template
        if (spec.file, spec.line) in self.seen:
            return
        self.seen.add((spec.file, spec.line))
        self.draft.rest(spec.table(), ("metrics", "args", "templates"))
        arguments = {**self._arguments(spec), **given}
        for metric in spec.table()["metrics"].items() if "metrics" in spec.table() else ():
            self._metric(metric, arguments)
        for reference in spec.table()["templates"].items() if "templates" in spec.table() else ():
            inner = reference.get("templateName")
            if inner is not None:
                self._template(inner, given)

    def _arguments(self, item: Item) -> dict[str, str]:
        """Arguments with a value, and the hash of the new pods, which is what golive calls a version."""
        found: dict[str, str] = {}
        listed = item.get("args")
        for argument in listed.items() if listed is not None else ():
            name, value = argument.get("name"), argument.get("value")
            latest = argument.get("valueFrom", "podTemplateHashValue")
            if name is not None and value is not None:
                found[name.text()] = str(value.value)
            elif name is not None and latest is not None and latest.value == "Latest":
                found[name.text()] = "{version}"
                self.draft.note(argument, "the hash of the new pods became {version}: the label must hold golive's.")
        return found

    def _metric(self, metric: Item, arguments: dict[str, str]) -> None:
        name = metric.get("name")
        if name is None:
            raise metric.wrong('a metric with a "name"')
        self.draft.rest(metric.table(), _METRIC)
        provider = metric.get("provider")
        prometheus = provider.get("prometheus") if provider is not None else None
        if prometheus is None or prometheus.get("query") is None:
            kinds = ", ".join(ascii(kind)[1:-1] for kind in provider.table()) if provider is not None else "none"
            self.draft.note(metric, f"the metric {name.shown()} has no equivalent: its provider is {kinds or 'none'}.")
            return
        self.draft.rest(prometheus.table(), ("address", "query"))
        query = self._filled(prometheus.table()["query"], arguments)
        limits = self._limits(metric, name, arguments)
        if query is None or limits is None:
            return
        address = prometheus.get("address")
        if address is not None:
            filled = self._filled(address, arguments)
            if filled is not None:
                self.draft.point_at(Item(filled, address.file, address.line))
        before = len(self.draft.rows)
        self.draft.add_row(metric, name.text(), {**limits, "query": one_query(query)})
        if len(self.draft.rows) > before:
            self._options(metric)

    def _filled(self, item: Item, arguments: dict[str, str]) -> str | None:
        """The text with its arguments; None, and noted, when one has no value here."""
        text = item.text()
        missing = [name for name in _ARGUMENT.findall(text) if name not in arguments]
        filled = _ARGUMENT.sub(lambda found: arguments.get(found[1], ""), text)
        if missing or "{{" in filled:
            what = ", ".join(missing) or "another template"
            self.draft.note(item, f"has no equivalent: {what} has no value in these files; the metric is left out.")
            return None
        return filled

    def _limits(self, metric: Item, name: Item, arguments: dict[str, str]) -> dict[str, str] | None:
        found: dict[str, str] = {}
        for key, field in (("target", "successCondition"), ("alert_if", "failureCondition")):
            item = metric.get(field)
            if item is None or item.value == "":
                continue
            text = self._filled(item, arguments)
            match = _CONDITION.fullmatch(text) if text is not None else None
            if match is None:
                if text is not None:
                    self.draft.note(item, f"{field} has no equivalent: expected a comparison such as result[0] < 0.05; "
                                          f"the metric {name.shown()} is left out.")  # fmt: skip
                return None
            found[key] = f"{match['op']} {plain(match['limit'])}"
        if not found:
            self.draft.note(metric, f"the metric {name.shown()} has no equivalent: it has no condition to judge by.")
            return None
        if "target" not in found:
            op, limit = found["alert_if"].split(" ")
            if op not in _OPPOSITE:
                self.draft.note(metric, f"the metric {name.shown()} has no equivalent: == alone is no target.")
                return None
            found = {"target": f"{_OPPOSITE[op]} {limit}", **found}
        return found

    def _options(self, metric: Item) -> None:
        """The numbers of the analysis: one set for the whole table, so the first metric's."""
        found = dict(self._numbers(metric))
        if self.first:
            self.draft.judge, self.first = found, False
        elif found != self.draft.judge:
            self.draft.note(metric, "its own interval, count and limits have no equivalent: the first metric's hold.")

    def _numbers(self, metric: Item) -> Iterator[tuple[str, float]]:
        interval, count, delay = metric.get("interval"), metric.get("count"), metric.get("initialDelay")
        if interval is not None:
            seconds = interval.duration()
            if seconds < timedelta(seconds=1):
                raise interval.wrong("an interval of 1s or more")
            yield "interval_s", seconds.total_seconds()
        if count is not None and count.number(0, 1_000_000, whole=True) > 0:
            yield "count", count.number(0, 1_000_000, whole=True)
        elif interval is None:
            yield "count", 1
        elif self.first:
            self.draft.note(metric, "no count has no equivalent (measured until the rollout ends): "
                                    "each stage measures 5 times; set rollout.judge.count.")  # fmt: skip
            yield "count", 5
        else:
            yield "count", 0  # differs from every other, which is what is noted
        if delay is not None:
            yield "initial_delay_s", delay.duration().total_seconds()
        for field, (option, least) in _LIMITS.items():
            item = metric.get(field)
            if item is not None:
                yield option, item.number(least, 1_000_000, whole=True)

"""A Canary of Flagger and its MetricTemplates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from golive.rollout.imports import reasons
from golive.rollout.imports.draft import Draft, Step, one_query, plain
from golive.rollout.imports.manifest import Item, Manifests
from golive.timing import format_duration

_VARIABLE = re.compile(r"\{\{-?\s*([A-Za-z0-9_.-]+?)\s*-?\}\}")
_READ = ("interval", "threshold", "maxWeight", "stepWeight", "stepWeights", "iterations", "metrics", "webhooks")
INTERVAL_DEFAULT = timedelta(minutes=1)
INTERVAL_MIN = timedelta(seconds=10)
"""Flagger takes a shorter interval for this one (GetAnalysisInterval in its canary.go)."""
BUILT_IN = {"request-success-rate": ("success_rate", "%"), "request-duration": ("latency_p99", "ms")}


def translate(manifests: Manifests) -> Draft:
    """
    The parts of a golive.toml for the one Canary of *manifests*.

    Raises: ConfigError with file and line for what no Canary can say.
    """
    draft, canary = Draft("flagger"), manifests.only("Canary")
    analysis = canary.get("spec", "analysis") or canary.get("spec", "canaryAnalysis")
    if analysis is None:
        raise canary.wrong("a Canary with spec.analysis")
    skipped = canary.get("spec", "skipAnalysis")
    if skipped is not None and skipped.value is True:
        draft.note(skipped, "skipAnalysis has no equivalent: golive always judges.")
    _Reader(draft, manifests, canary, analysis).read()
    spec, service = canary.get("spec"), canary.get("spec", "service")
    read = ("analysis", "canaryAnalysis", "skipAnalysis", "targetRef", "service")
    draft.rest(spec.table() if spec is not None else {}, read, reasons.FLAGGER_SPEC)
    draft.rest(service.table() if service is not None else {}, ("name",), reasons.FLAGGER_SERVICE)
    draft.others(manifests, "Canary", "MetricTemplate")
    draft.finish(canary)
    return draft


class _Reader:
    """Reads one analysis."""

    def __init__(self, draft: Draft, manifests: Manifests, canary: Item, analysis: Item) -> None:
        self.draft, self.manifests, self.canary, self.analysis = draft, manifests, canary, analysis
        self.interval = self._interval(analysis, INTERVAL_DEFAULT)
        if self.interval < INTERVAL_MIN:
            draft.note(analysis.get("interval") or analysis, "the interval became 10s, the shortest Flagger takes.")
            self.interval = INTERVAL_MIN

    def read(self) -> None:
        """Fill the draft."""
        threshold = self.analysis.get("threshold")
        self.draft.judge["interval_s"] = self.interval.total_seconds()
        if threshold is not None:
            wanted = threshold.number(0, 1_000_000, whole=True)
            if wanted < 1:
                self.draft.note(threshold, "threshold 0 has no equivalent; it became 1.")
            self.draft.judge["threshold"] = max(wanted, 1)
        self._stages()
        metrics, hooks = self.analysis.get("metrics"), self.analysis.get("webhooks")
        for metric in metrics.items() if metrics is not None else ():
            self._metric(metric)
        for hook in hooks.items() if hooks is not None else ():
            kind = hook.get("type")
            self.draft.note(hook, f"the webhook {(hook.get('name') or hook).shown()} "
                                  f"({kind.shown() if kind is not None else 'rollout'}) has no equivalent: "
                                  "[rollout.hooks] runs commands, approval in a stage asks people.")  # fmt: skip
        self.draft.rest(self.analysis.table(), _READ, reasons.FLAGGER_ANALYSIS)

    def _interval(self, item: Item, default: timedelta) -> timedelta:
        found = item.get("interval")
        if found is None:
            return default
        length = found.duration()
        if length <= timedelta(0):
            raise found.wrong("an interval longer than zero")
        return length

    def _stages(self) -> None:
        rounds = self.analysis.get("iterations")
        if rounds is not None and rounds.number(0, 100_000, whole=True) > 0:
            whole = self.interval * int(rounds.number(0, 100_000, whole=True))
            self.draft.strategy = "blue-green"
            self.draft.stages = [Step(100, whole)]
            self.draft.note(rounds, f"iterations test before the switch, which has no equivalent: golive switches, and "
                                    f"stays {format_duration(whole)} at 100 % before it is done.")  # fmt: skip
            return
        last = 0.0
        for weight, item in self._weights():
            if weight <= last:
                self.draft.note(item, f"the weight {weight:g} has no equivalent: stages only go up.")
                continue
            last = weight
            self.draft.stages.append(Step(weight, self.interval))

    def _weights(self) -> Iterator[tuple[float, Item]]:
        """
        As Flagger counts (nextStepWeight and maxWeight in its scheduler.go): steps until the weight is at or above the
        greatest, so 20 up to 50 is 20, 40, 60. A ``stepWeight`` wins over listed weights, whose last is the greatest
        then; 0 is as good as not written.
        """
        step, most, listed = (self.analysis.get(key) for key in ("stepWeight", "maxWeight", "stepWeights"))
        weights = [(item.number(1, 100, whole=True), item) for item in listed.items()] if listed is not None else []
        width = step.number(0, 100, whole=True) if step is not None else 0
        greatest = (most.number(0, 100, whole=True) if most is not None else 0) or 100
        if weights:
            greatest = weights[-1][0]
            if most is not None and most.value:
                self.draft.note(most, "not carried over: maxWeight, because the last of stepWeights is the greatest.")
        if not width and not weights:
            raise self.analysis.wrong('one of "stepWeight", "stepWeights" and "iterations"')
        if not width or step is None:
            yield from weights
            return
        if listed is not None and weights:
            self.draft.note(listed, "not carried over: stepWeights but the last, because Flagger counts by stepWeight.")
        weight = 0.0
        while weight < greatest:
            weight = min(weight + width, 100)
            yield weight, step

    def _metric(self, metric: Item) -> None:
        name = metric.get("name")
        if name is None:
            raise metric.wrong('a metric with a "name"')
        self.draft.rest(metric.table(), ("name", "interval", "thresholdRange", "templateRef", "templateVariables",
                                         "query", "threshold"))  # fmt: skip
        limits = self._range(metric)
        if not limits:
            self.draft.note(metric, f"the metric {name.shown()} has no equivalent: it has no thresholdRange.")
            return
        window = self._interval(metric, self.interval)
        reference, inline = metric.get("templateRef", "name"), metric.get("query")
        if reference is None and inline is None:
            if name.text() not in BUILT_IN:
                self.draft.note(metric, f"the metric {name.shown()} has no equivalent: it has no query.")
                return
            called, suffix = BUILT_IN[name.value]
            for limit in limits:
                self.draft.add_row(metric, called, {"target": f"{limit}{suffix}", "window": format_duration(window)})
            return
        query = self._query(metric, reference, inline)
        if query is None:
            return
        row = {"target": "", "window": format_duration(window), "query": query}
        for limit in limits:
            called = name.text() + ("" if len(limits) == 1 else "-min" if limit.startswith(">") else "-max")
            self.draft.add_row(metric, called, {**row, "target": limit})

    def _range(self, metric: Item) -> list[str]:
        """The limits of the range, whose ends are inside. The old ``threshold`` was the least success, or the most."""
        found = []
        for key, op in (("min", ">="), ("max", "<=")):
            item = metric.get("thresholdRange", key)
            if item is not None:
                found.append(f"{op} {plain(f'{item.number(-1e15, 1e15):.15g}')}")
        old = metric.get("threshold")
        if old is not None and not found:
            least = (metric.get("name") or metric).value == "request-success-rate"
            found.append(f"{'>=' if least else '<='} {plain(f'{old.number(-1e15, 1e15):.15g}')}")
        return found

    def _query(self, metric: Item, reference: Item | None, inline: Item | None) -> str | None:
        source = inline
        if reference is not None:
            template = self.manifests.named(reference.text(), "MetricTemplate")
            if template is None:
                self.draft.note(reference, f"the template {reference.shown()} is in none of these files: "
                                           "its metric is missing.")  # fmt: skip
                return None
            kind, address = template.get("spec", "provider", "type"), template.get("spec", "provider", "address")
            if kind is None or kind.value != "prometheus":
                self.draft.note(kind or template, f"the provider {(kind or template).shown()} has no equivalent: "
                                                  "rows ask Prometheus.")  # fmt: skip
                return None
            self.draft.rest((template.get("spec", "provider") or template).table(), ("type", "address"))
            self.draft.rest((template.get("spec") or template).table(), ("provider", "query"))
            source = template.get("spec", "query")
            if source is None:
                raise template.wrong("a MetricTemplate with spec.query")
            if address is not None:
                self.draft.point_at(address)
        assert source is not None, "the caller has a reference or a query"
        known = self._variables(metric)
        missing = [name for name in _VARIABLE.findall(source.text()) if name not in known]
        filled = _VARIABLE.sub(lambda found: known.get(found[1], ""), source.text())
        if missing or "{{" in filled:
            what = ", ".join(missing) or "another template"
            self.draft.note(source, f"has no equivalent: {what} has no value in these files; the metric is left out.")
            return None
        return one_query(filled)

    def _variables(self, metric: Item) -> dict[str, str]:
        paths = {"name": ("metadata", "name"), "namespace": ("metadata", "namespace"),
                 "target": ("spec", "targetRef", "name"), "ingress": ("spec", "ingressRef", "name")}  # fmt: skip
        found = {key: str(item.value) for key, path in paths.items() if (item := self.canary.get(*path)) is not None}
        service = self.canary.get("spec", "service", "name")
        if service is not None or "target" in found:
            found["service"] = str(service.value) if service is not None else found["target"]
        own = metric.get("templateVariables")
        for key, item in own.table().items() if own is not None else ():
            found[f"variables.{key}"] = str(item.value)
        return {**found, "interval": "$window"}

"""The counters, gauges and histograms of one stage, by name and labels, in a registry of its own."""

import threading
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Metric = TypeVar("Metric", Counter, Gauge, Histogram)

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# Sites and sensors are names from outside: past this many label sets of a metric, all further ones are "other".
MAX_LABEL_SETS = 1_000


class Metrics:
    """A stage's metrics, each there from the first time that it is named."""

    def __init__(self, stage_name: str) -> None:
        self.stage_name = stage_name
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        self._children: dict[str, dict[tuple[tuple[str, str], ...], Counter | Gauge | Histogram]] = {}
        self._making = threading.Lock()  # outputs report from a thread each

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter; `name` without the `_total` that Prometheus appends."""
        self._child(Counter, name, labels).inc(amount)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(Gauge, name, labels).set(value)

    def gauge_function(self, name: str, function: Callable[[], float], **labels: str) -> None:
        """A gauge whose value `function` gives, each time it is scraped."""
        self._child(Gauge, name, labels).set_function(function)

    def histogram(self, name: str, **labels: str) -> None:
        """A histogram that is there before its first value."""
        self._child(Histogram, name, labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Put a value (seconds) into a histogram."""
        self._child(Histogram, name, labels).observe(value)

    def _child(self, kind: type[Metric], name: str, labels: dict[str, str]) -> Metric:
        children = self._children.setdefault(name, {})
        key = tuple(sorted(labels.items()))
        child = children.get(key)
        if child is None:
            with self._making:
                child = self._new_child(kind, name, labels)
                if len(children) < MAX_LABEL_SETS:
                    children[key] = child
        assert isinstance(child, kind)  # noqa: S101 - one name, one kind: a mistake of ours
        return child

    def _new_child(self, kind: type[Metric], name: str, labels: dict[str, str]) -> Metric:
        metric = self._metrics.get(name)
        if metric is None:
            text, names = name.replace("_", " "), sorted(labels)
            if kind is Histogram:
                metric = Histogram(name, text, names, registry=self.registry, buckets=BUCKETS)
            else:
                metric = kind(name, text, names, registry=self.registry)
            self._metrics[name] = metric
        assert isinstance(metric, kind)  # noqa: S101 - as above
        if not labels:
            return metric
        if len(self._children[name]) >= MAX_LABEL_SETS:
            labels = {label: value if label == "stage" else "other" for label, value in labels.items()}
        return metric.labels(**labels)

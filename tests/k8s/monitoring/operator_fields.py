"""What the Prometheus operator takes of the kinds that the component has: written after the fields it documents.

Of its API reference (monitoring.coreos.com/v1; read of versions 0.82 and 0.91) the fields
that may stand in these manifests. One that is in none of these tables is refused, as a strict `kubectl apply` does.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Takes = Callable[[Any], bool]

DURATION = re.compile(r"0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?")


def is_text(value: Any) -> bool:
    """A string; YAML makes numbers and booleans of some that were meant as one."""
    return isinstance(value, str)


def is_name(value: Any) -> bool:
    """A string that is not empty."""
    return isinstance(value, str) and value != ""


def is_duration(value: Any) -> bool:
    """Such as 90s or 1h30m."""
    return isinstance(value, str) and DURATION.fullmatch(value) is not None


def is_texts(value: Any) -> bool:
    """Strings by name."""
    return isinstance(value, dict) and all(map(is_text, value.values()))


def is_expression(value: Any) -> bool:
    """PromQL, or a number."""
    return isinstance(value, str | int) and not isinstance(value, bool)


RULE: dict[str, Takes] = {
    **{"alert": is_name, "record": is_name, "expr": is_expression},
    **{"for": is_duration, "keep_firing_for": is_duration, "labels": is_texts, "annotations": is_texts},
}
GROUP: dict[str, Takes] = {"name": is_name, "interval": is_duration, "query_offset": is_duration, "labels": is_texts}
MONITOR: dict[str, Takes] = {"jobLabel": is_text}
SELECTOR: dict[str, Takes] = {"matchLabels": is_texts}
ENDPOINT: dict[str, Takes] = {
    **{"port": is_name, "path": is_text, "interval": is_duration, "scrapeTimeout": is_duration},
    "honorLabels": lambda value: isinstance(value, bool),
}


def faults(manifest: Mapping[str, Any]) -> list[str]:
    """Why the operator would refuse a PrometheusRule or a PodMonitor; empty where it takes it."""
    spec = manifest.get("spec")
    if manifest.get("apiVersion") != "monitoring.coreos.com/v1" or not isinstance(spec, dict):
        return ["apiVersion, spec: expected monitoring.coreos.com/v1 with a spec"]
    of_kind = {"PrometheusRule": _of_rules, "PodMonitor": _of_monitor}
    return list(of_kind[manifest["kind"]](spec))


def _of_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown("spec", {name: each for name, each in spec.items() if name != "groups"}, {})
    names = [group.get("name") for group in spec.get("groups", [])]
    if len(names) != len(set(names)):
        yield "groups: expected each name once"
    for group in spec.get("groups", []):
        yield from _unknown("group", {name: each for name, each in group.items() if name != "rules"}, GROUP, "name")
        for rule in group.get("rules", []):
            yield from _unknown("rule", rule, RULE, "expr")
            if ("alert" in rule) == ("record" in rule):
                yield f"rule {rule}: expected one of alert and record"
            if "record" in rule and {"for", "keep_firing_for", "annotations"} & set(rule):
                yield f"rule {rule}: expected an alert for what only alerts have"


def _of_monitor(spec: Mapping[str, Any]) -> Iterator[str]:
    parts = ("selector", "podMetricsEndpoints")
    yield from (f"spec: expected {name}" for name in parts if name not in spec)
    yield from _unknown("spec", {name: each for name, each in spec.items() if name not in parts}, MONITOR)
    yield from _unknown("selector", spec.get("selector", {}), SELECTOR)
    for endpoint in spec.get("podMetricsEndpoints", []):
        yield from _unknown("endpoint", endpoint, ENDPOINT, "port")


def _unknown(where: str, got: Mapping[str, Any], fields: Mapping[str, Takes], *required: str) -> Iterator[str]:
    yield from (f"{where}: expected {name}" for name in required if name not in got)
    for name, value in got.items():
        if name not in fields:
            yield f"{where}: got the field {name}, expected one of {', '.join(fields)}"
        elif not fields[name](value):
            yield f"{where}.{name}: got {value!r}"

"""`forebay model evaluate --protocol baselines`: sensors nobody knew, by their own baselines alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from rich.table import Table

from pipeline.errors import Usage
from pipeline.settings import load_settings
from pipeline.tools.cli.model_options import refusals, registry_of
from pipeline.tools.cli.output import emit, say
from pipeline.tools.cli.progress import progress
from pipeline.tools.cli.table import table

if TYPE_CHECKING:
    from pipeline.alert.grouping import Grouping
    from pipeline.tools.offline.baselines.boiling_frog import Frog
    from pipeline.tools.offline.baselines.captures import Capture, HostilePackets
    from pipeline.tools.offline.baselines.figures import Contaminated, NetworkFigures, Replaced

FILE = "baselines.json"
FROGS = (("bottom", "SSH logins"), ("left", "SSH logins"), ("left", "scan of several"))
"""Sensors and attacks that made-up flows creep to: those with flows that a distance alone finds."""


REPLACED = (("4SICS-151020", "slips-test2-malicious"), ("4SICS-151020", "iot-23-34-1"))
"""Networks of which the second begins at the sensor of the first."""
WEEK_DAYS, WEEK_SEED = 7.0, 1
"""As `forebay load plant` has them by default."""


def evaluate_baselines(model: str, registry: str | None, data: Path | None, out: Path | None, quiet: bool) -> None:
    """Every capture of a folder of data sets from its first flow, one attack inside learning, and the boiling frog."""
    from models.serving import registry as models
    from pipeline.alert.grouping import load_grouping
    from pipeline.tools.offline.baselines.boiling_frog import frogs
    from pipeline.tools.offline.baselines.captures import captures_in, westermo
    from pipeline.tools.offline.baselines.figures import contamination, network_figures, replacement

    if data is None:
        raise Usage("--data: baselines reads captures of other plants; name their folder")
    settings = load_settings()
    with refusals():
        loaded = models.load(model, registry_of(registry))
        captures = [*captures_in(data, hostile_packets), _week()]
        networks, contaminated, crept = list["NetworkFigures"](), list["Contaminated"](), list["Frog"]()
        total = len(captures) + 2 + len(FROGS)
        of_name = {capture.name: capture for capture in captures}
        pairs = [names for names in REPLACED if set(names) <= of_name.keys()]
        networks_replaced = [replacement(of_name[one], of_name[other], settings, loaded) for one, other in pairs]
        with progress("baselines", quiet) as show:
            for capture in captures:
                networks.append(network_figures(capture, settings, loaded))
                show(len(networks), total)
            for number, sensor in enumerate(("left", "bottom"), start=1):
                contaminated += contamination(westermo(sensor), settings, loaded)
                show(len(networks) + number, total)
            for number, (sensor, attack) in enumerate(FROGS, start=3):
                crept += frogs(westermo(sensor), attack, settings)
                show(len(networks) + number, total)
    rule = opening_rule(load_grouping())
    tables = (
        _networks(networks),
        _pages(networks),
        _attacks(networks),
        _fitted(networks),
        _contaminated(contaminated),
        _crept(crept),
    )
    for each in (*tables, _replaced(networks_replaced)):
        say(each, quiet)
        say("", quiet)
    for network in networks:
        if network.incidents_of:
            kinds = ", ".join(f"{kind} {count}" for kind, count in network.incidents_of.items())
            say(f"{network.network}, incidents with flows of: {kinds}; of nothing {network.false}", quiet)
    say(f"An incident opens {rule}.", quiet)
    document: dict[str, Any] = {
        "model": loaded.id,
        "opening_rule": rule,
        "networks": [each.document() for each in networks],
        "contamination": [each.document() for each in contaminated],
        "boiling_frog": [each.document() for each in crept],
        "replaced": [each.document() for each in networks_replaced],
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / FILE).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    emit(document)


def _week() -> Capture:
    """A week of the generated plant as one sensor sees it."""
    from loadtest.plants.generated.plant import Plan, plant_of, write_plant
    from pipeline.tools.offline.baselines.captures import generated

    plant = plant_of(Plan(WEEK_DAYS, WEEK_SEED))
    with tempfile.TemporaryDirectory(prefix="forebay-plant-") as folder:
        write_plant(plant, Path(folder))
        return generated(Path(folder), plant.sensors[0])


def hostile_packets(folder: Path, name: str) -> HostilePackets:
    """The hostile packets of one of Lemay's captures."""
    from models.lab.tables import lemay
    from pipeline.tools.offline.baselines.captures import HostilePackets

    packets, hostile = lemay.hostile_packets(folder, name)
    fields = ("time_us", "source", "destination", "source_port", "destination_port")
    return HostilePackets(**{field: getattr(packets, field)[hostile] for field in fields})


def opening_rule(grouping: Grouping) -> str:
    """From what on suspects are an incident, in words."""
    alone = ", ".join(evidence.replace("_", " ").replace(" + ", " and ") for evidence in grouping.opening_evidence)
    ports = len(grouping.opening_ports)
    return f"from {grouping.open_count} suspects on, or with one of: {alone}; a new use of one of {ports} ports"


def _hours(hours: float | None) -> str:
    return "-" if hours is None else f"{hours:.2f}"


def _networks(networks: list[NetworkFigures]) -> Table:
    head = ["network", "clock", "hours", "flows", "learnt at", "anchored", "kinds", "usual", "relations", "usual"]
    rows = []
    for each in networks:
        suspects = "-" if each.suspects_percent is None else f"{each.suspects_percent:.2f}"
        false_a_day = _a_day(each.false_a_day)
        counts = [each.kinds, each.usual_kinds, each.relations, each.usual_relations]
        times = [_hours(each.hours), each.flows, _hours(each.learnt_h), _hours(each.anchored_h)]
        rows.append([each.network, each.clock, *times, *counts, suspects, each.incidents, each.false, false_a_day])
    return table([*head, "suspects %", "incidents", "false", "a day"], rows)


def _pages(networks: list[NetworkFigures]) -> Table:
    rows = []
    for each in networks:
        attacks, paged = (sum(getattr(attack, name) for attack in each.attacks) for name in ("attacks", "paged"))
        a_day = _a_day(each.pages_without_attack_a_day)
        rows.append(
            [each.network, each.incidents, each.pages, each.pages_without_attack, a_day, f"{paged} of {attacks}"]
        )
    return table(["network", "incidents", "pages", "without attack", "a day", "attacks paged"], rows)


def _a_day(count: float | None) -> str:
    return "-" if count is None else f"{count:.1f}"


def _attacks(networks: list[NetworkFigures]) -> Table:
    rows = []
    for network in networks:
        for attack in network.attacks:
            seconds = sorted(attack.seconds)
            median = f"{seconds[len(seconds) // 2]:.1f}" if seconds else "-"
            most = f"{seconds[-1]:.1f}" if seconds else "-"
            rows.append([network.network, attack.kind, attack.attacks, attack.found, median, most, attack.paged])
    return table(["network", "attack", "after learning", "found", "seconds, median", "most", "paged"], rows)


def _fitted(networks: list[NetworkFigures]) -> Table:
    rows = []
    for network in networks:
        fitted = network.fitted
        if fitted is None:
            continue
        compared = fitted.comparison
        found = ", ".join(f"{each.kind} {each.before}, {each.after} of {each.attacks}" for each in fitted.attacks)
        rows.append(
            [
                *(network.network, compared["fitted_on"], compared["aside"], f"{fitted.added_percent:.2f}"),
                f"{compared['added_an_hour']:.2f}",
                *(fitted.outcome, f"{fitted.hours:.1f}", *(f"{percent:.2f}" for percent in fitted.suspects_percent)),
                *(*fitted.incidents, *fitted.false, found or "-"),
            ]
        )
    head = ["network", "fitted to", "compared on", "added %", "an hour", "outcome", "later h", "suspects %", "with it"]
    return table([*head, "incidents", "with it", "false", "with it", "attacks found, with it"], rows)


def _contaminated(contaminated: list[Contaminated]) -> Table:
    rows = [
        [
            each.sensor,
            each.inside,
            each.attacks or "-",
            *(f"{one.found}/{one.attacks}" for one in each.later),
            each.false,
        ]
        for each in contaminated
    ]
    return table(["sensor", "inside learning", "worst of", "later MITM", "scans", "SSH", "false"], rows)


def _crept(crept: list[Frog]) -> Table:
    rows = [
        [
            *(each.sensor, each.attack, each.ramp, f"{each.distance:.2f}", each.flows, f"{each.shown_percent:.0f}"),
            "-" if each.first is None else f"{each.first:.2f}",
        ]
        for each in crept
    ]
    return table(["sensor", "towards", "ramp", "distance", "flows at full attack", "shown %", "first at"], rows)


def _replaced(networks: list[Replaced]) -> Table:
    rows = [[each.networks, _hours(each.noticed_h), _hours(each.learnt_h), *each.incidents] for each in networks]
    return table(["networks", "noticed after h", "learnt after h", "incidents before", "until learnt", "later"], rows)

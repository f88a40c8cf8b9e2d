"""What captures come to, from flows to pages, as docs/alerts.md has it: `python -m tests.docs.alert_figures` writes it.

A minute or two; the captures of other plants lie in the folder that FOREBAY_TEST_DATA names.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loadtest.plants.westermo import traffic
from pipeline.alert.grouping import load_grouping
from pipeline.alert.pages import PAGE
from pipeline.alert.partition import advance_sensors
from pipeline.alert.sensor_state import SensorState
from pipeline.contracts.class_names import NORMAL
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.incident_joining import joined
from pipeline.featurize.feature_sets import named
from pipeline.ingest.files.offline_rows import Decoded, decode_file
from pipeline.settings import Settings, load_settings
from pipeline.tools.offline import flow_file
from pipeline.tools.offline.baselines.captures import HARMLESS, SITE, UNKNOWN, UNTRUE, WESTERMO_KINDS
from pipeline.tools.offline.baselines.replayed import attacks_of, clock_of
from pipeline.tools.offline.naming_figures import iot_23_details
from tests.real_records import FOLDER

PAGE_OF_DOCS = Path(__file__).resolve().parents[2] / "docs" / "alerts.md"
TABLE = re.compile(r"(<!-- table: captures \(python -m tests\.docs\.alert_figures\) -->\n).*?(<!-- end -->)", re.DOTALL)
SECOND_US = 1_000_000
LONG_AGO_US, LATER_THAN_ALL_US = 2**51, 2**62
HEAD = (
    *("capture", "flows", "suspects", "incidents", "pages", "false incidents", "false pages"),
    *("attacks found", "paged", "seconds to the page: median", "most"),
)

Strings = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Watched:
    """What a sensor's flows came to: scored rows, the kind (n,) of each, the last event of every alert.

    page_us: by alert, when its first revision that pages came, in event time.
    """

    rows: pa.RecordBatch
    kind: Strings
    alerts: Sequence[Mapping[str, Any]]
    page_us: Mapping[str, int]


class Attack(NamedTuple):
    """An attack, of whatever sensor saw it: when its first flow started, and the alerts that hold a flow of it.

    alerts: each with when its first flow of the attack ended.
    """

    start_us: int
    alerts: Mapping[str, int]


def watched(decoded: Decoded, kinds: Strings, settings: Settings) -> Watched:
    """A sensor's flows through the stages; kinds: (records,) of its file."""
    done = flow_file.score(flow_file.featurize(decoded, settings, named(settings.feature_set)), settings)
    record = done.rows.column("source_record").to_numpy(zero_copy_only=False).astype(np.int64)
    return Watched(done.rows, kinds[record], done.incidents, page_times(done.rows, settings))


def page_times(rows: pa.RecordBatch, settings: Settings) -> dict[str, int]:
    """By alert, when its first revision that pages came: one message a second of event time, as live."""
    suspects = rows.filter(rows.column("suspect"))
    end_us = suspects.column("end_ts_us").to_numpy()
    second = np.maximum.accumulate(end_us) // SECOND_US
    starts = [*np.flatnonzero(np.diff(second, prepend=-1)).tolist(), len(second)]
    sensors: dict[SensorName, SensorState] = {}
    times: dict[str, int] = {}
    grouping = load_grouping()
    for first, until in pairwise(starts):
        message = suspects.slice(first, until - first)
        moved = advance_sensors(sensors, message, (), (), grouping, pages_of=settings.pages_of)
        for incident, _, _ in moved.changes:
            if incident.judged.disposition == PAGE:
                times.setdefault(incident.uid, incident.emitted_clock_us)
    return times


def attacks(sensors: Iterable[Watched]) -> list[Attack]:
    """The attacks of a plant: flows of one kind of attack without a gap of more than a minute, at any sensor."""
    seen = list(sensors)
    holds: list[list[str]] = []
    for each in seen:
        of_record = {
            int(record): str(alert["finding_info"]["uid"])
            for alert in each.alerts
            for *_, record in alert["unmapped"]["members"]
        }
        holds.append([of_record.get(int(record), "") for record in each.rows.column("source_record").to_pylist()])
    kind = np.concatenate([each.kind for each in seen])
    alert = np.array([uid for of_sensor in holds for uid in of_sensor])
    start_us, end_us = (
        np.concatenate([each.rows.column(name).to_numpy() for each in seen]) for name in ("start_ts_us", "end_ts_us")
    )
    found = []
    for name in sorted({*kind.tolist()} - {*HARMLESS}):
        for rows in attacks_of(kind, start_us, end_us, (name,)):
            first: dict[str, int] = {}
            for at in rows[np.argsort(end_us[rows], kind="stable")].tolist():
                if alert[at]:
                    first.setdefault(str(alert[at]), int(end_us[at]))
            found.append(Attack(int(start_us[rows].min()), first))
    return found


def seconds_to_page(attack: Attack, page_us: Mapping[str, int]) -> float | None:
    """From the start of its first flow to the page that holds a flow of it; None where none pages."""
    known = [max(first_us, page_us[uid]) for uid, first_us in attack.alerts.items() if uid in page_us]
    return (min(known) - attack.start_us) / 1e6 if known else None


def figures(sensors: Sequence[Watched]) -> list[str]:
    """A capture's row of the table, all sensors of it as one."""
    incidents = joined(alert for each in sensors for alert in each.alerts)
    labelled = {
        str(alert["finding_info"]["uid"])
        for each in sensors
        for alert in each.alerts
        if _kinds_of(alert, each) - {*UNTRUE}
    }
    false = [incident for incident in incidents if not labelled & {*incident.uids}]
    page_us = {uid: at_us for each in sensors for uid, at_us in each.page_us.items()}
    of_attacks = attacks(sensors)
    paged = [seconds for each in of_attacks if (seconds := seconds_to_page(each, page_us)) is not None]
    counts = (
        sum(each.rows.num_rows for each in sensors),
        sum(int(np.count_nonzero(each.rows.column("suspect"))) for each in sensors),
        len(incidents),
        sum(incident.is_page for incident in incidents),
    )
    is_labelled = any((each.kind != UNKNOWN).any() for each in sensors)
    truth = (len(false), sum(incident.is_page for incident in false)) if is_labelled else ("not labelled", "")
    of_all = [f"{sum(bool(each.alerts) for each in of_attacks)} of {len(of_attacks)}", len(paged)] if of_attacks else []
    times = [f"{median(paged):.1f}", f"{max(paged):.1f}"] if paged else []
    row = [*(f"{count:,}" for count in counts), *truth, *of_all, *times]
    return [str(cell) for cell in row] + [""] * (len(HEAD) - 1 - len(row))


def _kinds_of(alert: Mapping[str, Any], sensor: Watched) -> set[str]:
    members = {record for *_, record in alert["unmapped"]["members"]}
    held = np.isin(sensor.rows.column("source_record").to_numpy(zero_copy_only=False), list(members))
    return {*sensor.kind[held].tolist()}


def _decoded(path: Path, site: str, sensor: str) -> Decoded:
    return decode_file(path, site=site, sensor=sensor, ingest_ts_us=LONG_AGO_US, max_future_us=LATER_THAN_ALL_US)


def _westermo(site: str, settings: Settings, after_cut: bool) -> Iterator[Watched]:
    for sensor in traffic.SENSORS:
        with TemporaryDirectory() as folder:
            path = traffic.zipped(sensor)
            labels = [row[traffic.LABEL] for row in traffic.rows(sensor)]
            if after_cut:
                path = Path(folder) / f"{sensor}.csv"
                traffic.write_after_cut(sensor, path)
                labels = traffic.labels(path)
            kinds = np.array([WESTERMO_KINDS[label] for label in labels])
            yield watched(_decoded(path, site, sensor), kinds, settings)


def _other(path: str, settings: Settings) -> Iterator[Watched]:
    file = FOLDER / path
    decoded = _decoded(file, SITE, "edge-1")
    if file.name.endswith(".conn.log.labeled"):
        kinds = np.array([NORMAL if is_benign else detail for is_benign, detail in iot_23_details(file)])
    else:
        kinds = np.full(decoded.flows.num_rows, UNKNOWN)
    yield watched(decoded, kinds, settings)


def captures() -> Iterator[tuple[str, list[Watched]]]:
    """The captures of the table, by their name there."""
    settings = load_settings()
    yield "Westermo's day, 1 h 30 min, two sensors", [*_westermo(traffic.SITE, settings, after_cut=False)]
    yield "... its 41 min that the model was not trained on", [*_westermo(traffic.SITE, settings, after_cut=True)]
    learning = clock_of(max(event.end_us for event in traffic.events()) - traffic.FIRST_FLOW_US).learning
    scaled = settings.model_copy(update={"learning": learning})
    yield "... of a plant that nobody knew", [*_westermo(SITE, scaled, after_cut=False)]
    yield "4SICS, 7 h", [*_other("formats/zeek-tsv/4SICS-151020/conn.log", settings)]
    yield "Slips test 2, 24 h", [*_other("formats/argus/slips-test2-malicious.binetflow", settings)]
    yield "IoT-23 34-1, 24 h", [*_other("iot-23/CTU-IoT-Malware-Capture-34-1.conn.log.labeled", settings)]


def table() -> str:
    """The table, in Markdown."""
    lines = [[*HEAD], ["---"] * len(HEAD), *([name, *figures(sensors)] for name, sensors in captures())]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    made = table()
    text = PAGE_OF_DOCS.read_text(encoding="utf-8")
    PAGE_OF_DOCS.write_text(TABLE.sub(lambda match: match[1] + made + match[2], text), encoding="utf-8")

"""Golden alerts from real captures: `python -m tests.alert.golden_alerts` writes them anew, to be read by a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from pipeline.alert.facts import facts_of
from pipeline.alert.incident import Incident
from pipeline.alert.members import members_of
from pipeline.featurize.feature_sets import named
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.settings import load_settings
from pipeline.tools.offline import flow_file
from schemas.learning import Learning
from tests.real_records import FOLDER

HERE = Path(__file__).parent / "golden" / "alerts.json"
PLANT = Path(__file__).parents[2] / "loadtest" / "plants" / "westermo"
A_DAY_S = 86_400
INGEST_TS_US = 4_102_444_800_000_000
"""Later than every capture."""


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture, and which of the incidents in it are golden, by their place in the order they opened.

    path: below FOREBAY_TEST_DATA, or a file of the repository. learning_s: for how long the sensor learns; the captures
    are short. chosen: empty where the flows are told as one incident, since nothing in so short a file is unusual.
    """

    name: str
    path: str
    site: str
    sensor: str
    chosen: tuple[int, ...] = ()
    learning_s: int = 7_200

    @property
    def file(self) -> Path:
        """The file."""
        own = PLANT / self.path
        return own if own.exists() else FOLDER / self.path

    def readable(self, folder: Path) -> Path:
        """The file; of logs whose times are masked, copies in `folder` that have one."""
        if "icsnpp" not in self.path:
            return self.file
        for log in self.file.iterdir():
            (folder / log.name).write_bytes(log.read_bytes().replace(b"XXXXXXXXXX.XXXXXX", b"1700000000.000000"))
        return folder


CAPTURES = (
    Capture("westermo left", "output_left.zip", "westermo", "left", (0, 1, 2, 3, 7)),
    Capture("westermo bottom", "output_bottom.zip", "westermo", "bottom", (0, 1, 2)),
    Capture("4SICS", "formats/zeek-tsv/4SICS-151020/conn.log", "4sics", "conn", (0, 1, 2, 5, 7, 8), 600),
    Capture("IoT-23 34-1", "iot-23/CTU-IoT-Malware-Capture-34-1.conn.log.labeled", "iot", "34-1", (0, 3, 5), 600),
    Capture("Slips test 2", "formats/argus/slips-test2-malicious.binetflow", "slips", "test2", (0, 1), 60),
    Capture("ICSNPP Modbus", "formats/zeek-icsnpp/modbus/analyzer.basic", "icsnpp", "modbus"),
    Capture("ICSNPP S7", "formats/zeek-icsnpp/s7comm/analyzer.snap7", "icsnpp", "s7"),
    Capture("ICSNPP DNP3", "formats/zeek-icsnpp/dnp3/analyzer.basic", "icsnpp", "dnp3"),
)


def alerts_of(capture: Capture) -> list[dict[str, Any]]:
    """The golden alerts of a capture as they are now."""
    learning = Learning(least_s=capture.learning_s, most_s=max(capture.learning_s, A_DAY_S))
    settings = load_settings().model_copy(update={"learning": learning})
    with TemporaryDirectory() as folder:
        decoded = decode_file(
            capture.readable(Path(folder)),
            site=capture.site,
            sensor=capture.sensor,
            ingest_ts_us=INGEST_TS_US,
            max_future_us=settings.max_future_us,
        )
    done = flow_file.score(flow_file.featurize(decoded, settings, named(settings.feature_set)), settings)
    if not capture.chosen:
        return [{"capture": capture.name, "incident": None, "says": _all_as_one(capture, done)}]
    return [
        {
            "capture": capture.name,
            "incident": number,
            "severity": event["severity"],
            "title": event["finding_info"]["title"],
            "says": event["message"],
        }
        for number, event in enumerate(done.incidents)
        if number in capture.chosen
    ]


def _all_as_one(capture: Capture, done: flow_file.FlowFile) -> str:
    incident = Incident("0" * 32, capture.site, capture.sensor, "\x1f", "", 0, 0)
    incident.absorb(members_of(done.rows))
    return facts_of(incident).says


def write(alerts: Sequence[dict[str, Any]]) -> None:
    """Write the golden alerts."""
    HERE.write_bytes(orjson.dumps(alerts, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    write([alert for each in CAPTURES for alert in alerts_of(each)])

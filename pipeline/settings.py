"""The only file that reads the environment: typed, frozen settings (environment > one YAML file > defaults)."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from pipeline.errors import Misconfigured
from schemas.calendars import Calendar
from schemas.topics import TopicNames

Positive = Annotated[int, Field(gt=0)]
Uri = Annotated[str, BeforeValidator(lambda given: str(given) if isinstance(given, Path) else given)]


class Settings(BaseSettings):
    """Everything that can be set. `FOREBAY_<NAME>` in the environment wins over the file `FOREBAY_CONFIG` names."""

    model_config = SettingsConfigDict(env_prefix="FOREBAY_", env_nested_delimiter="__", frozen=True, extra="forbid")

    # Kafka
    bootstrap: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, host:port[,host:port].")
    security: dict[str, str] = Field(
        default_factory=dict, description="librdkafka security properties (security.protocol, ssl.*, sasl.*)."
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
    instance_id: str = Field("0", description="Stable name of this worker (static membership, transactional id).")

    # Where things are kept
    state_uri: Path = Field(Path("var/state"), description="Folder of window and incident state.")
    archive_uri: Uri = Field(
        "var/archive",
        description="Where the Parquet archive lies: a folder, or s3://bucket/prefix?endpoint=...&region=...",
    )
    registry_uri: Path = Field(Path("var/models"), description="Folder of trained models.")
    replay_uri: Path = Field(Path("var/replays"), description="Folder of replays, one for each run.")
    samples_uri: Path = Field(Path("var/samples"), description="Folder of the samples retrain keeps.")

    # Event time
    lateness_us: int = Field(2_000_000, ge=0, description="How long a sensor's later flows may overtake earlier ones.")
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

    # Features
    feature_set: str = Field(
        "forebay-ics-1", description="Feature set featurize computes; the model must have been trained on it."
    )
    calendars: tuple[Calendar, ...] = Field(
        (),
        description="Shifts, weekends, maintenance windows that have baselines of their own (docs/features.md).",
    )

    # Sizes
    flows_rows: Positive = Field(4096, le=65_536, description="Most rows ingest puts into one flows message.")
    score_group_messages: Positive = Field(64, description="Most features messages scored in one transaction.")
    state_every_messages: Positive = Field(200, description="State is saved after this many messages ...")
    state_every_s: float = Field(1.0, gt=0, description="... or this long after the last save, if anything came.")
    state_kept_every_us: Positive = Field(
        3_600_000_000, description="Of the states saved, one is kept for replays about every so much event time ..."
    )
    state_kept: int = Field(
        73, ge=0, description="... and so many of them a partition; by default as far back as topic `flows`. 0: none."
    )
    samples_rows: Positive = Field(2_000_000, description="Samples kept for retraining; the oldest go first.")
    archive_rows_per_file: Positive = Field(131_072, description="A Parquet file is closed after this many rows.")

    # Scoring
    device: str = Field("auto", pattern="^(auto|cpu|cuda)$", description="Where the model runs.")
    model: str = Field(
        "", description="Model to start with: an id of the registry or a folder; empty: the shipped one."
    )
    threads: int = Field(1, ge=0, description="torch threads of score; 0 lets torch choose: for cores of its own.")

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
    metrics_port: int = Field(-1, ge=-1, le=65_535, description="Prometheus endpoint; 0 a free port, -1 none.")
    metrics_host: str = Field("127.0.0.1", description="Address the Prometheus endpoint listens on.")
    otlp_endpoint: str = Field("", description="OTLP/HTTP collector; empty: spans are not sent.")
    trace_file: Path | None = Field(None, description="Also write spans here, one JSON line each.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")

    @property
    def topics(self) -> TopicNames:
        """The topics' names in Kafka."""
        return TopicNames(self.topic_prefix)

    def lateness_of(self, site: str) -> int:
        """Lateness of a site, in microseconds."""
        return self.site_lateness_us.get(site, self.lateness_us)

    def stitch_of(self, site: str) -> int:
        """Stitching window of a site, in microseconds."""
        return self.site_stitch_us.get(site, self.stitch_us)

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
        if path is None:
            return init_settings, env_settings
        if not Path(path).is_file():
            raise Misconfigured(f"FOREBAY_CONFIG: got {path}, expected a YAML file that exists; create it or unset it")
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=path)


def load_settings(**overrides: object) -> Settings:
    """The settings, `overrides` (options given on the command line) first; Misconfigured names what is wrong."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "__".join(str(part) for part in first["loc"])
        raise Misconfigured(
            f"setting {name} (FOREBAY_{name.upper()}): got {first.get('input')!r}, {first['msg']}; "
            "`forebay config show` lists every setting"
        ) from error


def cache_folder() -> Path:
    """Where fetched jars are kept between runs: FOREBAY_CACHE, else XDG_CACHE_HOME/forebay, else ~/.cache/forebay."""
    chosen = os.environ.get("FOREBAY_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forebay"


def kafka_home() -> Path | None:
    """The unpacked Kafka that KAFKA_HOME names, if it names one."""
    chosen = os.environ.get("KAFKA_HOME")
    return Path(chosen) if chosen else None


def inherited_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process we start: our own, with these changes."""
    return {**os.environ, **changes}

"""What is known beside the alerts: devices and their map, sensors, models, replays. Read elsewhere, remembered here."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from confluent_kafka import KafkaException

from pipeline.alert.manifests import shipped_folder
from pipeline.contracts.notices import Notice
from pipeline.contracts.promotions import ledger_of
from pipeline.errors import ForebayError
from pipeline.runtime.kafka.tail import Follower
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.telemetry import log
from pipeline.settings import Settings
from pipeline.tools.alerts.incidents import Document
from pipeline.tools.assets.current import AssetsCache, CurrentAssets, read_current
from pipeline.tools.assets.known_devices import KnownDevices, with_names
from pipeline.tools.replay import request as replay_request
from pipeline.tools.sensors.histories import StoredNotice, histories, remarks
from pipeline.tools.sensors.histories import document as sensor_document
from pipeline.tools.triage.database import Connection, Database
from pipeline.tools.triage.figures.comparisons import last_comparison
from pipeline.tools.triage.figures.documents import ages, drift, sensor_figures, stage_documents
from pipeline.tools.triage.figures.watch import Known
from pipeline.tools.triage.incident_list import Filter, NotThere, words_of
from schemas.model_manifest import MAX_MANIFEST_BYTES, RefusedManifest, parse

REFRESH_S = 60.0
ASKED_S = 600.0
"""Devices are read again while somebody has asked within so long."""
MODELS_S = 30.0
PROMOTIONS_S = 5.0
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MANIFEST = "manifest.json"
MAX_LISTED = 1_000


class Plant:
    """Devices for lists, and maps: read by a thread of its own, so that no list waits for an archive."""

    def __init__(self, settings: Settings | None, read: Callable[[Settings], CurrentAssets] = read_current) -> None:
        self._cache = AssetsCache(lambda: read(settings), REFRESH_S) if settings is not None else None
        self._devices: KnownDevices = {}
        self._asked = threading.Event()
        self._asked_at = 0.0
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin to read in the background."""
        if self._cache is not None:
            threading.Thread(target=self._refresh, name="devices", daemon=True).start()

    def close(self) -> None:
        """Read no more."""
        self._stop.set()

    def devices(self) -> KnownDevices:
        """What is known of devices; nothing until it was read for the first time."""
        self._asked_at = time.monotonic()
        return self._devices

    def map(self, site: str) -> dict[str, Any]:
        """The map of a site; NotThere where no flow of it is known."""
        current = self._cache.current() if self._cache is not None else None
        found = current.map(site) if current is not None else None
        if found is None:
            raise NotThere(
                f"map of {site[:80]!r}: got no flows of that site, expected some in the archive; "
                "`forebay asset list` says what was read"
            )
        return {**found, "problem": "; ".join(current.not_read) if current is not None else ""}

    def _refresh(self) -> None:
        problem = ""
        while not self._stop.is_set():
            if self._cache is not None and (not self._asked_at or time.monotonic() - self._asked_at < ASKED_S):
                try:
                    self._devices = self._cache.current().devices()
                except (ForebayError, KafkaException, OSError) as error:
                    if str(error) != problem:
                        problem = str(error)
                        log("triage").warning("devices cannot be read; tried again", reason=problem)
            self._stop.wait(REFRESH_S)


def with_assets(document: Document, devices: KnownDevices) -> Document:
    """A document with what is known of the devices that it names, and their names in its sentences."""
    site, ends = document["site"], (*document["sources"], *document["targets"])
    found = ((address, devices.get((site, address))) for address in dict.fromkeys(ends))
    assets = [device.document(address) for address, device in found if device is not None]
    sentences = {name: with_names(document[name], assets) for name in ("title", "says")}
    return {**document, **sentences, "assets": assets}


def with_devices(asked: Filter, devices: KnownDevices) -> Filter:
    """What is asked for, with the devices whose names the words of its search are in, in the plant's own words."""
    if not asked.q or not devices:
        return asked
    names = [(where, device.name.casefold()) for where, device in devices.items() if device.name]
    return replace(asked, named={word: [where for where, name in names if word in name] for word in words_of(asked.q)})


def sensors(database: Database, settings: Settings | None, figures: Known) -> dict[str, Any]:
    """Sensors as the topic `baselines` knows them, and those that only alerts name; each with the stages' figures."""
    now_us = time.time_ns() // 1000
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT notice, written_us, partition_number FROM notices ORDER BY partition_number, message_offset"
        )
        alerting = _counts(connection)
    stored = [StoredNotice(Notice.of(orjson.loads(text)), int(at), int(number)) for text, at, number in rows]
    known = histories(stored)
    made = []
    for name, history in known.items():
        found = remarks(history, settings.learning_of(name[0]), now_us) if settings is not None else []
        own = sensor_figures(figures, name, history.last.partition, history.last.stored_us, now_us)
        made.append({**sensor_document(history, found), **own, "incidents": alerting.pop(name, 0)})
    for (site, sensor), count in sorted(alerting.items()):
        own = sensor_figures(figures, (site, sensor), None, None, now_us)
        made.append({"site": site, "sensor": sensor, **own, "incidents": count})
    stages = stage_documents(figures) if settings is not None else []
    return {"sensors": made[:MAX_LISTED], "total": len(made), "stages": stages, "at_us": now_us, **ages(figures)}


def _counts(connection: Connection) -> dict[tuple[str, str], int]:
    rows = connection.execute(
        "SELECT incidents.site, facets.value, COUNT(*) FROM facets JOIN incidents ON incidents.uid = facets.incident "
        "WHERE facets.kind = 'sensor' GROUP BY incidents.site, facets.value"
    )
    return {(str(site), str(sensor)): int(count) for site, sensor, count in rows}


def sites(database: Database) -> list[str]:
    """The sites that are known, in order."""
    with database.reading() as connection:
        rows = connection.execute("SELECT DISTINCT site FROM incidents UNION SELECT DISTINCT site FROM notices")
    return sorted(str(row[0]) for row in rows)


def models(database: Database, settings: Settings | None) -> dict[str, Any]:
    """The models that the registry holds or incidents name: what each was made of, which one holds, its incidents."""
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT facets.value, COUNT(*), MAX(incidents.last_us), MIN(incidents.first_us) FROM facets "
            "JOIN incidents ON incidents.uid = facets.incident WHERE facets.kind = 'model' GROUP BY facets.value"
        )
    named = {str(model): (int(count), int(last_us), int(first_us)) for model, count, last_us, first_us in rows}
    manifests, problem = _manifests(settings)
    current, unknown = _current(settings)
    compared = last_comparison(settings)
    made = []
    for name in sorted({*manifests, *named}):
        count, last_us, first_us = named.get(name, (0, None, None))
        manifest, place = manifests.get(name, ({}, ""))
        days = (last_us - first_us) / 86_400_000_000 if last_us is not None and first_us is not None else 0.0
        made.append(
            {
                "model": name,
                "current": name == current,
                "parent": manifest.get("parent"),
                "place": place,
                "feature_set": manifest.get("feature_set"),
                "calibrated": sorted(manifest.get("calibration") or {}),
                "incidents": count,
                "alerts_a_day": round(count / days, 1) if days >= 1 else None,
                "last_us": last_us,
                "comparison": compared if compared.get("candidate") == name else None,
            }
        )
    return {
        "models": made[:MAX_LISTED],
        "total": len(made),
        "problem": "; ".join(filter(None, (problem, unknown))),
        "no_comparison": compared.get("not_known", ""),
    }


def with_drift(answer: Mapping[str, Any], figures: Known) -> dict[str, Any]:
    """The models that are known, and how unusual what the current one scores has been lately."""
    found = drift(figures)
    models = [{**each, "drift": found if each["current"] else None} for each in answer["models"]]
    return {**answer, "models": models, "at_us": time.time_ns() // 1000, **ages(figures)}


def _manifests(settings: Settings | None) -> tuple[dict[str, tuple[Mapping[str, Any], str]], str]:
    """Manifests by model with where each lies, and what could not be read."""
    found: dict[str, tuple[Mapping[str, Any], str]] = {}
    problems = []
    shipped = shipped_folder()
    places = [(open_storage(shipped, "models"), MANIFEST, "shipped")] if shipped is not None else []
    try:
        if settings is not None:
            registry = open_storage(settings.registry_uri, "models")
            folders = [name for name in registry.folders("") if MODEL.fullmatch(name)] if registry.exists() else []
            places += [(registry, f"{name}/{MANIFEST}", registry.url(name)) for name in folders[:MAX_LISTED]]
    except (OSError, ForebayError) as error:
        problems.append(f"registry: {error}")
    for storage, name, place in places:
        try:
            if storage.size(name) <= MAX_MANIFEST_BYTES:
                manifest = parse(storage.read(name), storage.url(name))
                found.setdefault(str(manifest["id"]), (manifest, place))
        except (OSError, RefusedManifest) as error:
            problems.append(str(error))
    return found, "; ".join(problems)


def _current(settings: Settings | None) -> tuple[str | None, str]:
    """The model that holds by the promotions of the topic `models`; the one of the settings where there are none."""
    if settings is None:
        return None, ""
    try:
        follower = Follower(settings, "triage-models", settings.topics.models)
        try:
            ledger = ledger_of((message.value() for message in follower.catch_up(PROMOTIONS_S)), settings.partitions)
        finally:
            follower.close()
    except (ForebayError, KafkaException) as error:
        return None, f"promotions: {error}"
    if ledger.holding:
        return ledger.holding[-1].model, ""
    if settings.model:
        return settings.model, ""
    shipped = shipped_folder()
    manifest = orjson.loads((shipped / MANIFEST).read_bytes()) if shipped is not None else {}
    return manifest.get("id"), ""


def replays(settings: Settings | None) -> dict[str, Any]:
    """Replays that were run here, the newest first."""
    made: list[dict[str, Any]] = []
    folder = settings.replay_uri if settings is not None else None
    for run in folder.iterdir() if folder is not None and folder.is_dir() else ():
        try:
            asked = replay_request.read(run)
            if asked is None:
                continue
            report = run / replay_request.REPORT
            at_us = (run / replay_request.NAME).stat().st_mtime_ns // 1000
            document = orjson.loads(report.read_bytes()) if report.is_file() else {}
        except (OSError, ForebayError, orjson.JSONDecodeError):
            continue
        facts = {name: value for name, value in document.items() if isinstance(value, str | int | float | bool)}
        made.append({**facts, "name": run.name, "at_us": at_us, "state": "finished" if document else "not finished"})
    made.sort(key=lambda each: (-each["at_us"], each["name"]))
    return {"replays": made[:MAX_LISTED], "total": len(made)}


class Remembered:
    """An answer that takes long, for so many seconds; one asks again, the others wait for it."""

    def __init__(self, answer: Callable[[], dict[str, Any]], max_age_s: float = MODELS_S) -> None:
        self._answer, self._max_age_s = answer, max_age_s
        self._lock = threading.Lock()
        self._last: tuple[float, dict[str, Any]] | None = None

    def get(self) -> dict[str, Any]:
        """As known now, or a moment ago."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] >= self._max_age_s:
                self._last = time.monotonic(), self._answer()
            return self._last[1]

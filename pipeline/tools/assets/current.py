"""What is known of a plant's assets at this moment: the archive's flows, and the plant's labels from Kafka."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException

from pipeline.errors import Failed, ForebayError, KafkaUnreachable
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings, cache_folder
from pipeline.tools.assets import labels as label_topic
from pipeline.tools.assets.devices import SiteAssets, assets_of
from pipeline.tools.assets.documents import Asset, assets_in
from pipeline.tools.assets.edge_news import DAY_US, SiteEdge, edges_of, watch_of
from pipeline.tools.assets.known_devices import KnownDevice, known_devices
from pipeline.tools.assets.label import Labels
from pipeline.tools.assets.reading import Notify, Reading, read_inventory, retained_inventory
from pipeline.tools.assets.site_map import site_map

PATIENCE_S = 3.0
"""How long Kafka may take to answer before devices are listed without their names, as a query goes on without it."""


@dataclass(frozen=True, slots=True)
class CurrentAssets:
    """Sites and assets as they are known, what they were read from, and what could not be read, in sentences."""

    sites: dict[str, SiteAssets]
    assets: list[Asset]
    labels: Labels
    no_room: dict[tuple[str, str], int]
    not_read: list[str]
    rows: int = 0
    closed_files: int = 0
    open_rows: int | None = None

    def devices(self) -> dict[tuple[str, str], KnownDevice]:
        """What alerts say of devices."""
        return known_devices(self.labels, self.assets)

    def edges(self, window_us: int = DAY_US) -> list[SiteEdge]:
        """All sites' edges, new for `window_us`."""
        return [
            each
            for name, site in self.sites.items()
            for each in edges_of(site, self.assets, watch_of(self.no_room, name, window_us))
        ]

    def map(self, site: str, window_us: int = DAY_US) -> dict[str, Any] | None:
        """The map of a site, on which an edge is new for `window_us`; None where no flow of the site is known."""
        if site not in self.sites:
            return None
        return site_map(self.sites[site], self.assets, watch_of(self.no_room, site, window_us))


def read_current(
    settings: Settings,
    site: str | None = None,
    *,
    closed: bool = False,
    labels: Labels | None = None,
    notify: Notify | None = None,
) -> CurrentAssets:
    """All that the archive and Kafka know of assets, of one site or of all.

    closed: closed files alone, nothing of Kafka's. labels: instead of those in Kafka.
    Failed where the archive cannot be read; without Kafka there are no names, and `not_read` says so.
    """
    reading = read_inventory(settings.archive_uri, None if closed else settings, site, notify or _nobody, snapshots())
    if labels is not None or closed:
        return current_of(reading, labels or {}, [])
    return current_of(reading, *read_labels(settings))


def snapshots() -> Path:
    """Where inventories of closed files are retained, so that the next command reads only what is new."""
    return cache_folder() / "assets"


def current_of(reading: Reading, labels: Labels, problems: list[str]) -> CurrentAssets:
    """The assets of an inventory that was read, with the plant's labels."""
    sites = assets_of(reading.inventory)
    return CurrentAssets(
        sites,
        assets_in(sites.values(), labels),
        labels,
        reading.inventory.no_room,
        [*reading.not_read, *problems],
        reading.rows,
        reading.closed_files,
        reading.open_rows,
    )


def read_labels(settings: Settings) -> tuple[Labels, list[str]]:
    """What the plant calls its devices, or why that is not known."""
    try:
        clients.require_broker(settings, PATIENCE_S)
        return label_topic.read(settings), []
    except (Failed, KafkaUnreachable, KafkaException) as error:
        return {}, [f"names of the plant's: {error}"]


def devices_of(
    settings: Settings, *, read_archive: bool = True
) -> tuple[dict[tuple[str, str], KnownDevice], list[str]]:
    """What alerts say of devices by site and address, and what could not be read: alerts are listed without that.

    Roles are guessed from the archive's closed files; without `read_archive` from what was last read of these on this
    machine, by any command or by the page.
    """
    labels, problems = read_labels(settings)
    if not read_archive:
        retained = retained_inventory(settings.archive_uri, None, snapshots())
        return known_devices(
            labels, assets_in(assets_of(retained).values(), labels) if retained is not None else ()
        ), problems
    try:
        reading = read_inventory(settings.archive_uri, None, None, _nobody, snapshots())
    except (ForebayError, OSError) as error:
        return known_devices(labels), [*problems, f"roles of devices: {error}"]
    return current_of(reading, labels, problems).devices(), problems


@dataclass(slots=True)
class AssetsCache:
    """The current assets for a server: read again once they are older than `max_age_s`, by one thread at a time."""

    read: Callable[[], CurrentAssets]
    max_age_s: float = 60.0
    clock: Callable[[], float] = time.monotonic
    _last: tuple[float, CurrentAssets] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def current(self) -> CurrentAssets:
        """As known now, or at most `max_age_s` ago; others who ask while it is read wait for it."""
        with self._lock:
            if self._last is None or self.clock() - self._last[0] >= self.max_age_s:
                self._last = self.clock(), self.read()
            return self._last[1]


def _nobody(_rows: int, _total: int) -> None:
    """Is told how far reading got."""

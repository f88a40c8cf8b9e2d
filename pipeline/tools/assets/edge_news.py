"""Which edges are new, and which cross zones: only what the flows and the plant's labels bear out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.contracts.group_addresses import is_group_address
from pipeline.contracts.notice_words import moment
from pipeline.tools.assets.devices import Edge, Service, SiteAssets
from pipeline.tools.assets.documents import Asset
from pipeline.tools.assets.sightings import EDGES, PUBLIC

DAY_US = 86_400_000_000
OUTSIDE = "public addresses"
"""Where an edge with any public address ends: all of these are one."""


@dataclass(frozen=True, slots=True)
class News:
    """Since when an edge is there. is_new: None where nobody can know, since too little was seen before it."""

    is_new: bool | None
    says: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What is called new: first seen within `window_us` of its sensors' time, by sensors that had all seen flows for
    `watched_us` before. full: edges that found no room were forgotten, so that none can be called new.
    """

    window_us: int = DAY_US
    watched_us: int = DAY_US
    full: bool = False

    def news(self, edge: Edge, site: SiteAssets) -> News:
        """Whether an edge of a site is new, and the sentence; event time alone, no clock."""
        sensors = [site.sensors[name] for name in edge.sensors]
        first_us, age_us = edge.span.first_us, max(span.last_us for span in sensors) - edge.span.first_us
        start_us = max(span.first_us for span in sensors)
        seen = f"first seen {moment(first_us)}"
        if age_us >= self.window_us:
            return News(False, seen)
        if self.full:
            return News(None, f"{seen}; the table of edges is full, so it may have been there before")
        if first_us - start_us < self.watched_us:
            return News(None, f"{seen}; flows go back to {moment(start_us)} only, too short to call it new")
        return News(True, f"new: {seen}; flows go back to {moment(start_us)}")


def watch_of(
    no_room: Mapping[tuple[str, str], int], site: str, window_us: int = DAY_US, watched_us: int = DAY_US
) -> Watch:
    """The watch over a site; no_room: rows that found no room by site and table, as an inventory counts them."""
    return Watch(window_us, watched_us, bool(no_room.get((site, EDGES.name))))


class Zones:
    """The zones of a site's devices, as the plant said them."""

    def __init__(self, assets: Iterable[Asset]) -> None:
        self._of = {asset.device.key: asset.zone for asset in assets}
        self.known = sorted({zone for zone in self._of.values() if zone is not None})

    def of(self, end: str) -> str | None:
        """The zone of an edge's end; None where it is unknown, as that of a group of devices is."""
        return OUTSIDE if end == PUBLIC else self._of.get(end)

    def crosses(self, edge: Edge) -> bool | None:
        """Whether an edge crosses zones: what goes to public addresses does; None where a zone is unknown."""
        client, server = self.of(edge.client), self.of(edge.server)
        if is_group_address(edge.server):
            return None
        if OUTSIDE in (client, server):
            return client != server
        return None if client is None or server is None else client != server


@dataclass(frozen=True, slots=True)
class SiteEdge:
    """An edge with what is made of it. is_listed: both ends are devices that were confirmed, outside, or a group."""

    site: str
    edge: Edge
    news: News
    crosses: bool | None
    zones: tuple[str | None, str | None]
    is_listed: bool


def edges_of(site: SiteAssets, assets: Iterable[Asset], watch: Watch) -> list[SiteEdge]:
    """A site's edges: new ones first, then those with most flows. assets: those of the site."""
    zones = Zones(each for each in assets if each.device.site == site.site)
    made = []
    for edge in site.edges:
        if edge.client == edge.server:
            continue  # with itself, as a forged packet says
        ends = edge.client, edge.server
        of_zones = zones.of(edge.client), zones.of(edge.server)
        listed = all(_is_known(end, site) for end in ends)
        made.append(SiteEdge(site.site, edge, watch.news(edge, site), zones.crosses(edge), of_zones, listed))
    return sorted(made, key=_order)


def _is_known(end: str, site: SiteAssets) -> bool:
    return end == PUBLIC or is_group_address(end) or (end in site.devices and site.devices[end].is_confirmed)


def _order(each: SiteEdge) -> tuple[bool, int, int, str, str, Service]:
    edge, is_new = each.edge, each.news.is_new is True
    newest = -edge.span.first_us if is_new else 0
    return not is_new, newest, -edge.flows, edge.client, edge.server, edge.service

"""The page's API, /api/v1: what can be asked."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from pipeline.tools.triage import (
    incident_list,
    incident_page,
    incident_times,
    judgements,
    plant,
    signing_in,
    single_sign_on,
)
from pipeline.tools.triage.accounts import ADMIN, VIEWER
from pipeline.tools.triage.answers import Answer, ErrorAnswer, Refused
from pipeline.tools.triage.asking import having, page_of, session_or_none
from pipeline.tools.triage.incident_list import MAX_LIMIT, Filter
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.sessions import Session
from pipeline.tools.triage.single_sign_on import PREFIX
from pipeline.tools.triage.tables import INCIDENT

MAX_TEXT = 256
MAX_US = 2**62
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (400, 401, 403, 404, 405, 413, 415, 421, 422, 429, 500, 503)
}
Asked = Annotated[Page, Depends(page_of)]
Viewer = Annotated[Session, Depends(having(VIEWER))]
Text = Annotated[str | None, Query(max_length=MAX_TEXT)]
Time = Annotated[int | None, Query(ge=-MAX_US, le=MAX_US)]
Name = Annotated[str, InPath(min_length=4, max_length=64, pattern=r"^[0-9A-Za-z-]+$")]


def api() -> APIRouter:
    """All routes."""
    router = APIRouter(prefix=PREFIX, responses=ERRORS)
    router.get("/session")(session)
    router.get("/login")(single_sign_on.ways_to_sign_in)
    router.post("/login")(signing_in.login)
    router.post("/logout")(signing_in.logout)
    for path, answer in (
        (single_sign_on.LOGIN, single_sign_on.leave),
        (single_sign_on.CALLBACK, single_sign_on.come_back),
    ):
        router.get(path, response_class=RedirectResponse, status_code=303)(answer)
    router.get("/sites")(sites)
    router.get("/map")(site_map)
    router.get("/sensors")(sensors)
    router.get("/models")(models)
    router.get("/replays")(replays)
    router.get("/incidents")(incidents)
    router.get("/incidents-over-time")(incidents_over_time)
    router.get("/incidents/{uid}")(incident)
    router.post("/incidents/{uid}/verdicts")(judgements.give)
    router.post("/incidents/{uid}/verdicts/preview")(judgements.preview)
    router.post("/verdicts/{name}/undo")(judgements.undo)
    router.get("/verdicts")(judgements.listed)
    router.get("/events", response_class=EventSourceResponse)(events)
    router.get("/audit")(audit)
    return router


def session(page: Asked, asker: Annotated[Session | None, Depends(session_or_none)]) -> Answer:
    """Who asks; `login` where they have to sign in first."""
    return Answer(signing_in.described(page, asker))


def asked_for(
    site: Text = None,
    sensor: Text = None,
    severity: Text = None,
    state: Text = None,
    settled: Text = None,
    suppressed: Text = None,
    paged: Annotated[str | None, Query(alias="page", max_length=MAX_TEXT)] = None,
    technique: Text = None,
    asset: Text = None,
    q: Text = None,
    since_us: Time = None,
    until_us: Time = None,
) -> Filter:
    """What of the incidents is asked for."""
    texts = (site, sensor, severity, state, settled, suppressed, paged, technique, asset, q)
    return Filter(*texts, since_us, until_us)


def incidents(
    page: Asked,
    _asker: Viewer,
    asked: Annotated[Filter, Depends(asked_for)],
    sort: Annotated[str, Query(max_length=40)] = "-last_us",
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 100,
    after: Text = None,
) -> Answer:
    """One page of the list of incidents."""
    devices = page.plant.devices()
    asked = plant.with_devices(asked, devices)
    answer = incident_list.listed(page.store.database, asked, sort, limit, after)
    return Answer({**answer, "incidents": [plant.with_assets(each, devices) for each in answer["incidents"]]})


def sites(page: Asked, _asker: Viewer) -> Answer:
    """The sites that are known."""
    return Answer({"sites": plant.sites(page.store.database)})


def site_map(page: Asked, _asker: Viewer, site: Annotated[str, Query(max_length=MAX_TEXT)]) -> Answer:
    """The map of a site: devices, who talks to whom, zones."""
    return Answer(page.plant.map(site))


def sensors(page: Asked, _asker: Viewer) -> Answer:
    """What each sensor has learnt, since when it sends nothing, its lag, rejects, late records and loss."""
    return Answer(plant.sensors(page.store.database, page.settings, page.watch.known()))


def models(page: Asked, _asker: Viewer) -> Answer:
    """The models that are known, which one scores, how far its rows drift, and how the last candidate compared."""
    return Answer(plant.with_drift(page.models.get(), page.watch.known()))


def replays(page: Asked, _asker: Viewer) -> Answer:
    """Replays that were run on this machine."""
    return Answer(plant.replays(page.settings))


def incidents_over_time(page: Asked, _asker: Viewer, asked: Annotated[Filter, Depends(asked_for)]) -> Answer:
    """How many incidents a filter leaves, over time."""
    return Answer(incident_times.over_time(page.store.database, plant.with_devices(asked, page.plant.devices())))


def incident(page: Asked, _asker: Viewer, uid: Name) -> Answer:
    """One incident in full."""
    devices, answer = page.plant.devices(), incident_page.incident_in_full(page.store.database, uid)
    similar = [plant.with_assets(each, devices) for each in answer["similar"]]
    return Answer({**answer, "incident": plant.with_assets(answer["incident"], devices), "similar": similar})


def _with_room(page: Asked) -> Page:
    if page.live.is_full:
        raise Refused(503, "events", "as many pages as may watch", "fewer", "close one")
    return page


async def events(
    request: Request,
    page: Annotated[Page, Depends(_with_room)],
    _asker: Viewer,
    last_event_id: Annotated[str, Header(max_length=40)] = "",
) -> AsyncIterator[ServerSentEvent]:
    """Changes as they come: `incident`, `verdict`, `sensors`; `reload` where too many were missed."""
    after = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else None
    yield ServerSentEvent(comment="watching", retry=2_000)
    async for changes in page.live.changes(after):
        if await run_in_threadpool(session_or_none, request) is None:
            return
        devices = page.plant.devices()
        for change in changes:
            data = change.data
            if change.kind == INCIDENT and data["document"] is not None:
                data = {**data, "document": plant.with_assets(data["document"], devices)}
            yield ServerSentEvent(raw_data=orjson.dumps(data).decode(), event=change.kind, id=str(change.position))


def audit(
    page: Asked,
    _asker: Annotated[Session, Depends(having(ADMIN))],
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Answer:
    """The newest actions of people."""
    return Answer({"audit": page.audit.newest(limit)})

"""What a supervisor asks the page's server: whether it lives, whether it is ready. No session, and nothing of data."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse

from pipeline.tools.triage.asking import page_of
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.topic_feed import AWAY, STARTING


def probes() -> APIRouter:
    """The two routes; they are no part of the API."""
    router = APIRouter(include_in_schema=False)
    router.get("/livez")(alive)
    router.get("/readyz")(ready)
    return router


async def alive() -> PlainTextResponse:
    """That its loop turns: else nobody would say it."""
    return PlainTextResponse("alive\n")


async def ready(page: Annotated[Page, Depends(page_of)]) -> PlainTextResponse:
    """Whether its store is there and follows its topics."""
    if page.feed()["state"] in (STARTING, AWAY):
        return PlainTextResponse("the topics are not read\n", 503)
    return PlainTextResponse("ready\n")

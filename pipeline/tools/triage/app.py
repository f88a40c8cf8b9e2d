"""The page's web application: its parts, and which of them answers what."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from pipeline.tools.triage import answers
from pipeline.tools.triage.gate import Gate
from pipeline.tools.triage.health import probes
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.routes import api

STATIC = Path(__file__).parent / "static"


def application(page: Page) -> FastAPI:
    """The application that serves a page."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await page.live.close()

    app = FastAPI(title="Forebay", version="1", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.page = page
    answers.install(app)
    app.include_router(api())
    app.include_router(probes())
    app.mount("/", StaticFiles(directory=STATIC, html=True, check_dir=False))
    app.add_middleware(Gate, hosts=page.hosts, tls=page.tls)
    return app

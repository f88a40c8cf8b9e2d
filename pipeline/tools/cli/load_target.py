"""The system that a load goes to: one that is started for it, or one that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import Usage
from pipeline.tools.cli.output import say
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from loadtest.workload.streams import Tapes
    from pipeline.tools.load.run import LoadRequest, Target

LOCAL = ("127.0.0.1", "localhost", "[::1]")


def require_local(bootstrap: str) -> None:
    """Usage where a server of `bootstrap` is not this machine."""
    if any(server.rsplit(":", 1)[0].strip() not in LOCAL for server in bootstrap.split(",")):
        raise Usage(
            f"--bootstrap: got {bootstrap}, which is not this machine; "
            "records of plants that do not exist would stand among real ones: add --not-local if that is meant"
        )


@contextmanager
def target_of(
    request: LoadRequest,
    tapes: list[Tapes],
    local: bool,
    not_local: bool,
    bootstrap: str | None,
    prefix: str | None,
    quiet: bool,
) -> Iterator[Target]:
    """The system the options name, ready for a load."""
    from pipeline.ingest.files.send import require_topic
    from pipeline.tools.load.run import speed_of
    from pipeline.tools.load.targets import learning_for, local_target, running_target

    if local:
        if bootstrap is not None or prefix is not None:
            raise Usage("--local: got --bootstrap or --prefix as well, expected one system; leave either out")
        say("starting Kafka and the six stages ...", quiet=quiet)
        with local_target(learning_for(speed_of(request, tapes) * request.duration_s)) as target:
            yield target
        return
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    if not not_local:
        require_local(settings.bootstrap)
    require_topic(settings)
    yield running_target(settings)

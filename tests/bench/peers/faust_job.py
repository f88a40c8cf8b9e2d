"""The job in Faust, a record at a time, as its tutorial leads to."""

import asyncio
import sys
from typing import Any

import faust
import orjson

from tests.bench.peers.job import Recent, answer, inputs, scores


async def work(bootstrap: str, source: str, sink: str) -> None:
    """Until it is ended."""
    app: Any = faust.App(
        sink, broker=f"kafka://{bootstrap}", web_enabled=False, topic_allow_declare=False, topic_disable_leader=True
    )
    messages = app.topic(source, value_type=bytes, value_serializer="raw")
    answers = app.topic(sink, value_type=bytes, value_serializer="raw")
    recent = Recent()

    async def agent(stream: Any) -> None:
        async for value in stream:
            for line in value.splitlines():
                record = orjson.loads(line)
                count = recent.count(record)
                await answers.send(value=answer(record, count, scores([inputs(record, count)])[0]))

    app.agent(messages)(agent)
    await app.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:4]))

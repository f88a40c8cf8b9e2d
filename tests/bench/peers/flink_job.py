"""The job in Flink SQL: its JSON, a window over event time, transactions; the network as a vectorised Python function.

A local cluster of one slot in a JVM, and a Python process for the function. It reads what the topic holds at the start:
at the end of that event time is over, and the last rows leave their windows.
"""

import sys
import tempfile
import threading
from typing import Any

import numpy as np
import pandas as pd
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import Schema, StreamTableEnvironment
from pyflink.table.udf import udf

from tests.bench.peers.job import INPUTS, WIDTH, scores

CHECKPOINT = "1 s"
"""A transaction each, which is also when answers can be read."""
BATCH = "10000"
NAMES = [f"`{name}`" for name in INPUTS]
ENDED = "TO_TIMESTAMP_LTZ(CAST((`ts` + COALESCE(`duration`, 0)) * 1000 AS BIGINT), 3)"
EVENT_TIME = "ended - INTERVAL '2' SECOND"  # so far behind the latest row, as Forebay's by default
ANSWERS = "uid STRING, `count` BIGINT, class INT, score FLOAT"
COUNTED = f"""
    SELECT uid, {", ".join(NAMES)},
        COUNT(*) OVER (PARTITION BY `id.resp_h` ORDER BY ended RANGE BETWEEN INTERVAL '1.999' SECOND PRECEDING
            AND CURRENT ROW) AS `count`
    FROM flows
"""  # noqa: S608 - times are whole milliseconds: none is exactly 2 s before


@udf(result_type=f"ROW<{ANSWERS}>", func_type="pandas")
def scored(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows as they leave the window, and what the network says of them; half of its inputs stay 0."""
    known = rows.iloc[:, 1:].astype("float32").fillna(0.0).to_numpy()
    results = scores(np.pad(known, ((0, 0), (0, WIDTH - known.shape[1]))))
    return pd.DataFrame(
        {
            "uid": rows.iloc[:, 0],
            "count": rows.iloc[:, -1],
            "class": results.argmax(axis=1).astype("int32"),
            "score": results.max(axis=1),
        }
    )


def tables(connector: str, folder: str) -> StreamTableEnvironment:
    """One slot; checkpoints, which hold the windows, into a folder; batches to Python of some tenths of a second."""
    configuration: Any = Configuration()
    for key, value in {
        "pipeline.jars": f"file://{connector}",
        "parallelism.default": "1",
        "pipeline.object-reuse": "true",
        "execution.checkpointing.interval": CHECKPOINT,
        "execution.checkpointing.dir": f"file://{folder}",
        "restart-strategy.type": "none",
        "python.executable": sys.executable,
        "python.fn-execution.bundle.size": BATCH,
        "python.fn-execution.arrow.batch.size": BATCH,
    }.items():
        configuration.set_string(key, value)
    return StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment(configuration))


def flows(environment: StreamTableEnvironment, source: str, pack: int) -> None:
    """The view `flows`: one record a message as its JSON format reads it, packed lines field by field."""
    columns = ["uid STRING", "`id.resp_h` STRING", "`ts` DOUBLE", *(f"{name} DOUBLE" for name in NAMES)]
    if pack == 1:
        rows = [*columns, f"ended AS {ENDED}", f"WATERMARK FOR ended AS {EVENT_TIME}"]
        environment.execute_sql(f"CREATE TABLE flows ({', '.join(rows)}) WITH ({source}, 'format' = 'json')")
        return
    environment.execute_sql(f"CREATE TABLE packed (message STRING) WITH ({source}, 'format' = 'raw')")
    typed = ", ".join(f"CAST({_value(name)} AS {kind}) AS {name}" for name, kind in map(str.split, columns))
    lines = "SELECT line FROM packed CROSS JOIN UNNEST(SPLIT(message, '\n')) AS lines (line)"
    unpacked = environment.sql_query(f"SELECT {typed} FROM ({lines}) WHERE line <> ''")  # noqa: S608
    schema = Schema.new_builder().column_by_expression("ended", ENDED).watermark("ended", EVENT_TIME).build()
    stream = environment.to_data_stream(unpacked)  # event time belongs to a table's source: the lines become one
    environment.create_temporary_view("flows", environment.from_data_stream(stream, schema))


def _value(name: str) -> str:
    return f"JSON_VALUE(line, '$[''{name.strip('`')}'']')"


def main(bootstrap: str, source: str, sink: str, pack: int, connector: str) -> None:
    """Until it is ended."""
    kafka = f"'connector' = 'kafka', 'properties.bootstrap.servers' = '{bootstrap}'"
    reading = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'"
    writing = (
        "'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once', "
        f"'sink.transactional-id-prefix' = '{sink}', 'properties.transaction.timeout.ms' = '600000'"
    )
    with tempfile.TemporaryDirectory(prefix="flink-") as folder:
        environment = tables(connector, folder)
        flows(environment, f"{kafka}, 'topic' = '{source}', 'properties.group.id' = '{sink}', {reading}", pack)
        environment.execute_sql(f"CREATE TABLE answers ({ANSWERS}) WITH ({kafka}, 'topic' = '{sink}', {writing})")
        environment.sql_query(COUNTED).map(scored).execute_insert("answers").wait()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])

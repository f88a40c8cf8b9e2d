"""Westermo as a table of the evaluation: the features the live flow computes, with the file's labels.

Each sensor's file is featurized from its start in one go, so that after the cut windows are as warm as they are in a
system that has been running; features know nothing of labels. Faults (misconfigurations, duplications) are neither
attacks nor normal and are left out; harmless logins are normal.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from loadtest.plants.westermo import traffic
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.settings import load_settings
from pipeline.tools.offline.plant_models import events_of
from pipeline.tools.offline.training_rows import Span, read_labels, rows_of_flows

if TYPE_CHECKING:
    from models.lab.protocols.iiot import Plant
    from models.lab.tables.table import Column
    from models.rows import Doubles

HARMLESS = ("normal", "login")
NEITHER = ("misconf", "duplication")
BLOCK_US = 150_000_000
ADDRESSES = ("src_addr", "dst_addr", "src_mac", "dst_mac")
PORTS = ("src_port", "dst_port")


@cache
def westermo() -> "Plant":
    """Both sensors of the plant, read once a process."""
    from models.lab.protocols.iiot import Plant
    from models.lab.tables.table import NORMAL, Column, Table

    settings = load_settings()
    matrices, labels, times, sensors, flows = [], [], [], [], []
    for sensor in traffic.SENSORS:
        path = traffic.zipped(sensor)
        decoded = decode_file(
            path, site=traffic.SITE, sensor=sensor, ingest_ts_us=traffic.FIRST_FLOW_US, max_future_us=2**62
        )
        rows = rows_of_flows(decoded.flows, read_labels(path), settings.lateness_of(traffic.SITE), Span())
        rows = rows.take(~np.isin(rows.label, NEITHER))
        matrices.append(rows.matrix.astype(np.float64))
        labels.append(np.where(np.isin(rows.label, HARMLESS), NORMAL, rows.label))
        times.append(rows.end_ts_us)
        sensors.append(rows.sensor)
        flows.append(_in_order_of(decoded.flows, rows.source_record))
    label, time_us = np.concatenate(labels), np.concatenate(times)
    group = (time_us - traffic.FIRST_FLOW_US) // BLOCK_US
    columns = tuple(Column(name, "number") for name in FEATURE_SET.names)
    table = Table("westermo", columns, np.concatenate(matrices), label, label, group, time_us)
    who, identifying = _identifiers(pa.Table.from_batches(flows), time_us)
    return Plant(
        table,
        Table("westermo", identifying, who, label, label, group, time_us),
        np.concatenate(sensors),
        traffic.TRAIN_END_US,
        traffic.CUT_US,
        tuple(event for event in events_of(traffic.events_after_cut()) if event.kind == "attack"),
    )


def _in_order_of(flows: pa.RecordBatch, source_record: Any) -> pa.RecordBatch:
    row_of = np.empty(int(source_record.max()) + flows.num_rows + 1, dtype=np.int64)
    row_of[flows.column("source_record").to_numpy().astype(np.int64)] = np.arange(flows.num_rows)
    return flows.take(pa.array(row_of[source_record]))


def _identifiers(flows: pa.Table, time_us: Any) -> "tuple[Doubles, tuple[Column, ...]]":
    """Addresses, ports and time of these flows."""
    from models.lab.tables.table import Column

    columns, values = [], []
    for name in ADDRESSES:
        text = np.asarray([str(value) for value in flows.column(name).to_pylist()], dtype=np.str_)
        words, codes = np.unique(text, return_inverse=True)
        columns.append(Column(name, "category", tuple(map(str, words))))
        values.append(codes.astype(np.float64))
    for name in PORTS:
        columns.append(Column(name, "number"))
        values.append(flows.column(name).to_numpy().astype(np.float64))
    columns.append(Column("time_s", "number"))
    values.append((time_us - traffic.FIRST_FLOW_US) / 1e6)
    return np.column_stack(values), tuple(columns)

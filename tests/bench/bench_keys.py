"""What keys cost: time a record and memory from 10^3 to 10^6 hosts, and what a flood of spoofed addresses does.

`python -m tests.bench.bench_keys [--picture FILE]`; two minutes; the last line is one JSON document.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import orjson
import pyarrow as pa

from pipeline.featurize.feature_set import FeatureSet
from pipeline.featurize.feature_sets import named
from pipeline.featurize.sensor import SensorState, advance
from pipeline.featurize.snapshot import restore, snapshot
from tests.bench.ahead import compile_ahead
from tests.featurize.flows import START_US, batch, matrix_of

mpl.use("Agg")
import matplotlib.pyplot as plt

HOSTS = (1_000, 10_000, 100_000, 1_000_000)
SETS = ("online", "forebay-ics-1", "full")
RECORDS = 262_144
BATCH = 8_192
SPOOFED = 1_000_000
FLOOD_FROM = 100_000


def rows_between(src: np.ndarray, dst: np.ndarray, end_us: np.ndarray, plain: dict[str, Any]) -> pa.RecordBatch:
    """Flows between hosts given by number (10.x.y.z), otherwise all alike."""
    rows = batch([plain]).take(pa.array(np.zeros(len(src), np.int64)))
    columns = {"src_addr": addresses(src), "dst_addr": addresses(dst), "end_ts_us": end_us, "start_ts_us": end_us - 900}
    columns["raw_offset"] = np.arange(len(src))
    for name, values in columns.items():
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array(values, field.type))
    return rows


def addresses(number: np.ndarray) -> list[str]:
    """An address a number, 2^24 of them from 10.0.0.0 on, then 11.0.0.0."""
    return [f"{10 + (host >> 24)}.{host >> 16 & 255}.{host >> 8 & 255}.{host & 255}" for host in number.tolist()]


def size_of(windows: Any) -> int:
    """Bytes of all arrays."""
    return int(windows.nbytes) if isinstance(windows, np.ndarray) else sum(map(size_of, windows))


def by_hosts(feature_set: FeatureSet) -> list[dict[str, float]]:
    """CPU ns a record and bytes of state, by the number of hosts; every host speaks to any."""
    measured = []
    for hosts in HOSTS:
        pick = np.random.default_rng(1)
        src, dst = pick.integers(hosts, size=(2, RECORDS))
        flows = rows_between(src, dst, START_US + np.arange(RECORDS) * 100, {"dst_port": 502, "src_port": 4000})
        state, used = SensorState.empty(feature_set), []
        for start in range(0, RECORDS, BATCH):
            part, started = flows.slice(start, BATCH), time.process_time()
            state, _ = advance(state, part, False, 0)
            used.append(time.process_time() - started)
        steady = sorted(used[len(used) // 2 :])  # tables have grown by then; the median, as others use the machine
        (windows,) = state.windows.values()
        seen = len(np.unique(np.concatenate((src, dst))))
        measured.append(
            {"hosts": hosts, "seen": seen, "ns": steady[len(steady) // 2] / BATCH * 1e9, "bytes": size_of(windows)}
        )
    return measured


def plant_and_flood(flooded: bool) -> pa.RecordBatch:
    """200 hosts that poll 20 controllers for 300 s; from record 100,000 on, a million others speak once in 100 s."""
    number = np.arange(300_000)
    src, dst, end_us = number % 200, 1_000 + number % 20, START_US + number * 1_000
    plant = rows_between(src, dst, end_us, {"dst_port": 502, "src_port": 4000})
    if not flooded:
        return plant
    spoofed = np.arange(SPOOFED)
    at_us = START_US + FLOOD_FROM * 1_000 + spoofed * 100 + 37
    plain = {"dst_port": 80, "src_port": 4000, "conn_state": "S0", "rev_pkts": 0}
    flood = rows_between((1 << 24) + spoofed, np.full(SPOOFED, 2_000), at_us, plain)
    both = pa.concat_batches([plant, flood])
    return both.take(pa.array(np.argsort(both.column("end_ts_us").to_numpy(), kind="stable")))


def through(flows: pa.RecordBatch, feature_set: FeatureSet) -> tuple[SensorState, np.ndarray, list[dict[str, float]]]:
    """The state, the plant's own features, and memory as it went."""
    state, of_plant = SensorState.empty(feature_set), []
    curve: list[dict[str, float]] = []
    for start in range(0, len(flows), BATCH):
        state, rows = advance(state, flows.slice(start, BATCH), False, 0)
        of_plant.append(matrix_of(rows)[rows.column("dst_port").to_numpy() == 502])
        (windows,) = state.windows.values()
        curve.append({"records": start + BATCH, "windows": size_of(windows)})
    return state, np.concatenate(of_plant), curve


def flood(feature_set: FeatureSet) -> dict[str, Any]:
    """Memory under a flood, what it does to the plant's features, and what saving and restoring takes."""
    _, calm, _ = through(plant_and_flood(False), feature_set)
    state, during, curve = through(plant_and_flood(True), feature_set)
    same = (calm == during) | (np.isnan(calm) & np.isnan(during))
    started = time.perf_counter()
    saved = snapshot(state)
    saved_s = time.perf_counter() - started
    started = time.perf_counter()
    restore(saved, feature_set=feature_set)
    return {
        "curve": curve,
        "values_unchanged": float(same[FLOOD_FROM:].mean()),
        "columns_touched": [name for name, is_same in zip(feature_set.names, same.all(0), strict=True) if not is_same],
        "snapshot_bytes": len(saved),
        "save_ms": saved_s * 1e3,
        "restore_ms": (time.perf_counter() - started) * 1e3,
    }


def picture(path: Path, floods: dict[str, dict[str, Any]]) -> None:
    """The memory curves."""
    figure, panel = plt.subplots(figsize=(9, 3.6), constrained_layout=True)
    for (name, flooded), colour in zip(floods.items(), ("#2471a3", "#c0392b"), strict=True):
        records = [point["records"] / 1e6 for point in flooded["curve"]]
        panel.plot(records, [point["windows"] / 2**20 for point in flooded["curve"]], color=colour, label=name)
    panel.axvspan(0.1, 1.2, color="#7f8c8d", alpha=0.15, lw=0, label="a million spoofed addresses")
    panel.set(
        xlabel="records of the sensor (million)",
        ylabel="MiB",
        ylim=(0, None),
        title="Memory of one sensor's state under a flood",
    )
    panel.legend(fontsize=8)
    figure.savefig(path, dpi=80)


def main() -> None:
    """Print a line a figure, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {"hosts": {}, "flood": {}}
    for name in SETS:
        compile_ahead(named(name))
        results["hosts"][name] = by_hosts(named(name))
        first = results["hosts"][name][0]["ns"]
        for result in results["hosts"][name]:
            print(
                f"{name:14} {result['hosts']:>9,} hosts  {result['ns']:7,.0f} ns a record "
                f"({result['ns'] / first:.2f})  "
                f"{result['bytes'] / 2**20:6.1f} MiB  {result['bytes'] / result['seen']:8,.0f} bytes a host seen"
            )
    for name in ("forebay-ics-1", "full"):
        result = results["flood"][name] = flood(named(name))
        print(
            f"flood, {name}: windows at most {max(point['windows'] for point in result['curve']) / 2**20:.1f} MiB; "
            f"{result['values_unchanged']:.4%} of the plant's values unchanged, columns touched: "
            f"{', '.join(result['columns_touched']) or 'none'}; snapshot {result['snapshot_bytes'] / 2**20:.1f} MiB, "
            f"saved in {result['save_ms']:.0f} ms, restored in {result['restore_ms']:.0f} ms"
        )
    if arguments.picture:
        picture(arguments.picture, results["flood"])
    print(orjson.dumps(results).decode())


if __name__ == "__main__":
    main()

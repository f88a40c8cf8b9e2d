"""How fast a model's ONNX file scores in onnxruntime on one thread: `python -m tests.bench.bench_onnx [MODEL]`.

The file as it is, and with its layers' weights in eight bits by ONNX Runtime's dynamic quantisation. The plant's rows
after the cut, from the sensor at the bottom, by processor time of the thread; then what each detects at both sensors,
by the labels. The model is a folder or an id; by default the shipped one. The last line is one JSON document.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from loadtest.plants.westermo import traffic
from models.rows import Floats
from models.serving import registry
from models.serving.model import Model
from models.serving.onnx_engine import OnnxEngine
from models.serving.onnx_graph import LAYER
from models.serving.score import Scorer
from models.serving.scored import Scored
from models.training.fit import cpu_type
from pipeline.settings import load_settings
from pipeline.tools.offline import plant_models
from pipeline.tools.offline.training_rows import Span, read_labels, read_rows

A_CALL = (1, 64, 1024)
SECONDS = 2.0  # for each
LEAST_CALLS = 9
ORIGIN = "westermo/bottom"


def plant_rows() -> Floats:
    """(n, F) of the sensor at the bottom, after the cut."""
    file, (site, sensor) = traffic.zipped("bottom"), ORIGIN.split("/")
    return read_rows(file, site, sensor, load_settings(), Span(start_us=traffic.CUT_US), read_labels(file)).matrix


def eight_bit(proto: Any) -> bytes:
    """The same graph; a layer multiplies bytes, an output's weights by a scale of its own, its input by each run's.

    Preprocessing, distances and odds stay in single precision.
    """
    from onnx import ModelProto
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    prepared = ModelProto()
    prepared.CopyFrom(proto)
    add_pre_process_metadata(prepared)  # nothing is left to fold: without this the quantiser says to do so
    layers = [node.name for node in prepared.graph.node if node.name.startswith(LAYER)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantize_dynamic(prepared, file, per_channel=True, weight_type=QuantType.QInt8, nodes_to_quantize=layers)
        return file.read_bytes()


def of_file(content: bytes, rows: Floats, ours: Scored) -> dict[str, object]:
    """How far its scores are from ours, a tile at a time as its engine has them, and how fast it is."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(part: Floats) -> list[Any]:
        found: list[Any] = session.run(["score", "suspect"], {"rows": part})
        return found

    parts = [run(rows[start : start + A_CALL[-1]]) for start in range(0, len(rows), A_CALL[-1])]
    score, suspect = (np.concatenate([part[number] for part in parts]) for number in (0, 1))
    apart, other = np.abs(score - ours.score), suspect != ours.suspect
    figures: dict[str, object] = {"bytes": len(content), "largest_difference": float(apart.max())}
    figures |= {"above_1e-4": int((apart > 1e-4).sum()), "95th_difference": float(np.quantile(apart, 0.95))}
    figures |= {"other_suspects": int(other.sum()), "suspects_lost": int((other & ours.suspect).sum())}
    alone = run(rows[5:6])[0][0]
    figures["a_row_alone_differs_by"] = float(abs(alone - score[5]))
    for a_call in A_CALL:
        seconds: list[float] = []
        until = time.monotonic() + SECONDS
        while len(seconds) < LEAST_CALLS or time.monotonic() < until:
            start = len(seconds) * a_call % (len(rows) - a_call)
            before = time.thread_time()
            run(rows[start : start + a_call])
            seconds.append(time.thread_time() - before)
        figures[f"rows_per_s_{a_call}_a_call"] = round(a_call / float(np.median(seconds)))
    return figures


def detected(model: Model, engine: OnnxEngine | None) -> dict[str, Any]:
    """What is found on the plant after the cut, by its labels; without an engine the kernel scores."""
    files = [traffic.zipped(sensor) for sensor in traffic.SENSORS]
    report = plant_models.evaluate(
        model,
        plant_models.captures(traffic.SITE, traffic.SENSORS, files, ()),
        Span(start_us=traffic.CUT_US),
        load_settings(),
        plant_models.events_of(traffic.events_after_cut()),
        engine,
    )
    found: dict[str, Any] = {f"{kind}s": report["events"][kind] for kind in ("attack", "fault")}
    for sensor, each in report["sensors"].items():
        found[sensor] = {
            "auroc": round(each["auroc"], 6),
            **{f"{kind}_rows": each[f"{kind}_rows"] for kind in ("attack", "benign")},
            "attack_suspects": round(each["recall"] * each["attack_rows"]),
            "false_suspects": round(each["false_positive_rate"] * each["benign_rows"]),
        }
    return found


def main() -> None:
    """Print a table for people and one JSON line."""
    import onnxruntime

    from models.serving.onnx_export import onnx_model

    model, rows = registry.load(sys.argv[1] if len(sys.argv) > 1 else ""), plant_rows()
    proto = onnx_model(model, ORIGIN)
    ours = Scorer(model, "cpu").score(rows, np.zeros(len(rows), np.int64), np.full(len(rows), ORIGIN))
    document: dict[str, Any] = {"model": model.id, "rows": len(rows), "cpu": cpu_type()}
    document |= {"onnxruntime": onnxruntime.__version__, "suspects": int(ours.suspect.sum())}
    document["float32"] = of_file(proto.SerializeToString(), rows, ours)
    document["int8"] = of_file(eight_bit(proto), rows, ours)
    for name, value in document["float32"].items():
        sys.stdout.write(f"{name:<28} {value!s:<24} int8: {document['int8'][name]}\n")
    engines = {"kernel": None, "float32": OnnxEngine(model), "int8": OnnxEngine(model, file_of=eight_bit)}
    document["detection"] = {name: detected(model, engine) for name, engine in engines.items()}
    for name, found in document["detection"].items():
        sys.stdout.write(f"{name}: {found}\n")
    sys.stdout.write(orjson.dumps(document).decode() + "\n")


if __name__ == "__main__":
    main()

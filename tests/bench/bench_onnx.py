"""How fast a model's ONNX file scores in onnxruntime on one thread: `python -m tests.bench.bench_onnx [MODEL]`.

The plant's rows after the cut, from the sensor at the bottom, by processor time of the thread. The model is a folder or
an id; by default the shipped one. The last line is one JSON document.
"""

import sys
import time

import numpy as np
import orjson

from loadtest.plants.westermo import traffic
from models.rows import Floats
from models.serving import registry
from models.serving.score import Scorer
from models.training.fit import cpu_type
from pipeline.settings import load_settings
from pipeline.tools.offline.training_rows import Span, read_labels, read_rows

A_CALL = (1, 64, 1024)
SECONDS = 2.0  # for each
ORIGIN = "westermo/bottom"


def plant_rows() -> Floats:
    """(n, F) of the sensor at the bottom, after the cut."""
    file, (site, sensor) = traffic.zipped("bottom"), ORIGIN.split("/")
    return read_rows(file, site, sensor, load_settings(), Span(start_us=traffic.CUT_US), read_labels(file)).matrix


def main() -> None:
    """Print a table for people and one JSON line."""
    import onnxruntime

    from models.serving.onnx_export import onnx_model

    model, rows = registry.load(sys.argv[1] if len(sys.argv) > 1 else ""), plant_rows()
    content = onnx_model(model, ORIGIN).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    score, suspect = session.run(["score", "suspect"], {"rows": rows})
    ours = Scorer(model, "cpu").score(rows, np.zeros(len(rows), np.int64), np.full(len(rows), ORIGIN))
    apart = np.abs(score - ours.score)
    figures: dict[str, object] = {"model": model.id, "bytes": len(content), "rows": len(rows), "cpu": cpu_type()}
    figures["onnxruntime"] = onnxruntime.__version__
    figures |= {"largest_difference": float(apart.max()), "above_1e-4": int((apart > 1e-4).sum())}
    figures |= {"suspects": int(ours.suspect.sum()), "other_suspects": int((suspect != ours.suspect).sum())}
    for a_call in A_CALL:
        seconds: list[float] = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            start = len(seconds) * a_call % (len(rows) - a_call)
            before = time.thread_time()
            session.run(["score", "suspect"], {"rows": rows[start : start + a_call]})
            seconds.append(time.thread_time() - before)
        figures[f"rows_per_s_{a_call}_a_call"] = round(a_call / float(np.median(seconds)))
    for name, value in figures.items():
        sys.stdout.write(f"{name:<28} {value}\n")
    sys.stdout.write(orjson.dumps(figures).decode() + "\n")


if __name__ == "__main__":
    main()

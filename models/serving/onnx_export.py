"""A model as one ONNX file for one origin: raw rows in, scores out. It takes the `onnx` package to write one."""

import json
from typing import Any, cast

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper
from onnx.reference import ReferenceEvaluator

from models.errors import RefusedModel
from models.igan.arrays import NetworkArrays
from models.igan.origin import Origin
from models.rows import Floats
from models.serving import onnx_graph as parts
from models.serving.kernel_engine import KernelEngine
from models.serving.model import Model
from models.serving.onnx_graph import Graph
from models.serving.parity import EXACT, apart, golden_rows

OPSET, IR_VERSION = 17, 8  # of 2022: what runtimes on devices read by now

OUTPUTS = {
    "score": "in [0, 1), how unlike normal",
    "log_odds": "of an attack, known or not",
    "distance": "from the origin's normal traffic",
    "novelty": "-log10 of the share of the origin's normal rows at least so unusual",
    "p_value": "share of the origin's quiet flows with at least this score",
    "suspect": "p_value is at or below alert_level",
    "class_index": "the likeliest class, 0 for every benign one",
    "known": "the row lies where that class is known, by distance and probability",
    "probability": "calibrated, of every class",
}


def onnx_model(model: Model, origin: str) -> ModelProto:
    """The model for rows of an origin (`site/sensor`, `site`, or `*`), with that origin's calibration or its site's.

    Input `rows` (n, F) float32; outputs as `OUTPUTS` has them, (n,) each, `probability` (n, K).
    """
    key = model.origin_of(origin)
    graph = _scoring(model, model.arrays(), model.origins[key])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", len(model.features)])
    kinds = {"suspect": TensorProto.BOOL, "known": TensorProto.BOOL, "class_index": TensorProto.INT64}
    outputs = [
        helper.make_tensor_value_info(
            name,
            kinds.get(name, TensorProto.FLOAT),
            ["n", len(model.classes)] if name == "probability" else ["n"],
            meaning,
        )
        for name, meaning in OUTPUTS.items()
    ]
    made = helper.make_graph(graph.nodes, model.id, [rows], outputs, graph.constants)
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="forebay")
    proto.ir_version = IR_VERSION
    helper.set_model_props(proto, _facts(model, origin, key))
    checker.check_model(proto, full_check=True)
    return proto


def difference(proto: ModelProto, model: Model, origin: str) -> float:
    """The largest difference of its scores from Forebay's, on usual rows, extreme ones, and such that are no numbers.

    RefusedModel where they differ by more than rounding: then the file is not what the model is. ONNX's own reference
    evaluator runs it.
    """
    rows = golden_rows(model)
    wanted = KernelEngine(model).score(rows, model.origin_of(origin)).score
    with np.errstate(over="ignore"):  # huge rows
        (got,) = cast("list[Floats]", ReferenceEvaluator(proto).run(["score"], {"rows": rows}))
    most, largest = apart(got, wanted)
    if not (most <= EXACT.most and largest <= EXACT.largest):
        raise RefusedModel(
            f"model {model.id} as ONNX: got scores that differ by {most:.2g} in 19 rows of 20 and {largest:.2g} at "
            f"most, expected {EXACT.most:g} and {EXACT.largest:g}; nothing was written; report it, with the model"
        )
    return largest


def _scoring(model: Model, arrays: NetworkArrays, origin: Origin) -> Graph:
    graph, config, odds = Graph(), model.config, origin.odds
    z = parts.preprocessed(graph, "rows", arrays)
    logits = parts.logits(graph, z, arrays)
    far = parts.distance(graph, z, origin.view)
    attack = parts.margin(graph, logits, len(model.classes), config.benign)
    p = parts.p_unknown(graph, far, attack, odds)
    log_odds = parts.log_odds(graph, p, attack, odds)
    surprise = graph.softplus(log_odds)
    score = graph.add("Div", surprise, graph.add("Add", surprise, graph.number(1.0)))
    flows = parts.flows_above(graph, score, origin.table)
    last_axis = graph.constant([1], np.int64)
    graph.add("Squeeze", score, last_axis, name="score")
    graph.add("Squeeze", log_odds, last_axis, name="log_odds")
    graph.add("Squeeze", far, last_axis, name="distance")
    decades = graph.add("Mul", graph.add("Log", p), graph.number(-1 / float(np.log(10))))
    graph.add("Squeeze", decades, last_axis, name="novelty")
    p_value = graph.add("Div", flows, graph.number(origin.table.n + 1))
    graph.add("Squeeze", p_value, last_axis, name="p_value")
    suspect = graph.add("LessOrEqual", flows, graph.number(suspect_flows(origin)))
    graph.add("Squeeze", suspect, last_axis, name="suspect")
    _named(graph, z, logits, model)
    return graph


def _named(graph: Graph, z: str, logits: str, model: Model) -> None:
    """Likeliest class, whether it is known, and all classes' probabilities."""
    zero = graph.constant([0], np.int64)
    likeliest = graph.add("ArgMax", logits, axis=1, keepdims=1)
    benign = graph.add("Less", likeliest, graph.constant([model.config.benign], np.int64))
    last_axis = graph.constant([1], np.int64)
    class_index = graph.add("Squeeze", graph.add("Where", benign, zero, likeliest), last_axis, name="class_index")
    cooled = graph.add("Div", logits, graph.number(model.document["temperature"]))
    probability = graph.add("Softmax", cooled, axis=1, name="probability")
    of_class = graph.add("Squeeze", graph.add("GatherElements", probability, likeliest, axis=1), last_axis)
    parts.is_known(graph, z, class_index, of_class, model.known, "known")


def suspect_flows(origin: Origin) -> int:
    """A row is a suspect where so many flows or fewer score at least as high, itself counted."""
    counts = np.unique(np.concatenate([[origin.table.n], origin.table.above])) + 1
    p_values = (counts / (origin.table.n + 1)).astype(np.float32)
    suspect = counts[p_values <= np.float32(origin.alert_level)]
    return int(suspect.max(initial=0))


def _facts(model: Model, origin: str, key: str) -> dict[str, str]:
    """What the file says of itself, as text."""
    document = model.document
    facts: dict[str, Any] = {
        "model": model.id,
        "sha256": model.sha256,
        "feature_set": document["feature_set"],
        "feature_hash": document["feature_hash"],
        "features": list(model.features),
        "classes": list(model.classes),
        "benign_classes": model.config.benign,
        "origin": origin,
        "calibration": key,
        "quiet_flows": model.origins[key].table.n,
        "alert_level": model.origins[key].alert_level,
        "table": model.config.table,
        "not_in_it": "what a flow's fields contradict, windows, incidents",
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}

"""The documents of the Open Inference Protocol v2 as the server's description has them, and its kinds of bodies."""

from typing import Any

from fastapi.params import Path
from pydantic import BaseModel

from pipeline.tools.inference.tensors import ORIGIN_INPUT, OUTPUTS, ROWS

MODEL_NAME = "igan"
BINARY = "application/octet-stream"
ARROW = "application/vnd.apache.arrow.stream"
KINDS = ("application/json", BINARY, ARROW, "")


class Error(BaseModel):
    """What is answered where something cannot be done."""

    error: str


class Live(BaseModel):
    """That the server answers."""

    live: bool


class Ready(BaseModel):
    """Whether it scores."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model scores."""

    name: str
    ready: bool


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or output; a size of -1 may be any."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model reads and says; `properties` name the columns of a row, and what outputs mean."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    properties: dict[str, Any]


class OutputTensor(BaseModel):
    """An output, its data here or behind the document."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferenceAnswer(BaseModel):
    """Scores."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


REQUEST_SCHEMA = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "maxLength": 256},
        "parameters": {
            "type": "object",
            "properties": {"binary_data_output": {"type": "boolean"}, "feature_hash": {"type": "string"}},
        },
        "inputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "datatype", "shape"],
                "properties": {
                    "name": {"enum": [ROWS, ORIGIN_INPUT]},
                    "datatype": {"enum": ["FP32", "BYTES"]},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    "data": {"type": "array"},
                    "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
                },
            },
        },
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"enum": list(OUTPUTS)},
                    "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
                },
            },
        },
    },
}
BYTES = {"type": "string", "format": "binary"}
ARROW_BODY = (
    f"An Arrow IPC stream of one record batch, not compressed: {ROWS} FixedSizeList<float32> as wide as the model's "
    f"features, and perhaps {ORIGIN_INPUT} utf8; id, outputs and parameters as a JSON document in the schema's "
    "metadata, under forebay. The answer is such a stream with a column an output."
)
BODIES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": REQUEST_SCHEMA},
            BINARY: {"schema": BYTES},
            ARROW: {"schema": {**BYTES, "description": ARROW_BODY}},
        },
    }
}
SAYS = {
    400: "not understood",
    404: "no such model",
    408: "a body that did not come in time",
    413: "too large",
    415: "of another kind",
    429: "too much waits; Retry-After says for how long",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": says} for status, says in SAYS.items()
}
EVERYWHERE: dict[int | str, dict[str, Any]] = {
    403: {"model": Error, "description": "of a web page"},
    421: {"model": Error, "description": "called by a name that is not the server's"},
    500: {"model": Error, "description": "a fault of the server's own"},
    503: {"description": "more connections than are served"},
}
"""What any route may answer beside its own."""
NO_TOKEN = {
    "description": "no token that is known",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
"""The answer 401 of a server that asks for a token."""
# What scores come as: what the request was, and JSON's outputs as bytes behind it where it asks for that.
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {BINARY: {"schema": BYTES}, ARROW: {"schema": BYTES}}},
    **ERRORS,
}
NAME = Path(max_length=128, description=f"`{MODEL_NAME}`")
NOT_THERE: dict[int | str, dict[str, Any]] = {400: ERRORS[400], 404: ERRORS[404]}

"""`forebay model export`: a model's files, or the model as one ONNX file."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Failed, Usage
from pipeline.tools.cli.model_options import ModelName, Registry, refusals, registry_of
from pipeline.tools.cli.output import Json, emit, say

if TYPE_CHECKING:
    from models.serving.model import Model


def export(
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write the model's files to.")] = None,
    onnx: Annotated[Path | None, typer.Option("--onnx", help="File to write the model to as ONNX.")] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--origin", help="With --onnx: whose calibration it has, SITE/SENSOR or SITE; else the pooled one."
        ),
    ] = None,
    model: ModelName = "",
    registry: Registry = None,
    as_json: Json = False,
) -> None:
    r"""Copy a model's files, and its card, out of the registry, checked; or write it as one ONNX file.

    In the ONNX file: raw features to score, log-odds, distance, novelty, p-value, suspect, class, whether the class is
    known there, and all classes' probabilities, with one origin's calibration. Not in it: how features are made of
    flows, what a flow's fields contradict of a class, explanations, incidents. It takes: pip install '.\[export]'.
    """
    from models.serving import registry as models

    if (out is None) == (onnx is None):
        raise Usage("got both or neither of --out and --onnx, expected one: a folder for its files, or an ONNX file")
    if origin is not None and onnx is None:
        raise Usage("--origin: got no --onnx, expected one: a folder has every origin's calibration")
    with refusals():
        loaded = models.load(model, registry_of(registry))
        if out is not None:
            models.write(loaded, out)
    if onnx is not None:
        _write_onnx(loaded, onnx, origin, as_json)
        return
    say(f"{loaded.id} in {out}", as_json)
    emit({"model": loaded.id, "sha256": loaded.sha256, "folder": str(out)})


def _write_onnx(model: "Model", file: Path, origin: str | None, quiet: bool) -> None:
    """Write a model as ONNX, after its scores were compared with ours."""
    if importlib.util.find_spec("onnx") is None:
        raise Failed("got no onnx; install it, in the checkout: pip install '.[export]'")
    from models.files import write_atomic
    from models.serving.model import POOLED
    from models.serving.onnx_export import difference, onnx_model
    from schemas.model_manifest import ORIGIN, sha256

    if origin is not None and not ORIGIN.fullmatch(origin):
        raise Usage(f"--origin: got {origin!r}, expected SITE or SITE/SENSOR in letters, digits, '.', '_' and '-'")
    wanted = origin or POOLED
    with refusals():
        proto = onnx_model(model, wanted)
        apart = difference(proto, model, wanted)
    content, calibration = proto.SerializeToString(), model.origin_of(wanted)
    try:
        write_atomic(file, content)
    except OSError as error:
        raise Failed(f"{file}: the model could not be written: {error.strerror}; name another file") from error
    say(
        f"{model.id} in {file}, {len(content):,} bytes, calibration {calibration}; scores within {apart:.1e} of ours",
        quiet,
    )
    facts = {"model": model.id, "sha256": model.sha256, "file": str(file), "file_sha256": sha256(content)}
    emit({**facts, "bytes": len(content), "origin": wanted, "calibration": calibration, "largest_difference": apart})

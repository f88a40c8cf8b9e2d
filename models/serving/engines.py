"""The engines by name, all with one protocol (`models/serving/engine.py`).

    kernel      numba on the CPU, what ships: no torch, a row's bits do not depend on its neighbours
    torch       torch's operations on the CPU
    cuda        the same operations on a CUDA device: complete, not measured
    cuda-bf16   three of its layers in half precision; refused where that changes what a model says; not measured
    onnx        the file of `forebay model export --onnx` in ONNX Runtime on the CPU, for installs without torch

With the kernel a row's bits are its own. The others pad rows to tiles of 1,024: a row's bits do not depend on the rows
beside it, but may, in the last digit, on where in a tile it lies. Engines agree with the kernel within
`parity.Tolerance`.
"""

from collections.abc import Callable
from importlib.util import find_spec

from models.errors import RefusedModel
from models.serving.device import cuda_available
from models.serving.engine import Engine
from models.serving.kernel_engine import KernelEngine
from models.serving.model import Model


def _kernel(model: Model) -> Engine:
    return KernelEngine(model)


def _torch(model: Model) -> Engine:
    from models.serving.torch_engine import TorchEngine

    return TorchEngine(model, "cpu")


def _cuda(model: Model) -> Engine:
    from models.serving.torch_engine import TorchEngine

    _expect_cuda("cuda")
    return TorchEngine(model, "cuda")


def _cuda_bf16(model: Model) -> Engine:
    from models.serving.parity import REDUCED, require_parity
    from models.serving.torch_engine import TorchEngine

    _expect_cuda("cuda-bf16")
    engine = TorchEngine(model, "cuda", half=True)
    require_parity(engine, model, REDUCED, "cuda-bf16")
    return engine


def _expect_cuda(name: str) -> None:
    """RefusedModel where this machine has no CUDA device for the engine of that name."""
    if not cuda_available():
        raise RefusedModel(
            f"engine {name}: got no CUDA device torch can use, expected one; choose the engine kernel or torch"
        )


def _onnx(model: Model) -> Engine:
    from models.serving.onnx_engine import OnnxEngine

    return OnnxEngine(model)


# Each engine's packages, and what makes it.
ENGINES: dict[str, tuple[tuple[str, ...], Callable[[Model], Engine]]] = {
    "kernel": ((), _kernel),
    "torch": (("torch",), _torch),
    "cuda": (("torch",), _cuda),
    "cuda-bf16": (("torch",), _cuda_bf16),
    "onnx": (("onnx", "onnxruntime"), _onnx),
}


def missing_packages(name: str) -> list[str]:
    """What an engine needs and this installation lacks."""
    return [package for package in ENGINES[name][0] if find_spec(package) is None]


def engine_of(name: str, model: Model) -> Engine:
    """An engine by its name; RefusedModel where there is none, or it cannot run here, or its scores are too far off."""
    if name not in ENGINES:
        raise RefusedModel(f"engine: got {name}, expected one of {', '.join(ENGINES)}")
    missing = missing_packages(name)
    if missing:
        raise RefusedModel(
            f"engine {name}: got no {' and no '.join(missing)}, expected them installed; "
            f"pip install {' '.join(missing)}, or choose the engine kernel, which needs neither torch nor ONNX"
        )
    return ENGINES[name][1](model)

"""Wheels for a machine with a GPU and no network: `python -m tests.gpu.wheels FOLDER [--python 3.12]`.

It downloads, for Linux on x86-64 and that version of Python, what `tests.gpu.engine_check` needs and a machine made for
torch usually lacks, at the versions and hashes of requirements/dev.txt. What such a machine is taken to have, for it is
large or comes with torch: BRINGS.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.contract.tree import ROOT

PINS = ROOT / "requirements" / "dev.txt"
BRINGS = ("hypothesis", "numba", "numpy", "onnx", "onnxruntime", "pyarrow", "pytest", "safetensors", "torch")
OWN = (
    "annotated-types",
    "confluent-kafka",
    "googleapis-common-protos",
    "jsonschema-rs",
    "opentelemetry-api",
    "opentelemetry-exporter-http-transport",
    "opentelemetry-exporter-otlp-common",
    "opentelemetry-exporter-otlp-proto-common",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-proto",
    "opentelemetry-sdk",
    "opentelemetry-semantic-conventions",
    "orjson",
    "prometheus-client",
    "pydantic",
    "pydantic-core",
    "pydantic-settings",
    "python-dotenv",
    "pyyaml",
    "rich",
    "structlog",
    "typing-inspection",
)
"""What is brought: all that is imported beside BRINGS and what those need themselves (test_engine_check.py)."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")


def pinned(names: frozenset[str]) -> str:
    """The entries of requirements/dev.txt for these distributions, hashes included."""
    entries = re.split(r"\n(?=[a-z0-9])", PINS.read_text(encoding="utf-8"))
    found = {re.split(r"[=\[ ]", entry, maxsplit=1)[0]: entry for entry in entries if "==" in entry}
    assert names <= found.keys(), f"{sorted(names - found.keys())}: not in {PINS.relative_to(ROOT)}"
    return "\n".join(found[name] for name in sorted(names)) + "\n"


def main() -> int:
    """Download them; what pip ends with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="the version of Python on that machine (3.12)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(pinned(frozenset(OWN)), encoding="utf-8")
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        words += ["--require-hashes", "--implementation", "cp", "--python-version", arguments.python]
        words += [word for platform in PLATFORMS for word in ("--platform", platform)]
        done = subprocess.run([*words, "--dest", str(arguments.folder), "-r", str(requirements)])
    files = sorted(arguments.folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in files)
    sys.stdout.write(f"{len(files)} wheels, {size / 1e6:.1f} MB, in {arguments.folder}\n")
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())

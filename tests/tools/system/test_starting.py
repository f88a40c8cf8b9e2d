import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import inherited_environment, load_settings
from pipeline.tools.processes import STAGES
from pipeline.tools.system.control import environment_of
from pipeline.tools.system.worker_table import FOLLOW, INTAKE, PORT, WORKERS, endpoint_row, rows_for
from tests.contract.tree import ROOT
from tests.patience import PATIENCE_S

linux = pytest.mark.skipif(sys.platform != "linux", reason="not proven: workers are forked on Linux alone")

IMPORTS = """
from pipeline.tools.system import starting
from pipeline.tools.system.worker_table import FOLLOW, INTAKE, WORKERS, endpoint_row
starting.preload([FOLLOW, INTAKE, *WORKERS, endpoint_row("x", 0, "127.0.0.1")])
import os, sys
print(starting.can_fork(), len(os.listdir("/proc/self/task")), "torch" in sys.modules)
"""
FORKS = """
import os, sys, time
from pipeline.tools.system import starting
from pipeline.tools.system.worker_table import WorkerRow
secret = os.open("/dev/null", os.O_RDONLY)
os.set_inheritable(secret, True)
log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
row = WorkerRow("probe", (str(secret), str(log)), 0, main_module="probe_worker")
process = starting.start(row, {"FOREBAY_LOG_LEVEL": "debug"}, log, (secret,))
while (code := process.poll()) is None:
    time.sleep(0.01)
print(code, os.environ.get("FOREBAY_LOG_LEVEL"))
"""
PROBE = """
import os, signal, sys
def main():
    for descriptor in map(int, sys.argv[1:]):
        try:
            os.fstat(descriptor)
            print("open", descriptor)
        except OSError:
            pass
    print(os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, *sys.orig_argv[1:3])
    print(os.environ["FOREBAY_LOG_LEVEL"], open("/proc/self/cmdline").read().rstrip(chr(0)), flush=True)
    raise SystemExit(78)
"""


def test_a_box_has_the_six_stages_and_what_its_sources_need() -> None:
    assert [row.name for row in rows_for(load_settings(triage_port=-1))] == list(STAGES)
    topic = {"topic": "zeek", "site": "plant", "sensor": "edge-1"}
    file = {"file": "/logs/conn.log", "site": "plant", "sensor": "edge-2"}
    assert rows_for(load_settings(triage_port=-1, sources=[topic])) == (INTAKE, *WORKERS)
    assert rows_for(load_settings(triage_port=-1, sources=[file])) == (FOLLOW, *WORKERS)
    both = load_settings(triage_port=-1, sources=[file, topic, {**file, "file": "/b"}])
    assert rows_for(both) == (FOLLOW, INTAKE, *WORKERS)
    row = endpoint_row("/run", 9470, "::1").at_port(5)
    assert row.port == 5 and row.arguments == ("/run", "::1", "5") and PORT not in row.arguments


def run(program: str, folder: Path) -> str:
    environment = environment_of(load_settings()) | {"PYTHONPATH": f"{ROOT}:{folder}"}
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=inherited_environment(environment), capture_output=True,
        text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@linux
@pytest.mark.slow
def test_what_the_supervisor_imports_starts_no_thread_and_loads_no_torch(tmp_path: Path) -> None:
    assert run(IMPORTS, tmp_path) == "True 1 False"


@linux
def test_a_forked_worker_is_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "probe_worker.py").write_text(PROBE)
    assert run(FORKS, tmp_path) == "78 info"
    own, environment = (tmp_path / "log").read_text().splitlines()
    assert own == "True True -m pipeline.tools.cli"
    assert environment == "debug forebay probe"

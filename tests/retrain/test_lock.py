import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import Failed
from pipeline.retrain.lock import alone
from tests.patience import PATIENCE_S

HOLD = """
import sys, time
from pathlib import Path
from pipeline.retrain.lock import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_second_training_is_refused_and_a_killed_ones_lock_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Failed, match=rf"trained already \(process {holder.pid} on "), alone(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


@pytest.mark.slow
def test_one_that_waits_gets_it_once_it_is_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        threading.Timer(0.5, holder.kill).start()
        with alone(tmp_path, wait_s=PATIENCE_S):
            assert holder.wait(PATIENCE_S) < 0

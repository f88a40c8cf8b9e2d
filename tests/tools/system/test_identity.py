import os
import signal
import subprocess
import sys

from pipeline.tools.system.identity import Identity, identity_of, is_alive, send_signal, usage_of
from tests.patience import PATIENCE_S

WAITS = "import time; print(flush=True); time.sleep(600)"


def test_a_process_is_known_by_its_start_not_by_its_pid() -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        identity = identity_of(child.pid)
        assert identity is not None and is_alive(identity)
        other = Identity(child.pid, f"{identity.started}0")
        assert not is_alive(other)
        assert not send_signal(other, signal.SIGKILL)
        assert child.poll() is None
        assert send_signal(identity, signal.SIGTERM)
        assert child.wait(PATIENCE_S) == -signal.SIGTERM
    assert not is_alive(identity)
    assert not send_signal(identity, signal.SIGTERM)


def test_a_dead_child_nobody_has_collected_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identity_of(child.pid) is None


def test_what_a_process_uses_is_read_where_the_system_says_it() -> None:
    usage = usage_of(os.getpid())
    assert usage.cpu_s is not None and usage.cpu_s > 0
    assert usage.rss_bytes is not None and usage.pss_bytes is not None
    assert 0 < usage.pss_bytes <= usage.rss_bytes
    without = usage_of(os.getpid(), with_pss=False)
    assert without.rss_bytes is not None and without.pss_bytes is None
    assert usage.rss_bytes / 2 < without.rss_bytes < usage.rss_bytes * 2
    gone = usage_of(2**22 + 1)
    assert (gone.rss_bytes, gone.pss_bytes, gone.cpu_s) == (None, None, None)

"""Nothing is left to be compiled or loaded for the first alert once the stage has warmed up."""

import subprocess
import sys

LATER = """
import sys
from pipeline.alert import kernel
from pipeline.alert.grouping import load_grouping
from pipeline.alert.partition import PartitionState, advance_partition
from pipeline.alert.validity import require_valid
from pipeline.alert.worker import warm_up
from tests.alert.suspects import scored
from tests.contracts.facts import rows_facts

grouping = load_grouping()
warm_up(grouping)
modules, compiled = set(sys.modules), len(kernel._link.signatures)
rows = scored([{"at": at} for at in range(10)])
made = advance_partition(PartitionState.empty(), rows, rows_facts(seq=0), grouping, lambda _model: None)
assert made.events
for event in made.events:
    require_valid(event)
assert compiled == len(kernel._link.signatures) == 1, kernel._link.signatures
assert set(sys.modules) == modules, set(sys.modules) - modules
"""


def test_a_first_alert_compiles_and_loads_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

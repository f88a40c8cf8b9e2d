"""Every stage says when it is ready and that it is alive: the probes of k8s/ ask for both."""

import ast

import pytest

from tests.contract.tree import STAGES, modules

# Featurize and alert run in the shell around Faust, which says it for them.
SAYS_IT = {stage: f"pipeline.{stage}.worker" for stage in STAGES} | dict.fromkeys(
    ("featurize", "alert"), "pipeline.runtime.faust.worker"
)


@pytest.mark.parametrize("stage", STAGES)
def test_a_room_is_ready_and_alive(stage: str) -> None:
    (module,) = [module for module in modules("pipeline") if module.name == SAYS_IT[stage]]
    calls = {
        node.func.attr
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert {"announce", "beat"} <= calls

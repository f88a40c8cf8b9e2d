"""The arrows between folders: which one imports which, and the floors they stand on.

`python -m tests.contract.imports_between` prints them, and one JSON document as its last line.
"""

import json
import sys
from collections.abc import Mapping, Sequence

from tests.contract.tree import Module, modules


def folder_of(name: str) -> str | None:
    """`pipeline.score.route` -> `pipeline.score`; models, schemas and loadtest are one folder each."""
    parts = name.split(".")
    if parts[0] in {"models", "schemas", "loadtest"}:
        return parts[0]
    return ".".join(parts[:2]) if parts[0] == "pipeline" and len(parts) > 1 else None


def arrows(scanned: Sequence[Module]) -> dict[str, set[str]]:
    """Each folder's imports of other folders, also those inside functions."""
    by_folder: dict[str, set[str]] = {}
    for module in scanned:
        source = folder_of(module.name)
        if source is None:
            continue
        targets = by_folder.setdefault(source, set())
        targets |= {target for imported in module.imports if (target := folder_of(imported.name))} - {source}
    return by_folder


def floors(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Folders by floor, from the ground: each imports from lower ones alone; ValueError where some form a ring."""
    left = {folder: set(targets) & imports.keys() for folder, targets in imports.items()}
    built: list[list[str]] = []
    while left:
        floor = sorted(folder for folder, targets in left.items() if not targets & left.keys())
        if not floor:
            raise ValueError(f"these import each other in a ring: {', '.join(sorted(left))}")
        built.append(floor)
        for folder in floor:
            del left[folder]
    return built


def main() -> None:
    """Print the floors from the top, what each folder imports, and the counts."""
    imports = arrows(modules())
    built = floors(imports)
    for number, floor in reversed(list(enumerate(built, start=1))):
        for folder in floor:
            sys.stdout.write(f"{number}  {folder:<20} → {', '.join(sorted(imports[folder])) or '-'}\n")
    count = sum(len(targets) for targets in imports.values())
    sys.stdout.write(json.dumps({"folders": len(imports), "floors": len(built), "arrows": count}) + "\n")


if __name__ == "__main__":
    main()

"""The protocols by name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from models.errors import RefusedModel
from models.lab.detectors.detector import Family
from models.lab.protocols.controls import Controls
from models.lab.protocols.cost import Cost
from models.lab.protocols.identifiers import IdentifiersOnly
from models.lab.protocols.iiot import Plant
from models.lab.protocols.nsl_kdd_cv import NslKddCv
from models.lab.protocols.nsl_kdd_test import NslKddTest
from models.lab.protocols.plan import Plan
from models.lab.protocols.unknowns import Unknowns
from models.lab.tables.nsl_kdd import TRAIN

PROTOCOLS = ("nsl-kdd-cv", "nsl-kdd-test", "unknowns", "iiot", "table", "controls", "cost")
SEEDS = {"nsl-kdd-cv": 10, "nsl-kdd-test": 10, "unknowns": 3, "iiot": 3, "table": 3, "controls": 5, "cost": 1}


def families(names: Sequence[str]) -> tuple[Family, ...]:
    """Detectors by name, all where none is named; RefusedModel lists what there is."""
    from models.lab.detectors.catalogue import FAMILIES
    from models.lab.detectors.igan_ids import ABLATIONS

    known = FAMILIES | {family.name: family for family in ABLATIONS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RefusedModel(f"--models: got {', '.join(unknown)}, expected some of {', '.join(known)}")
    return tuple(known[name] for name in names) or tuple(FAMILIES.values())


def nsl_kdd_plan(
    protocol: str, data: Path, names: Sequence[str], seeds: int, plant: Callable[[], Plant] | None = None
) -> Plan:
    """A protocol on NSL-KDD; `seeds` are runs of `nsl-kdd-cv`, `plant` joins the sets whose identifiers are tried."""
    from models.lab.detectors.catalogue import CONTROLS, FAMILIES
    from models.lab.detectors.igan_ids import ABLATIONS

    chosen = families(names)
    folder = data / "nsl-kdd" if (data / "nsl-kdd").is_dir() else data
    if not (folder / f"{TRAIN}.parquet").is_file():
        raise RefusedModel(f"{data}: got no {TRAIN}.parquet in it or in nsl-kdd/, expected NSL-KDD as Parquet")
    if protocol == "nsl-kdd-cv":
        return NslKddCv(folder, chosen, seeds)
    if protocol == "nsl-kdd-test":
        return NslKddTest(folder, chosen, seeds)
    if protocol == "unknowns":
        return Unknowns(folder, chosen, seeds)
    if protocol == "controls":
        learners = (FAMILIES["igan-ids"], FAMILIES["lightgbm"])
        identifiers = IdentifiersOnly(folder, data, learners, 1, plant)
        variants = chosen if names else ABLATIONS
        return Controls(folder, tuple(CONTROLS.values()), variants, seeds, identifiers)
    return Cost(folder, chosen)

"""Every number of the recipe."""

from dataclasses import asdict, dataclass, fields
from typing import Any

AUGMENTATIONS = ("none", "random", "smote", "gan")
TEACHERS = ("none", "lightgbm")
VIEWS = ("distance", "closeness")
TABLES = ("float32", "int8")

# For devices without much memory: 27,000 parameters on 75 features, most of them of one byte.
SMALL: dict[str, Any] = {"width": 32, "latent": 32, "top": 32, "bins": 12, "table": "int8"}


@dataclass(frozen=True, slots=True)
class IganConfig:
    """The network's sizes and its training; the defaults are the shipped model's."""

    # Classes: first the benign ones (a harmless login is rare enough to be one of its own; it is reported as the
    # first, normal), then what an alert can be about.
    classes: tuple[str, ...] = ("normal", "login", "mitm", "portscan", "ssh_bruteforce", "misconf", "duplication")
    benign: int = 2
    # Labelled by time alone: everything the network did meanwhile carries the label. Only what looks unusual is learnt.
    coarse: tuple[str, ...] = ("misconf", "duplication")

    # Network: F → look-up 128 → 128 → 64 → classes
    width: int = 128
    latent: int = 128
    top: int = 64
    bins: int = 48
    table: str = "float32"  # of the look-up layer as it is stored and scored; int8 for devices without much memory
    clip: float = 6.0

    # Encoder and classifier: about so many steps, whatever the number of rows
    steps: int = 2000
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    dropout: float = 0.1
    teacher: str = "none"
    teacher_rows: int = 2  # perturbed rows a real one
    teacher_swap: float = 0.6  # at most this share of their columns comes from another row

    # Imbalance filter and GAN
    augmentation: str = "none"
    minority_share: float = 0.5
    gan_least_rows: int = 50
    augment_share: float = 0.25
    augment_factor: int = 20
    gan_kind: str = "linear"  # or "conv", as in the paper
    sample_filter: bool = True
    filter_held_out: float = 0.1  # share of every class the GAN never sees: the filter's percentile is theirs
    noise: int = 32
    class_embedding: int = 16
    gan_steps: int = 1500
    gan_batch: int = 256
    generator_rate: float = 2e-4
    discriminator_rate: float = 4e-4
    generator_ce: float = 0.2
    average_decay: float = 0.995
    classifier_epochs: int = 6
    classifier_rate: float = 1e-3
    fine_tune_epochs: int = 1
    fine_tune_rate: float = 3e-4

    # What is unusual: the distance of a row to normal traffic, and the odds of an unknown attack
    view: str = "distance"  # or "closeness" to the nearest prototype
    shrinkage: float = 0.05
    prototypes: int = 1024
    pi: float = 1e-3
    margin_weight: float = 0.25
    coarse_quantile: float = 0.99

    # Split and calibration
    block_us: int = 150_000_000
    hold_out_every: int = 3
    embargo_us: int = 5_000_000
    alert_level: float = 2e-3  # an incident takes two suspects that belong together, so one in 500 may stray
    least_suspects: int = 2  # where a table is small: at least so many of its own flows would be suspects

    # The odds' constants are tried on trial networks of so many steps, one family or sensor left out at a time.
    trial_steps: int = 1000

    # Determinism: the same bits for the same CPU type and thread count.
    seed: int = 20230310
    threads: int = 1

    def document(self) -> dict[str, Any]:
        """The configuration as plain JSON values; the table's kind only where it is not the usual one."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in plain.items() if name != "table" or value != TABLES[0]}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "IganConfig":
        """The configuration a manifest holds; TypeError or ValueError where it is none."""
        known = {field.name: field for field in fields(cls)}
        if set(document) | {"table"} != set(known):
            raise ValueError(f"config: got {sorted(document)}, expected {sorted(known)}")
        values: dict[str, Any] = {}
        for name, value in document.items():
            default = known[name].default
            if isinstance(default, tuple):
                if not isinstance(value, list) or not all(type(item) is type(default[0]) for item in value):
                    raise ValueError(f"config {name}: got {value!r}, expected a list like {list(default)}")
                values[name] = tuple(value)
            elif type(value) is not type(default):
                raise ValueError(f"config {name}: got {value!r}, expected something like {default!r}")
            else:
                values[name] = value
        if values.get("table", TABLES[0]) not in TABLES:
            raise ValueError(f"config table: got {values['table']!r}, expected {' or '.join(TABLES)}")
        return cls(**values)

"""Every number of the recipe."""

from dataclasses import asdict, dataclass, fields
from typing import Any

AUGMENTATIONS = ("none", "random", "smote", "gan")
LATER = frozenset(
    {
        "bins",
        "strangers",
        "stranger_swap",
        "gan_kind",
        "sample_filter",
        "filter_held_out",
        "use_temperature",
    }
)


@dataclass(frozen=True, slots=True)
class IganConfig:
    """The network's sizes and its training; the defaults are the shipped model's."""

    # Classes: first the benign ones (a harmless login is rare enough to be one of its own; it is reported as the
    # first, normal), then what an alert can be about.
    classes: tuple[str, ...] = ("normal", "login", "mitm", "portscan", "ssh_bruteforce", "misconf", "duplication")
    benign: int = 2
    # Labelled by time alone: everything the network did meanwhile carries the label. Only what looks unusual is learnt.
    coarse: tuple[str, ...] = ("misconf", "duplication")

    # Network: F → 256 → 128 → 64
    hidden: tuple[int, int] = (256, 128)
    latent: int = 64
    clip: float = 6.0

    # Encoder
    epochs: int = 8
    batch: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.1
    supervised_contrastive: float = 0.1
    contrastive_temperature: float = 0.1
    feature_masking: float = 0.1

    # Imbalance filter and GAN
    augmentation: str = "gan"
    minority_share: float = 0.5
    gan_least_rows: int = 50
    augment_share: float = 0.25
    augment_factor: int = 20
    noise: int = 32
    class_embedding: int = 16
    gan_steps: int = 1500
    gan_batch: int = 256
    generator_rate: float = 2e-4
    discriminator_rate: float = 4e-4
    generator_ce: float = 0.2
    average_decay: float = 0.995

    # Classifier
    classifier_epochs: int = 6
    fine_tune_epochs: int = 1

    # Novelty
    novelty_steps: int = 800
    shrinkage: float = 0.05
    coarse_quantile: float = 0.99

    # Split and calibration
    block_us: int = 150_000_000
    hold_out_every: int = 3
    embargo_us: int = 5_000_000
    alert_level: float = 2e-3  # an incident takes two suspects that belong together, so one in 500 may stray
    least_suspects: int = 2  # where a table is small: at least so many of its own flows would be suspects

    # Weights of the fusion: tried on the training rows, one family or sensor left out at a time.
    choice_epochs: int = 4

    # Determinism: the same bits for the same CPU type and thread count.
    seed: int = 20230310
    threads: int = 1

    # Switches that came after the first manifests (see LATER): off, a model is what it was without them.
    bins: int = 0  # every number also as which of so many quantiles it lies in
    strangers: float = 0.0  # made-up neighbours of normal traffic, so many a training row, as one more class
    stranger_swap: float = 0.6  # at most this share of their columns comes from another row
    gan_kind: str = "linear"  # or "conv", as in the paper
    sample_filter: bool = True
    filter_held_out: float = 0.0  # share of every class the GAN never sees: the filter's percentile is theirs
    use_temperature: bool = True

    def document(self) -> dict[str, Any]:
        """The configuration as plain JSON values; a later switch is named only where it is not at its default."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        off = {field.name: field.default for field in fields(self) if field.name in LATER}
        return {name: value for name, value in plain.items() if name not in off or value != off[name]}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "IganConfig":
        """The configuration a manifest holds; TypeError or ValueError where it is none."""
        known = {field.name: field for field in fields(cls)}
        if not set(known) - LATER <= set(document) <= set(known):
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
        return cls(**values)

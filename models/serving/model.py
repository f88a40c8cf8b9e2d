"""A model in memory: its manifest and its weights, and the network they make."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from models.errors import RefusedModel
from models.igan.calibration import ConformalTable
from models.igan.config import IganConfig
from models.igan.known_classes import CENTRE, KnownClasses
from models.igan.network import Fusion, IganNetwork
from models.igan.novelty import Mahalanobis
from models.igan.origin import Origin
from models.rows import Floats
from models.serving import weights
from schemas import model_manifest as manifest

POOLED = "*"  # the calibration of every origin without one of its own


@dataclass(frozen=True)
class Model:
    """One version of the detector.

    Attributes
    ----------
    document : the manifest (schemas/model_manifest.json)
    weights : tensors by name, float32
    """

    document: dict[str, Any]
    weights: dict[str, Floats]
    config: IganConfig = field(init=False)
    origins: dict[str, Origin] = field(init=False)
    known: KnownClasses | None = field(init=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "config", IganConfig.from_document(self.document["config"]))
            calibration = self.document["calibration"]
            object.__setattr__(self, "origins", {key: self._origin(key, calibration[key]) for key in calibration})
            object.__setattr__(self, "known", self._known())
        except (ValueError, TypeError, KeyError) as error:
            raise RefusedModel(f"model {self.id}: {error}; the manifest is of another version or damaged") from error

    def _origin(self, key: str, entry: dict[str, Any]) -> Origin:
        distance = Mahalanobis(len(self.features))
        centre, whitening = (torch.from_numpy(np.array(self.weights[name])) for name in distance_names(key))
        distance.centre, distance.whitening = centre, whitening
        return Origin(
            distance,
            Fusion.from_document(entry["fusion"]),
            ConformalTable.from_document(entry),
            float(entry["alert_level"]),
        )

    def _known(self) -> KnownClasses | None:
        """Where its classes are known; None where it was trained before that was asked."""
        if "known" not in self.document:
            return None
        return KnownClasses.from_document(self.document["known"], self.weights, self.classes)

    @property
    def id(self) -> str:
        """The model's name: a hash of its content."""
        return str(self.document["id"])

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the manifest's bytes, which hold that of the weights."""
        return manifest.sha256(manifest.canonical(self.document))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names; `class_index` of a score counts in them."""
        return self.config.classes

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns it reads, in order."""
        return tuple(feature["name"] for feature in self.document["features"])

    def expect_features(self, name: str, feature_hash: str) -> None:
        """RefusedModel unless the rows' feature set is the one the model was trained on."""
        wanted = self.document["feature_hash"]
        if wanted != feature_hash:
            raise RefusedModel(
                f"model {self.id} was trained on feature set {self.document['feature_set']} {wanted[:12]}, got rows of "
                f"{name} {feature_hash[:12]}; train a model on these features, or run the release the model is from"
            )

    def network(self) -> IganNetwork:
        """The network with these weights, in evaluation mode, on the CPU."""
        network = IganNetwork(len(self.features), self.config)
        names = set(network.state_dict())
        network.load_state_dict(
            {name: torch.from_numpy(np.array(value)) for name, value in self.weights.items() if name in names}
        )
        network.eval()
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        return network

    def origin_of(self, origin: str) -> str:
        """The calibration for `site/sensor` or `site`: its own, else its site's, else the pooled one."""
        for key in (origin, origin.partition("/")[0]):
            if key in self.origins and key != POOLED:
                return key
        return POOLED


def distance_names(key: str) -> tuple[str, str]:
    """Names of the tensors of an origin's distance."""
    return f"distance.{key}.centre", f"distance.{key}.whitening"


def expected_shapes(
    features: int, config: IganConfig, origins: Iterable[str], prototypes: int | None = None
) -> weights.Shapes:
    """Names and shapes of the tensors a model of this size has; `prototypes` of known classes, None without any."""
    with torch.device("meta"):
        network = IganNetwork(features, config)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for key in origins:
        centre, whitening = distance_names(key)
        shapes |= {centre: (features,), whitening: (features, features)}
    return shapes if prototypes is None else shapes | {CENTRE: (prototypes, features)}


def tensors_of(
    network: IganNetwork, origins: Mapping[str, Origin], known: KnownClasses | None = None
) -> dict[str, Floats]:
    """All weights of a network, its origins' distances and its known classes' prototypes, by name."""
    tensors = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    for key, origin in origins.items():
        centre, whitening = distance_names(key)
        tensors |= {centre: origin.distance.centre.numpy(), whitening: origin.distance.whitening.numpy()}
    return tensors if known is None else tensors | known.tensors


def finish(document: dict[str, Any], tensors: dict[str, Floats]) -> Model:
    """A model from a manifest without `weights_sha256` and `id`: both are worked out here."""
    complete = {**document, "weights_sha256": manifest.sha256(weights.encode(tensors))}
    return Model({**complete, "id": manifest.model_id(complete)}, tensors)

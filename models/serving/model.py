"""A model in memory: its manifest and its weights, and the network they make."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from models.errors import RefusedModel
from models.igan.arrays import Int8s, NetworkArrays
from models.igan.config import IganConfig
from models.igan.known_classes import CENTRE, KnownClasses
from models.igan.origin import Origin
from models.igan.views import view_of
from models.rows import Floats, Ints, Mask
from models.serving import weights
from schemas import model_manifest as manifest

POOLED = manifest.POOLED


@dataclass(frozen=True)
class Model:
    """One version of the detector.

    Attributes
    ----------
    document : the manifest (schemas/model_manifest.json)
    weights : tensors by name, float32, and in a small model an int8 table
    """

    document: dict[str, Any]
    weights: dict[str, Floats | Int8s]
    config: IganConfig = field(init=False)
    origins: dict[str, Origin] = field(init=False)
    features: tuple[str, ...] = field(init=False)
    """Names of the columns it reads, in order."""
    known: KnownClasses = field(init=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "config", IganConfig.from_document(self.document["config"]))
            object.__setattr__(self, "features", tuple(feature["name"] for feature in self.document["features"]))
            calibration = self.document["calibration"]
            object.__setattr__(self, "origins", {key: self._origin(key, calibration[key]) for key in calibration})
            known = KnownClasses.from_document(self.document["known"], {CENTRE: self._floats(CENTRE)}, self.classes)
            object.__setattr__(self, "known", known)
        except (ValueError, TypeError, KeyError) as error:
            raise RefusedModel(f"model {self.id}: {error}; the manifest is of another version or damaged") from error

    def _origin(self, key: str, entry: dict[str, Any]) -> Origin:
        names = view_shapes(len(self.features), self.config)
        tensors = {name: self._floats(f"{name}.{key}") for name in names}
        return Origin.from_document(entry, view_of(tensors))

    def _floats(self, name: str) -> Floats:
        return self.weights[name].astype(np.float32, copy=False)

    @property
    def id(self) -> str:
        """The model's name: a hash of its content."""
        return str(self.document["id"])

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the manifest's bytes, which hold that of the weights."""
        return manifest.sha256(manifest.canonical(self.document))

    @cached_property
    def fitted(self) -> frozenset[str]:
        """The sensors it is calibrated for by what their own baselines call usual: it holds where they are anchored."""
        return manifest.fitted_origins(self.document)

    @cached_property
    def own(self) -> Mask:
        """(S,) which of its calibrations are some sensor's or site's own: all but the pooled one."""
        return np.array([key != POOLED for key in self.origins], np.bool_)

    @cached_property
    def fitted_ones(self) -> Mask:
        """(S,) which of its calibrations are `fitted`."""
        return np.array([key in self.fitted for key in self.origins], np.bool_)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {key: number for number, key in enumerate(self.origins)}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names; `class_index` of a score counts in them."""
        return self.config.classes

    def expect_features(self, name: str, feature_hash: str) -> None:
        """RefusedModel unless the rows' feature set is the one the model was trained on."""
        wanted = self.document["feature_hash"]
        if wanted != feature_hash:
            raise RefusedModel(
                f"model {self.id} was trained on feature set {self.document['feature_set']} {wanted[:12]}, got rows of "
                f"{name} {feature_hash[:12]}; train a model on these features, or run the release the model is from"
            )

    def arrays(self) -> NetworkArrays:
        """The network as scoring reads it; RefusedModel where the tensors make none."""
        return NetworkArrays.from_tensors(self.weights, self.config.benign, self.config.clip)

    def origin_of(self, origin: str) -> str:
        """The calibration for `site/sensor` or `site`: its own, else its site's, else the pooled one."""
        return manifest.origin_of(self.origins, origin)

    def calibrations_of(self, origins: Iterable[str]) -> Ints:
        """(s,) of each `site/sensor` or `site` the number of its calibration (`origin_of`) among `self.origins`."""
        number = self._number
        return np.array([number[manifest.origin_of(number, origin)] for origin in origins], np.int64)


def view_shapes(features: int, config: IganConfig, prototypes: int | None = None) -> weights.Shapes:
    """Names and shapes of an origin's tensors; how many prototypes an origin has depends on its rows."""
    if config.view == "closeness":
        return {"prototypes": (prototypes or config.prototypes, features)}
    return {"centre": (features,), "whitening": (features, features)}


def view_tensors(key: str, origin: Origin) -> dict[str, Floats]:
    """The tensors of an origin's view, by their names among the weights."""
    return {f"{name}.{key}": value for name, value in origin.view.tensors().items()}


def expected_shapes(document: dict[str, Any], config: IganConfig) -> weights.Shapes:
    """Names and shapes of the tensors that a manifest's model has."""
    features, knots = len(document["features"]), document["knots"]
    columns, plain, edges = (int(knots[name]) for name in ("columns", "plain", "edges"))
    shapes: weights.Shapes = {
        "preprocess.log": (features,),
        "preprocess.mean": (features,),
        "preprocess.deviation": (features,),
        "knots.column": (columns,),
        "knots.count": (columns,),
        "knots.edge": (edges,),
        "knots.plain": (plain,),
        "lookup.table": (edges, config.width),
        "lookup.row": (plain, config.width),
        "lookup.bias": (config.width,),
        "middle.weight": (config.latent, config.width),
        "middle.bias": (config.latent,),
        "top.weight": (config.top, config.latent),
        "top.bias": (config.top,),
        "last.weight": (len(config.classes), config.top),
        "last.bias": (len(config.classes),),
    }
    for key, entry in document["calibration"].items():
        for name, shape in view_shapes(features, config, entry.get("prototypes")).items():
            shapes[f"{name}.{key}"] = shape
    if config.table == "int8":
        shapes[weights.SCALE] = (columns,)
    shapes[CENTRE] = (sum(entry["prototypes"] for entry in document["known"].values()), features)
    return shapes


def tensors_of(
    network: Mapping[str, Floats | Int8s], origins: Mapping[str, Origin], known: KnownClasses
) -> dict[str, Floats | Int8s]:
    """All weights: a network's tensors, its origins' views and its known classes' prototypes, by name."""
    tensors = dict(network)
    for key, origin in origins.items():
        tensors |= view_tensors(key, origin)
    return tensors | known.tensors


def knots_document(tensors: Mapping[str, Floats | Int8s]) -> dict[str, int]:
    """The sizes of a network's look-up layer, for the manifest."""
    return {
        "columns": len(tensors["knots.column"]),
        "plain": len(tensors["knots.plain"]),
        "edges": len(tensors["knots.edge"]),
    }


def finish(document: dict[str, Any], tensors: dict[str, Floats | Int8s]) -> Model:
    """A model from a manifest without `weights_sha256` and `id`: both are worked out here."""
    complete = {
        **document,
        "knots": knots_document(tensors),
        "weights_sha256": manifest.sha256(weights.encode(tensors)),
    }
    return Model({**complete, "id": manifest.model_id(complete)}, tensors)

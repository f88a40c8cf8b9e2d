"""The stages a training goes through: reported while they run, stored as they end, resumed after an interruption."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from models.errors import RefusedModel
from models.igan.tick import Tick
from models.training.checkpoint import Checkpoint, Store

# What a stage of a network costs, in units of the shipped training's encoder.
COST = {"encoder": 1.0, "gan": 1.0, "network": 0.3}

Modules = TypeVar("Modules", bound=tuple[nn.Module, ...])
Watch = Callable[[str, float], None]  # a stage's name, and the share of the whole training that is done


def ignore(_: str, __: float) -> None:
    """Discard the progress."""


@dataclass
class _Course:
    """The state that all parts of one training share."""

    watch: Watch
    store: Store | None
    expected: float = 0.0
    done: float = 0.0
    ended: int = 0


class Stages:
    """Runs a training's stages in their order.

    A stored stage is not run again: its networks are read, and every random generator is set to its state at the end
    of the stage, so that later stages get the same bits as without an interruption.

    Parameters
    ----------
    watch : called from time to time with the current stage and the share of the training that is done
    store : where stages are stored as they end; None stores nothing
    """

    def __init__(self, watch: Watch = ignore, store: Store | None = None) -> None:
        self._course = _Course(watch, store)
        self._name, self._scale = "", 1.0

    def within(self, name: str, scale: float = 1.0) -> "Stages":
        """The stages of a part of the training, such as a trial network, that costs `scale` as much as the main one."""
        part = Stages()
        part._course, part._name, part._scale = self._course, f"{self._name}{name}: ", self._scale * scale
        return part

    def expect(self, cost: float) -> None:
        """Set what the whole training will cost, in units of COST."""
        self._course.expected = cost

    def enter(self, name: str) -> None:
        """Report the start of a stage that is too short to be stored."""
        self._report(name, 0.0)

    def run(
        self,
        name: str,
        make: Callable[[Tick], Modules],
        empty: Callable[[], Modules],
        random: torch.Generator,
    ) -> Modules:
        """The networks that `make` trains, or, where this stage is stored, `empty` networks with the stored weights.

        Parameters
        ----------
        make : trains; called with a callback that takes the share of the stage that is done
        empty : makes networks of the same shapes, untrained, on the device they are to be on
        random : the training's own generator, stored and set with torch's global ones

        Raises RefusedModel where the stored stage does not fit.
        """
        course, full, cost = self._course, f"{self._name}{name}", COST.get(name, 1.0) * self._scale
        self._report(name, 0.0)
        course.ended += 1
        stored = course.store.read(course.ended, full) if course.store is not None else None
        if stored is not None:
            modules = empty()
            _restore(modules, stored, full)
            _set_random(random, stored, full)
        else:
            modules = make(lambda share: self._report(name, share * cost))
            if course.store is not None:
                course.store.write(course.ended, full, _checkpoint(modules, random))
        course.done += cost
        self._report(name, 0.0)
        return modules

    def _report(self, name: str, further: float) -> None:
        course = self._course
        share = (course.done + further) / course.expected if course.expected else 0.0
        course.watch(f"{self._name}{name}", min(1.0, share))


def cost(augmentation: str) -> float:
    """What a network costs, in units of COST."""
    synthetic = COST["network"] + (COST["gan"] if augmentation == "gan" else 0.0)
    return COST["encoder"] + (synthetic if augmentation != "none" else 0.0)


def _checkpoint(modules: tuple[nn.Module, ...], random: torch.Generator) -> Checkpoint:
    """The current state of the networks and the random generators."""
    tensors = {
        f"{index}.{name}": value.detach().cpu().numpy()
        for index, module in enumerate(modules)
        for name, value in module.state_dict().items()
    }
    tensors |= {name: state.cpu().numpy() for name, state in _random_states(modules, random).items()}
    trainable = [
        f"{index}.{name}"
        for index, module in enumerate(modules)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    ]
    return Checkpoint(tensors, trainable, [module.training for module in modules])


def _restore(modules: tuple[nn.Module, ...], checkpoint: Checkpoint, stage: str) -> None:
    """Load a checkpoint into networks of the same shapes."""
    expected = {
        f"{index}.{name}": (tuple(value.shape), value.dtype)
        for index, module in enumerate(modules)
        for name, value in module.state_dict().items()
    }
    got = {
        name: (tuple(value.shape), torch.from_numpy(value).dtype)
        for name, value in checkpoint.tensors.items()
        if not name.startswith("random.")
    }
    if got != expected or len(checkpoint.training) != len(modules):
        odd = sorted(name for name in set(got) | set(expected) if got.get(name) != expected.get(name))[:5]
        raise RefusedModel(f"checkpoint of stage {stage!r}: got other tensors than expected, first {odd}; train anew")
    for index, module in enumerate(modules):
        weights = {name: checkpoint.tensors[f"{index}.{name}"] for name in module.state_dict()}
        module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(f"{index}.{name}" in checkpoint.trainable)
        module.train(checkpoint.training[index])


def _random_states(modules: tuple[nn.Module, ...], random: torch.Generator) -> dict[str, torch.Tensor]:
    states = {"random.own": random.get_state(), "random.torch": torch.get_rng_state()}
    if any(value.is_cuda for module in modules for value in module.state_dict().values()):
        states["random.cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random(random: torch.Generator, checkpoint: Checkpoint, stage: str) -> None:
    try:
        random.set_state(torch.from_numpy(checkpoint.tensors["random.own"].copy()))
        torch.set_rng_state(torch.from_numpy(checkpoint.tensors["random.torch"].copy()))
        if "random.cuda" in checkpoint.tensors:
            torch.cuda.set_rng_state(torch.from_numpy(checkpoint.tensors["random.cuda"].copy()))
    except (KeyError, RuntimeError, TypeError) as error:
        raise RefusedModel(f"checkpoint of stage {stage!r}: no state of the generator ({error}); train anew") from error

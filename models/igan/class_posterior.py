"""From names of attacks to the classes of a task: what the classifier's many names mean for few classes."""

from dataclasses import dataclass

import numpy as np

from models.igan.views import softmax
from models.rows import Doubles, Floats, Ints


@dataclass(frozen=True, slots=True)
class ClassPosterior:
    """How logits of attack names become probabilities of a task's classes.

    The probabilities of names add up to those of classes. They count how common each was in training; `adjustment`
    takes that share of the classes' prior out again: 0 leaves it, 1 makes classes equally likely.

    Attributes
    ----------
    prior : (M,) of the names, training shares
    task : (M,) the task's class of every name
    doubt : a record whose conformal p-value is below this is not called normal; 0 switches it off
    softness : how many times the temperature the attacks are compared at where only doubt says that there is one: of
        what it takes for normal, a classifier that is sure of everything has no say otherwise
    """

    classes: int
    prior: Doubles
    task: Ints
    temperature: float
    adjustment: float
    doubt: float
    softness: float = 1.0

    def probability(self, logits: Floats, p_value: Floats) -> Floats:
        """Logits (n, M), p-values (n,) → (n, K); a class with no name gets 0.

        Source of the adjustment: Menon et al. 2021, "Long-tail learning via logit adjustment", section 4.1.
        """
        joint, prior = self._by_class(logits, self.temperature), np.zeros(self.classes)
        np.add.at(prior, self.task, self.prior)
        joint *= np.where(prior > 0, np.maximum(prior, 1e-12) ** -self.adjustment, 0.0)
        if self.doubt:
            # Not normal by the calibration table: whatever attack it resembles most is the better answer.
            doubted = np.flatnonzero((p_value < self.doubt) & (joint.argmax(axis=1) == 0))
            softened = self._by_class(logits[doubted], self.temperature * self.softness)
            softened[:, 0] = 0.99 * softened[:, 1:].max(axis=1, initial=0.0)
            joint[doubted] = np.where(softened.any(axis=1, keepdims=True), softened, joint[doubted])
        result: Floats = (joint / joint.sum(axis=1, keepdims=True)).astype(np.float32)
        return result

    def _by_class(self, logits: Floats, temperature: float) -> Doubles:
        """Logits (n, M) → (n, K) the probabilities of the names, added up."""
        joint = np.zeros((len(logits), self.classes))
        share = softmax(logits / np.float32(temperature))
        for name, number in enumerate(self.task):
            joint[:, number] += share[:, name]
        return joint

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
    """

    classes: int
    prior: Doubles
    task: Ints
    temperature: float
    adjustment: float
    doubt: float

    def probability(self, logits: Floats, p_value: Floats) -> Floats:
        """Logits (n, M), p-values (n,) → (n, K); a class with no name gets 0.

        Source of the adjustment: Menon et al. 2021, "Long-tail learning via logit adjustment", section 4.1.
        """
        share = softmax(logits / np.float32(self.temperature))
        joint, prior = np.zeros((len(logits), self.classes)), np.zeros(self.classes)
        for name, number in enumerate(self.task):
            joint[:, number] += share[:, name]
            prior[number] += self.prior[name]
        joint *= np.where(prior > 0, np.maximum(prior, 1e-12) ** -self.adjustment, 0.0)
        if self.doubt:
            # Not normal by the calibration table: whatever attack it resembles most is the better answer.
            most = joint[:, 1:].max(axis=1)
            doubted = (p_value < self.doubt) & (most > 0)
            joint[doubted, 0] = np.minimum(joint[doubted, 0], 0.99 * most[doubted])
        result: Floats = (joint / joint.sum(axis=1, keepdims=True)).astype(np.float32)
        return result

"""From names of attacks to the classes of a task: what the classifier's many names mean for few classes."""

from dataclasses import dataclass

import numpy as np

from models.rows import Doubles, Floats, Ints


@dataclass(frozen=True, slots=True)
class ClassPosterior:
    """How logits of attack names become probabilities of a task's classes.

    The network's logits are free of how common a name is. Given back the training prior they add up to classes, and
    `adjustment` takes that share of the classes' prior out again: 0 leaves it, 1 makes classes equally likely.

    Attributes
    ----------
    log_prior : (M,) of the names, training shares
    task : (M,) the task's class of every name
    doubt : a record whose conformal p-value is below this is not called normal; 0 switches it off
    """

    classes: int
    log_prior: Doubles
    task: Ints
    temperature: float
    adjustment: float
    doubt: float

    def probability(self, logits: Floats, p_value: Floats) -> Floats:
        """Logits (n, M or more: what is no name is not read), p-values (n,) → (n, K); a class with no name gets 0.

        Source of the adjustment: Menon et al. 2021, "Long-tail learning via logit adjustment", section 4.1.
        """
        posterior = (logits[:, : len(self.task)].astype(np.float64) + self.log_prior) / self.temperature
        share = np.exp(posterior - posterior.max(axis=1, keepdims=True))
        joint, prior = np.zeros((len(logits), self.classes)), np.zeros(self.classes)
        for name, number in enumerate(self.task):
            joint[:, number] += share[:, name]
            prior[number] += np.exp(self.log_prior[name])
        joint *= np.where(prior > 0, np.maximum(prior, 1e-12) ** -self.adjustment, 0.0)
        if self.doubt:
            # Not normal by the calibration table: whatever attack it resembles most is the better answer.
            most = joint[:, 1:].max(axis=1)
            doubted = (p_value < self.doubt) & (most > 0)
            joint[doubted, 0] = np.minimum(joint[doubted, 0], 0.99 * most[doubted])
        result: Floats = (joint / joint.sum(axis=1, keepdims=True)).astype(np.float32)
        return result

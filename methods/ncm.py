"""NCM, called SimpleCIL: the nearest class mean of frozen features (arXiv 2303.07338, IJCV 2024).

Idea: a pretrained model's features separate new classes already. Each class is remembered by the mean of its
rows' features; a prediction is the class whose mean has the highest cosine with the row's feature. Nothing is
trained and nothing forgotten, so a method that trains has to beat it. Official repository:
zhoudw-zdw/RevisitingCIL.

Trained per task: nothing. Frozen: the backbone. Stored: one mean feature a class, as auxiliary bytes; no
adapter. Needs statistics of old classes, these means; neither task id nor old data. The protocol's head is
made, stays at its start and is not asked; there are no hyper-parameters. Works where there is a feature to
average: on vectors, images and encoders. A model that answers with text has no class means.

Differences: means of a class that comes again are of all its rows.

Defaults that differ from the released program: none, there are no hyper-parameters.
"""

from __future__ import annotations

from typing import Any

from benchmark.method import Context, Method, Phase
from benchmark.state import auxiliary
from methods.pieces.feature_classifier import KINDS, NEEDS, NO_SUM, by_means, empty_means


class NearestClassMean(Method):
    """Class means and nothing else; see the module."""

    needs = NEEDS
    kinds = KINDS
    changes = "nothing"
    own_classifier = True
    no_sum = NO_SUM
    keeps = auxiliary("prototypes")

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without classes."""
        super().__init__(context, hyperparameters)
        self.prototypes = empty_means(self)
        self.classifier = by_means(self, self.prototypes)

    def phases(self, t: int) -> list[Phase]:
        """Return none."""
        return []


METHOD = NearestClassMean

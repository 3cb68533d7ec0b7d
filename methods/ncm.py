"""NCM, called SimpleCIL: the nearest class mean of frozen features (arXiv 2303.07338, IJCV 2024).

Idea: a pretrained model's features separate new classes already. Each class is remembered by the mean of its
rows' features; a prediction is the class whose mean has the highest cosine with the row's feature. Nothing is
trained and nothing forgotten, so a method that trains has to beat it. Official repository:
zhoudw-zdw/RevisitingCIL.

Trained per task: nothing. Frozen: the backbone. Stored: one mean feature a class, as auxiliary bytes; no
adapter. Needs statistics of old classes, these means; neither task id nor old data. The protocol's head is
made, stays as it was drawn and is not asked; there are no hyper-parameters. Works where there is a feature to
average: on vectors, images and encoders. A model that answers with text has no class means.

Differences: means of a class that comes again are of all its rows.
"""

from __future__ import annotations

from benchmark.method import Phase
from methods.pieces.feature_classifier import MeanClassifier


class NearestClassMean(MeanClassifier):
    """Class means and nothing else; see the module."""

    changes = "nothing"

    def phases(self, t: int) -> list[Phase]:
        """Return none."""
        return []


METHOD = NearestClassMean

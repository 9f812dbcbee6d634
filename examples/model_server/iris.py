"""The models: an iris classifier, one like it that takes its time, and one that was built for other data.

What the two protocols share: what the models are called, what they take, what they answer, and what makes a
request the caller's fault (`InvalidRequestError`) rather than the model's.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

INPUT = "features"
FEATURES = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
SPECIES = ("setosa", "versicolor", "virginica")
VERSION = "1"
MAX_ROWS = 1024


class InvalidRequestError(ValueError):
    """The caller's fault; the message is for the caller."""


class UnknownModelError(InvalidRequestError):
    """No model, or no version of it, by that name."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One label for each row, and the probability of each species."""

    species: list[str]
    probabilities: list[list[float]]


@dataclass(frozen=True, slots=True)
class IrisModel:
    """A trained classifier under the name it is served by."""

    name: str
    classifier: LogisticRegression
    takes_seconds: float = 0.0

    def predict(self, rows: np.ndarray) -> Prediction:
        """Classify rows of four measurements in centimetres. Blocks while it works."""
        time.sleep(self.takes_seconds)
        probabilities = self.classifier.predict_proba(rows)
        return Prediction(
            species=[SPECIES[index] for index in probabilities.argmax(axis=1)],
            probabilities=[[round(float(value), 6) for value in row] for row in probabilities],
        )


def train_models() -> dict[str, IrisModel]:
    """Every model this server has, by name."""
    measured, species = load_iris(return_X_y=True)
    good = LogisticRegression(max_iter=1000).fit(measured, species)
    # Trained with a fifth column that requests do not have: training and serving have drifted apart.
    with_row_number = np.column_stack([measured, np.arange(len(measured))])
    stale = LogisticRegression(max_iter=20_000).fit(with_row_number / with_row_number.max(axis=0), species)
    models = (
        IrisModel("iris", good),
        IrisModel("iris-slow", good, takes_seconds=1.2),
        IrisModel("iris-stale", stale),
    )
    return {model.name: model for model in models}


def find(models: Mapping[str, IrisModel], name: str, version: str) -> IrisModel:
    """The model that was asked for; raises UnknownModelError."""
    if name not in models:
        raise UnknownModelError(f"no model {name!r}; there are {', '.join(models)}")
    if version not in ("", VERSION):
        raise UnknownModelError(f"model {name!r} has no version {version!r}; there is {VERSION!r}")
    return models[name]


def rows_of(name: str, datatype: str, shape: Sequence[int], values: Sequence[float]) -> np.ndarray:
    """The one input tensor as rows; raises InvalidRequestError where it isn't what the models take."""
    if name != INPUT:
        raise InvalidRequestError(f"unexpected input {name!r}; expected {INPUT!r}")
    if datatype not in ("FP32", "FP64"):
        raise InvalidRequestError(f"input {INPUT!r} has datatype {datatype!r}; expected FP32 or FP64")
    if len(shape) != 2 or shape[1] != len(FEATURES) or not 1 <= shape[0] <= MAX_ROWS:
        raise InvalidRequestError(
            f"input {INPUT!r} has shape {list(shape)}; expected [1..{MAX_ROWS}, {len(FEATURES)}]"
        )
    if len(values) != shape[0] * shape[1]:
        raise InvalidRequestError(
            f"input {INPUT!r} has {len(values)} values; its shape needs {shape[0] * shape[1]}"
        )
    rows = np.asarray(values, dtype=np.float64).reshape(shape)
    if not np.isfinite(rows).all():
        raise InvalidRequestError(f"input {INPUT!r} holds values that are not finite")
    return rows

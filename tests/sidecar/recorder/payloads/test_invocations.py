"""`/invocations` of MLflow, SageMaker and Databricks."""

from typing import Any

import pytest

from sidecar.recorder.payloads import CallPayloads, Side, Tensor, understand


@pytest.mark.parametrize(
    ("request_body", "inputs"),
    [
        (
            {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4], [5, 6]]}},
            [Tensor("dataframe_split", "", (3, 2))],
        ),
        ({"dataframe_records": [{"a": 1, "b": 2}]}, [Tensor("dataframe_records", "", (1, 2))]),
        ({"instances": [[1, 2]]}, [Tensor("instances", "NUMBER", (1, 2))]),
        ({"inputs": {"x": [[1]]}}, [Tensor("x", "NUMBER", (1, 1))]),
        ([[1, 2], [3, 4]], [Tensor("rows", "", (2, 2))]),
    ],
)
def test_json(read, request_body: Any, inputs: list[Tensor]) -> None:
    """Tables by rows and columns, rows and tensors by their shapes."""
    view = read("/invocations", request_body, {"predictions": [1, 2, 3]})
    assert (view.api, view.inputs) == ("invocations", inputs)
    assert view.outputs == [Tensor("predictions", "NUMBER", (3,))]


def test_csv() -> None:
    """CSV is counted, and shown by its rows."""
    asked = Side("text/csv", (), b'5.1,"a, b"\n4.9,c\n')
    view = understand(CallPayloads("/invocations", asked, Side("text/csv", (), b"0\n1\n")))
    assert view.inputs == [Tensor("rows", "", (2, 2))]
    assert view.request_view == {"rows": [["5.1", "a, b"], ["4.9", "c"]]}
    assert view.response_view == {"rows": [["0"], ["1"]]}
    assert view.outputs == [Tensor("predictions", "", (2, 1))]


def test_json_lines() -> None:
    """JSON Lines are counted."""
    asked = Side("application/jsonlines", ({"features": [1]}, {"features": [2]}))
    view = understand(CallPayloads("/endpoints/churn/invocations", asked, Side()))
    assert (view.model_name, view.inputs) == ("churn", [Tensor("rows", "", (2,))])


def test_served_models(read) -> None:
    """Databricks' path names endpoint and served model."""
    view = read("/serving-endpoints/churn/served-models/churn-3/invocations", {}, {})
    assert (view.model_name, view.path_version) == ("churn", "churn-3")


def test_error_of_mlflow(read) -> None:
    """Code, message and stack trace."""
    error = {"error_code": "BAD_REQUEST", "message": "Invalid input.", "stack_trace": "Traceback …"}
    view = read("/invocations", {}, error, status=400)
    failure = view.failure
    assert (failure.type, failure.message, failure.stack_trace) == (
        "BAD_REQUEST",
        "Invalid input.",
        "Traceback …",
    )


def test_much_csv() -> None:
    """All rows are counted, and the first are shown."""
    asked = Side("text/csv", (), b"1,2,3,4\n" * 9000)
    view = understand(CallPayloads("/invocations", asked, Side()))
    assert view.inputs == [Tensor("rows", "", (9000, 4))]
    assert view.request_view == {"rows": [["1", "2", "3", "4"]] * 2500}
    wide = Side("text/csv", (), b"1," * 20_000)
    assert len(understand(CallPayloads("/invocations", wide, Side())).request_view["rows"][0]) == 10_000

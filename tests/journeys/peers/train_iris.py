"""Write a model directory for MLServer: python train_iris.py DIRECTORY HTTP_PORT GRPC_PORT METRICS_PORT

Runs in the environment of mlserver.txt, so that the model is of its own scikit-learn.
"""

import json
import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

directory = Path(sys.argv[1])
http_port, grpc_port, metrics_port = map(int, sys.argv[2:])
joblib.dump(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), directory / "model.joblib")
settings = {
    "host": "127.0.0.1",
    "http_port": http_port,
    "grpc_port": grpc_port,
    "metrics_port": metrics_port,
    "parallel_workers": 0,
}
model = {
    "name": "iris",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib", "version": "v7"},
}
(directory / "settings.json").write_text(json.dumps(settings))
(directory / "model-settings.json").write_text(json.dumps(model))

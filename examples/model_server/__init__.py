"""An ordinary model server, to try a recorder on.

A scikit-learn classifier behind the Open Inference Protocol V2, over REST and over gRPC, and a small text
generator behind an OpenAI-compatible endpoint. It is written as a team that serves models would write it: it
knows nothing of infertap. (The gRPC stubs of the protocol are imported from `infertap.oip`; any other copy of
the published protocol would do.)

    PYTHONPATH=examples python -m model_server --http 127.0.0.1:8000 --grpc 127.0.0.1:8001
"""

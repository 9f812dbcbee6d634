"""The process beside the model. Started by `python -m sidecar`; its rooms are drawn in ARCHITECTURE.md."""

"""Storage: the central service. Takes records from the sidecars' spools and serves them to people.

Runs without the sidecar's packages being imported: all that both sides know is in `infertap`.
"""

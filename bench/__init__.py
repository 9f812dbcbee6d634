"""Benchmarks: side by side with peers, in one run, on pinned cores; medians and ratios.

    relay.py        the command              scenarios.py   what is measured, on whom
    systems.py      what stands in the path  processes.py   started on a core, watched, ended
    load/           who calls                model.py       the upstream of long bodies and of events
    peers/          how the others are set up, and the small proxies written for this
    results.py      figures and their file   bars.py        what is to be reached
    report.py       RESULTS.md               tools.py       installs what is missing
    redaction*.py   recall, REDACTION.md     recorder.py    records a second into the spool
    storage*.py     both archive engines     archive_sizes.py   bytes and work for a record, in both engines
    spool.py        the spool: rate, restart, and how fast the backlog of an outage shrinks

Nothing of it is in the product.
"""

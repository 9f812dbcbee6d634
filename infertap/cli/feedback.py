"""Feedback: `infertap feedback add | list`: gives feedback to calls, and shows what was given."""

import argparse

from google.protobuf.json_format import MessageToJson

from infertap import v1
from infertap.cli.records import with_client
from infertap.client import Client
from infertap.feedback import ABSENT
from infertap.rendering import feedback_lines, local_time, visible


def run_feedback(read: argparse.Namespace) -> int:
    """Run `infertap feedback …`; returns the exit status."""
    return with_client(read, _add if read.action == "add" else _list)


def _add(client: Client, read: argparse.Namespace) -> None:
    attached = client.feedback(
        call_id=read.call_id,
        request_id=read.request_id,
        feedback_id=read.id,
        time=read.time,
        source=read.source,
        rating=read.rating,
        thumb=read.thumb,
        labels=read.label or (),
        comment=read.comment,
        correction=read.correction,
        ground_truth=read.ground_truth[0] if read.ground_truth else ABSENT,
        events=dict(read.event or ()),
    )
    if read.json:
        print(_as_json(attached))
        return
    kept = "was here already" if attached.was_known else "kept"
    calls = ", ".join(map(visible, attached.call_ids)) or "none recorded yet"
    # A call is believed to be there; of a request id the answer names those that are.
    about = f"for call {calls}" if read.call_id else f"calls: {calls}"
    print(f"feedback {visible(attached.feedback_id)} {kept}{'' if read.call_id else ';'} {about}")


def _list(client: Client, read: argparse.Namespace) -> None:
    is_empty = True
    for each in client.list_feedback(call_id=read.call_id, request_id=read.request_id, limit=read.limit):
        is_empty = False
        print(_as_json(each) if read.json else _shown(each))
    if is_empty and not read.json:
        print("no feedback")


def _shown(given: v1.Feedback) -> str:
    subject = f"call {given.call_id}" if given.call_id else f"request {given.request_id}"
    head = [local_time(given.time), given.feedback_id, subject, given.source]
    lines = ["  ".join(visible(each) for each in head if each)]
    return "\n  ".join([*lines, *map(visible, feedback_lines(given))])


def _as_json(message: v1.Feedback | v1.AttachedFeedback) -> str:
    return MessageToJson(message, preserving_proto_field_name=True, indent=None, ensure_ascii=True)

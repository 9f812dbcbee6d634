"""Understanding: from a redacted call to what its payloads tell, with nothing in it that no rule has seen.

Pure. What the readers put together (the answer of a stream, the text of a page) is a new text: a value may
stand in it that stood in none of its parts. So it goes through redaction once more; where that finds
something in an answer, the parts themselves are taken out of the record.
"""

from dataclasses import dataclass, replace
from typing import Any

from sidecar.recorder.payloads import CallPayloads, Failure, View, understand
from sidecar.recorder.redacted_call import RedactedCall, RedactedSide
from sidecar.recorder.redaction import FieldRules, Findings, Policy, RedactedBody, Redactor, Withheld


@dataclass(frozen=True, slots=True)
class Understood:
    """A call, and what it tells."""

    call: RedactedCall
    view: View


class Understanding:
    """Understands calls by one policy."""

    def __init__(self, policy: Policy) -> None:
        # What rules on fields ask for is done; a hash is not hashed again.
        self._redactor = Redactor(replace(policy, fields=FieldRules(())))

    def of(self, call: RedactedCall, status: int) -> Understood:
        """What `call` tells, with its final `status`."""
        view = understand(
            CallPayloads(
                call.path,
                call.request.reading(),
                call.response.reading(),
                status,
                call.grpc_status,
                call.grpc_message,
                call.grpc_details,
            )
        )
        request, view.request_view = self._again(call.request, view.request_view)
        response, view.response_view = self._again(call.response, view.response_view)
        if view.failure:
            view.failure = self._failure(view.failure, call.response.findings)
        if request is not call.request or response is not call.response:
            call = replace(call, request=request, response=response)
        return Understood(call, view)

    def _again(self, side: RedactedSide, view: Any) -> tuple[RedactedSide, Any]:
        if view is None:
            return side, None
        findings = Findings()
        documents = self._redactor.documents((view,), findings)
        if isinstance(documents, Withheld):
            return replace(side, body=RedactedBody(withheld=documents)), None
        # Members of telling names are masked again to what they are.
        if not findings.total or documents[0] == view:
            return side, view
        side.findings.add_all(findings)
        return replace(side, body=RedactedBody(withheld=Withheld.VIEW_ONLY)), documents[0]

    def _failure(self, failure: Failure, findings: Findings) -> Failure:
        redactor = self._redactor
        return Failure(
            redactor.text(failure.type, "error.type", findings),
            redactor.text(failure.message, "error.message", findings),
            redactor.text(failure.stack_trace, "error.stack_trace", findings),
        )

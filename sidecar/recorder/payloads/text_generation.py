"""Text generation: `/generate` and `/generate_stream` of Text Generation Inference and of vLLM's plain
server, `/v2/models/M/generate[_stream]` of Triton (its generate extension).
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import CallPayloads, View, list_of, named, object_of, text_of

_TRITON: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/generate(?:_stream)?$")
_PLAIN: Final = re.compile(r"/generate(?:_stream)?$")
_PARAMETERS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "typical_p",
        "seed",
        "random_seed",
        "max_tokens",
        "max_new_tokens",
        "stop",
        "stop_words",
        "bad_words",
        "n",
        "best_of",
        "stream",
        "do_sample",
        "repetition_penalty",
        "frequency_penalty",
        "presence_penalty",
        "logprobs",
        "ignore_eos",
        "use_beam_search",
        "beam_width",
        "sampling_parameters",
    }
)


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    match = _TRITON.search(call.path)
    if match is None and _PLAIN.search(call.path) is None:
        return None
    request, answers = call.request.document, call.response.objects
    last = answers[-1] if answers else {}
    view = View(
        api="open_inference" if match else "text_generation",
        operation="generate" if match else "text_completion",
        model_name=unquote(match[1]) if match else text_of(request.get("model")),
        model_version=text_of(last.get("model_version")),
        path_version=(match[2] or "") if match else "",
        payload_id=text_of(last.get("id")) or text_of(request.get("id")),
        parameters=named(_PARAMETERS, request) | object_of(request.get("parameters")),
        failed=any(bool(each.get("error")) for each in answers),
    )
    _read_details(view, answers)
    if call.response.is_stream and answers:
        view.response_view = _put_together(answers)
    return view


def _read_details(view: View, answers: list[dict[str, Any]]) -> None:
    """Text Generation Inference counts, and says why it ended, in `details`."""
    for answer in answers:
        details = object_of(answer.get("details"))
        reason = details.get("finish_reason", answer.get("finish_reason"))
        if isinstance(reason, str):
            view.finish_reasons = [reason]
        if details:
            report_tokens(
                view,
                {
                    "input_tokens": details.get("input_length")
                    or len(list_of(details.get("prefill")))
                    or None,
                    "output_tokens": details.get("generated_tokens"),
                },
            )


def _put_together(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The last event with the whole text: of tokens, or of texts that go on."""
    last = {name: value for name, value in answers[-1].items() if name not in ("token", "index")}
    tokens = [object_of(each.get("token")) for each in answers if each.get("token")]
    if tokens:
        shown = [text_of(each.get("text")) for each in tokens if each.get("special") is not True]
        return last | ({} if text_of(last.get("generated_text")) else {"generated_text": "".join(shown)})
    pieces = [each["text_output"] for each in answers if isinstance(each.get("text_output"), str)]
    return last | ({"text_output": "".join(pieces)} if pieces else {})

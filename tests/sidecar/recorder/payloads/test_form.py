"""Forms: what the fields beside a file say."""

import pytest

from sidecar import config
from sidecar.recorder.payloads import CallPayloads, Side, understand
from sidecar.recorder.redaction import Findings, Policy, Redactor

FORM = "multipart/form-data; boundary=b"
DATA = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="model.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n"
    b'RIFF\r\n\r\nname="model"\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="temperature"\r\n\r\n0.2\r\n'
    b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nof ada@example.org\r\n--b--\r\n'
)


def test_model_of_a_form() -> None:
    """A transcription's model and parameters are told, from what redaction left of the form."""
    body = Redactor(Policy.of(config.read({}), None)).body(FORM, DATA, Findings())
    view = understand(
        CallPayloads("/v1/audio/transcriptions", Side("multipart/form-data", (), body.data), status=200)
    )
    assert view.model_name == "whisper-1"
    assert view.parameters == {"temperature": "0.2"}
    assert b"ada@" not in body.data


def test_model_of_an_encoded_form() -> None:
    """The same where it is encoded as a query is; of two the first counts."""
    side = Side("application/x-www-form-urlencoded", (), b"model=m+1&seed=3&model=other")
    view = understand(CallPayloads("/x", side))
    assert (view.model_name, view.parameters) == ("m 1", {"seed": "3"})


@pytest.mark.parametrize(
    "data", [b"", b"--", b"--b", b"x", b"--b\r\n\r\n\r\n--b--", b"--b\r\n" * 5000, b'--b\r\n; name="model"']
)
def test_forms_that_say_nothing(data: bytes) -> None:
    """What is no form, or an empty one, tells nothing and harms nothing."""
    assert understand(CallPayloads("/x", Side("multipart/form-data", (), data))).model_name == ""

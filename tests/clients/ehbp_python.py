"""tinfoil-ehbp, under the official client and by itself: what it sends can be read by the model's machine alone."""

import json
import os

import ehbp
import httpx
import openai

import asked
from asked import MODEL

BASE_URL = os.environ["OPENAI_BASE_URL"]
# The body is sealed: only a header can say which model it is for.
HEADERS = {"Cocoon-Model": MODEL, "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
MESSAGES = [{"role": "user", "content": asked.SUM}]
SUM = dict(model=MODEL, messages=MESSAGES, temperature=0, max_tokens=24)
STREAMED = dict(SUM, stream=True, stream_options={"include_usage": True})

own = ehbp.Client.discover(BASE_URL, http_client=httpx.Client(headers=HEADERS, timeout=120))
sdk = openai.OpenAI(
    http_client=httpx.Client(transport=ehbp.EHBPTransport(own.server_identity)),
    default_headers={"Cocoon-Model": MODEL},
    max_retries=0,
)


def seen(headers, texts, finish, usage):
    [finish] = [reason for reason in finish if reason]
    [usage] = [one for one in usage if one]
    return {
        "text": "".join(text or "" for text in texts),
        "finish": finish,
        "usage": {name: usage[f"{name}_tokens"] for name in ("prompt", "completion", "total")},
        "sealed": "ehbp-response-nonce" in headers,
        "privacy": headers.get("cocoon-privacy"),
    }


def chat():
    raw = sdk.chat.completions.with_raw_response.create(**SUM)
    answer = raw.parse()
    [choice] = answer.choices
    return seen(raw.headers, [choice.message.content], [choice.finish_reason], [answer.usage.model_dump()])


def stream():
    raw = sdk.chat.completions.with_raw_response.create(**STREAMED)
    chunks = list(raw.parse())
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return seen(
        raw.headers,
        [choice.delta.content for choice in choices],
        [choice.finish_reason for choice in choices],
        [chunk.usage.model_dump() for chunk in chunks if chunk.usage],
    )


def own_chat():
    answer = own.post("chat/completions", json_body=SUM)
    assert answer.status_code == 200, answer.content
    body = json.loads(answer.content)
    [choice] = body["choices"]
    return seen(answer.headers, [choice["message"]["content"]], [choice["finish_reason"]], [body["usage"]])


def own_stream():
    with own.stream("POST", "chat/completions", json_body=STREAMED) as answer:
        body = b"".join(answer).decode()
    assert answer.status_code == 200, body
    events = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    assert events.pop() == "[DONE]", body
    chunks = [json.loads(event) for event in events]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return seen(
        answer.headers,
        [choice["delta"].get("content") for choice in choices],
        [choice["finish_reason"] for choice in choices],
        [chunk.get("usage") for chunk in chunks],
    )


asked.run(chat=chat, stream=stream, own_chat=own_chat, own_stream=own_stream)

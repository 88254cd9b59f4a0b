"""The official OpenAI client against a gateway: one answer unstreamed, the same one streamed."""

import json
import os

from openai import OpenAI

client = OpenAI()
model = os.environ["COCOON_MODEL"]
question = [{"role": "user", "content": "What is 2+2? Answer with the number."}]
ask = dict(model=model, messages=question, temperature=0, max_tokens=48)

raw = client.chat.completions.with_raw_response.create(**ask)
whole = raw.parse()

stream = client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
chunks = list(stream)
text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
finish = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]

models = [m.id for m in client.models.list()]

print(
    json.dumps(
        {
            "id": whole.id,
            "object": whole.object,
            "model": whole.model,
            "text": whole.choices[0].message.content,
            "role": whole.choices[0].message.role,
            "finish": whole.choices[0].finish_reason,
            "usage": whole.usage.model_dump(),
            "receipt": raw.headers.get("cocoon-receipt"),
            "request_id": raw.headers.get("x-request-id"),
            "stream_ids": sorted({c.id for c in chunks}),
            "stream_first_role": chunks[0].choices[0].delta.role,
            "stream_text": text,
            "stream_finish": finish,
            "stream_usage": [c.usage.model_dump() for c in chunks if c.usage],
            "stream_usage_choices": [len(c.choices) for c in chunks if c.usage],
            "models": models,
            "retrieved": client.models.retrieve(model).id,
        }
    )
)

"""The official Python client, with everything of it that the gateway serves."""

import json
import os
from typing import Annotated, Literal

import openai
import pydantic

import asked
from asked import MODEL, TOOLS

client = openai.OpenAI()
SUM = dict(model=MODEL, messages=[{"role": "user", "content": asked.SUM}], temperature=0, max_tokens=24)


class Review(pydantic.BaseModel):
    mood: Literal["happy", "sad", "angry"]
    stars: Annotated[int, pydantic.Field(ge=1, le=5)]
    topics: Annotated[list[Literal["food", "service", "price"]], pydantic.Field(max_length=2)]
    word: Annotated[str, pydantic.Field(max_length=12)]


def usage_of(usage):
    return {
        "prompt": usage.prompt_tokens,
        "completion": usage.completion_tokens,
        "total": usage.total_tokens,
        "cached": usage.prompt_tokens_details.cached_tokens,
        "reasoning": usage.completion_tokens_details.reasoning_tokens,
    }


def chat():
    answer = client.chat.completions.create(**SUM)
    [choice] = answer.choices
    return {
        "id": answer.id,
        "object": answer.object,
        "model": answer.model,
        "created": answer.created,
        "role": choice.message.role,
        "text": choice.message.content,
        "refusal": choice.message.refusal,
        "tool_calls": choice.message.tool_calls,
        "finish": choice.finish_reason,
    }


def stream():
    chunks = list(client.chat.completions.create(**SUM, stream=True))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    # The client's own reading of a stream into one answer.
    with client.chat.completions.stream(**SUM) as events:
        for _ in events:
            pass
        assembled = events.get_final_completion()
    return {
        "text": "".join(choice.delta.content or "" for choice in choices),
        "pieces": len([choice for choice in choices if choice.delta.content]),
        "role": choices[0].delta.role,
        "ids": len({chunk.id for chunk in chunks}),
        "finish": [choice.finish_reason for choice in choices if choice.finish_reason],
        "usage_chunks": len([chunk for chunk in chunks if chunk.usage]),
        "assembled": assembled.choices[0].message.content,
    }


def usage():
    whole = client.chat.completions.create(**SUM)
    streamed = client.chat.completions.create(**SUM, stream=True, stream_options={"include_usage": True})
    chunks = list(streamed)
    return {
        "whole": usage_of(whole.usage),
        "streamed": [usage_of(chunk.usage) for chunk in chunks if chunk.usage],
        "last_choices": len(chunks[-1].choices),
    }


def tools():
    question = [{"role": "user", "content": asked.FORECAST}]
    ask = dict(model=MODEL, tools=TOOLS, temperature=0, max_tokens=96)
    named_choice = {"type": "function", "function": {"name": "get_forecast"}}
    forced = {"required": "required", "named": named_choice}
    calls = {}
    for choice, value in forced.items():
        answer = client.chat.completions.create(messages=question, tool_choice=value, **ask).choices[0]
        calls[choice] = {
            "calls": [called(call) for call in answer.message.tool_calls],
            "content": answer.message.content,
            "finish": answer.finish_reason,
        }
    # The last one's call is answered.
    message = answer.message.model_dump(exclude_none=True)
    ids = [call.id for call in answer.message.tool_calls]
    results = [{"role": "tool", "tool_call_id": id, "content": asked.WEATHER} for id in ids]
    second = client.chat.completions.create(messages=[*question, message, *results], tool_choice="none", **ask)
    auto = client.chat.completions.create(messages=question, tool_choice="auto", **ask).choices[0]
    calls["answer"] = second.choices[0].message.content
    calls["answer_finish"] = second.choices[0].finish_reason
    calls["auto"] = {
        "calls": [called(call) for call in auto.message.tool_calls or []],
        "content": auto.message.content,
        "finish": auto.finish_reason,
    }
    calls["streamed"] = streamed_call(question, named_choice, ask)
    return calls


def called(call):
    return {"id": call.id, "name": call.function.name, "arguments": json.loads(call.function.arguments)}


def streamed_call(question, choice, ask):
    with client.chat.completions.stream(messages=question, tool_choice=choice, **ask) as events:
        for _ in events:
            pass
        answer = events.get_final_completion().choices[0]
    return {"calls": [called(call) for call in answer.message.tool_calls], "finish": answer.finish_reason}


def structured():
    answers, finishes = [], []
    for number in range(asked.TIMES):
        message = [{"role": "user", "content": asked.review(number)}]
        ask = dict(model=MODEL, messages=message, response_format=Review, temperature=0, max_tokens=128)
        [choice] = client.chat.completions.parse(**ask).choices
        answers.append(choice.message.parsed.model_dump())
        finishes.append(choice.finish_reason)
    return {"answers": answers, "finish": finishes}


def completions():
    ask = dict(model=MODEL, prompt="The capital of France is", temperature=0, max_tokens=8)
    whole = client.completions.create(**ask)
    chunks = list(client.completions.create(**ask, stream=True))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return {
        "object": whole.object,
        "text": whole.choices[0].text,
        "finish": whole.choices[0].finish_reason,
        "completion": whole.usage.completion_tokens,
        "streamed": "".join(choice.text for choice in choices),
        "streamed_finish": [choice.finish_reason for choice in choices if choice.finish_reason],
    }


def embeddings():
    texts = ["a cat sat", "a cat sits", "the stock market"]
    # The client asks for base64 unless it is told otherwise, and decodes it.
    as_base64 = client.embeddings.create(model=asked.EMBEDDING_MODEL, input=texts)
    as_floats = client.embeddings.create(model=asked.EMBEDDING_MODEL, input=texts, encoding_format="float")
    pairs = zip(as_base64.data, as_floats.data)
    return {
        "indexes": [vector.index for vector in as_base64.data],
        "dimensions": sorted({len(vector.embedding) for vector in as_base64.data}),
        "difference": max(abs(a - b) for one, other in pairs for a, b in zip(one.embedding, other.embedding)),
        "length": sum(a * a for a in as_base64.data[0].embedding),
        "prompt": as_base64.usage.prompt_tokens,
        "total": as_base64.usage.total_tokens,
    }


def responses():
    ask = dict(model=MODEL, input=asked.SUM, temperature=0, max_output_tokens=24, store=False)
    whole = client.responses.create(**ask)
    events = list(client.responses.create(**ask, stream=True))
    last = events[-1].response
    return {
        "object": whole.object,
        "status": whole.status,
        "text": whole.output_text,
        "usage": [whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.total_tokens],
        "events": [event.type for event in events],
        "in_order": [event.sequence_number for event in events] == list(range(len(events))),
        "streamed": "".join(event.delta for event in events if event.type == "response.output_text.delta"),
        "assembled": last.output_text,
        "streamed_usage": [last.usage.input_tokens, last.usage.output_tokens, last.usage.total_tokens],
        "stored": refusal(lambda: client.responses.create(**ask | {"previous_response_id": "resp_1"})),
    }


def models():
    return {"list": [model.id for model in client.models.list()], "one": client.models.retrieve(MODEL).id}


def refusal(ask):
    try:
        ask()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "type": error.type,
            "code": error.code,
            "param": error.param,
            "request_id": error.request_id,
        }
    return {"class": None}


def errors():
    sent = []
    http = openai.DefaultHttpxClient(event_hooks={"request": [lambda request: sent.append(request.url.path)]})
    counted = openai.OpenAI(http_client=http, max_retries=2)
    wrong, poor = counted.with_options(api_key="sk-wrong"), counted.with_options(api_key=os.environ["COCOON_POOR_KEY"])
    asks = {
        "key": lambda: wrong.chat.completions.create(**SUM),
        "model": lambda: counted.chat.completions.create(**SUM | {"model": "gpt-none"}),
        "retrieve": lambda: counted.models.retrieve("gpt-none"),
        "value": lambda: counted.chat.completions.create(**SUM | {"temperature": 9}),
        "type": lambda: counted.chat.completions.create(**SUM | {"max_tokens": "many"}),
        "path": lambda: counted.fine_tuning.jobs.list(),
        "balance": lambda: poor.chat.completions.create(**SUM),
    }
    seen = {}
    for name, ask in asks.items():
        sent.clear()
        seen[name] = refusal(ask) | {"requests": len(sent)}
    raw = client.chat.completions.with_raw_response.create(**SUM)
    seen["headers"] = {name: raw.headers.get(name) for name in ["x-request-id", "cocoon-receipt", "cocoon-cost"]}
    seen["retries_taken"] = raw.retries_taken
    return seen


asked.run(
    chat=chat,
    stream=stream,
    usage=usage,
    tools=tools,
    structured=structured,
    completions=completions,
    embeddings=embeddings,
    responses=responses,
    models=models,
    errors=errors,
)

"""curl, and what the bytes on the wire look like to it."""

import json
import os
import subprocess

import asked
from asked import MODEL

BASE = os.environ["OPENAI_BASE_URL"]
KEY = f"Authorization: Bearer {os.environ['OPENAI_API_KEY']}"
SUM = {"model": MODEL, "messages": [{"role": "user", "content": asked.SUM}], "temperature": 0, "max_tokens": 24}


def curl(path, body=None, *options):
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--no-buffer", BASE + path, "-H", KEY, *options]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
    given = json.dumps(body) if body is not None else None
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


def events(path, body):
    """The events of a stream: every line is one, a comment, or empty."""
    lines = curl(path, body | {"stream": True}).split("\n")
    texts = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    others = [line for line in lines if line and not line.startswith(("data: ", ":", "event: "))]
    if others:
        raise RuntimeError(f"not an event: {others}")
    return texts


def chat():
    [choice] = json.loads(curl("/chat/completions", SUM))["choices"]
    return {"text": choice["message"]["content"], "finish": choice["finish_reason"]}


def stream():
    *chunks, end = events("/chat/completions", SUM)
    choices = [choice for chunk in chunks for choice in json.loads(chunk)["choices"]]
    return {
        "text": "".join(choice["delta"].get("content") or "" for choice in choices),
        "finish": [choice["finish_reason"] for choice in choices if choice["finish_reason"]],
        "end": end,
    }


def usage():
    used = json.loads(curl("/chat/completions", SUM))["usage"]
    *_, last, _ = events("/chat/completions", SUM | {"stream_options": {"include_usage": True}})
    named = lambda usage: {name: usage[f"{name}_tokens"] for name in ["prompt", "completion", "total"]}
    return {"whole": named(used), "streamed": [named(json.loads(last)["usage"])]}


def tools():
    question = {"messages": [{"role": "user", "content": asked.FORECAST}], "tools": asked.TOOLS, "max_tokens": 96}
    [choice] = json.loads(curl("/chat/completions", SUM | question | {"tool_choice": "required"}))["choices"]
    calls = [called(call["id"], call["function"]) for call in choice["message"]["tool_calls"]]
    return {"required": {"calls": calls, "finish": choice["finish_reason"]}}


def called(id, function):
    return {"id": id, "name": function["name"], "arguments": json.loads(function["arguments"])}


def structured():
    schema = {"type": "json_schema", "json_schema": {"name": "review", "schema": asked.REVIEW, "strict": True}}
    answers, finishes = [], []
    for number in range(asked.TIMES):
        question = {"messages": [{"role": "user", "content": asked.review(number)}], "max_tokens": 128}
        [choice] = json.loads(curl("/chat/completions", SUM | question | {"response_format": schema}))["choices"]
        answers.append(json.loads(choice["message"]["content"]))
        finishes.append(choice["finish_reason"])
    return {"answers": answers, "finish": finishes}


def completions():
    body = {"model": MODEL, "prompt": "The capital of France is", "temperature": 0, "max_tokens": 8}
    [choice] = json.loads(curl("/completions", body))["choices"]
    *chunks, end = events("/completions", body)
    pieces = [choice["text"] for chunk in chunks for choice in json.loads(chunk)["choices"]]
    return {"text": choice["text"], "streamed": "".join(pieces), "end": end}


def models():
    listed, one = json.loads(curl("/models")), json.loads(curl(f"/models/{MODEL}"))
    return {"list": [model["id"] for model in listed["data"]], "one": one["id"]}


asked.run(
    chat=chat, stream=stream, usage=usage, tools=tools, structured=structured, completions=completions, models=models
)

"""The llm command line, with a model of its extra-openai-models.yaml."""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import asked

kept = tempfile.TemporaryDirectory()
folder = pathlib.Path(kept.name)
LLM = pathlib.Path(sys.executable).with_name("llm")
KINDS = {"chat": {"supports_schema": True, "supports_tools": True}, "completion": {"completion": True}}


def model(name, **more):
    base = os.environ["OPENAI_BASE_URL"]
    return {"model_id": name, "model_name": asked.MODEL, "api_base": base, "api_key_name": "cocoon", **more}


# JSON is YAML.
known = json.dumps([model(name, **more) for name, more in KINDS.items()])
(folder / "extra-openai-models.yaml").write_text(known)
(folder / "keys.json").write_text(json.dumps({"cocoon": os.environ["OPENAI_API_KEY"]}))


def llm(*arguments):
    environment = os.environ | {"LLM_USER_PATH": str(folder)}
    ended = subprocess.run([LLM, *arguments], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ended.returncode != 0:
        raise RuntimeError(f"llm ended with {ended.returncode}: {ended.stderr}")
    return ended.stdout


def prompt(text, *options, kind="chat", max_tokens=24):
    return llm("prompt", "-m", kind, text, "-o", "temperature", "0", "-o", "max_tokens", str(max_tokens), *options)


def logged():
    """What llm kept of the last answer."""
    return json.loads(llm("logs", "list", "-n", "1", "--json"))[0]


def usage_of(entry):
    prompt_tokens, completion_tokens = entry["input_tokens"], entry["output_tokens"]
    return {"prompt": prompt_tokens, "completion": completion_tokens, "total": prompt_tokens + completion_tokens}


@functools.cache
def answer(*options):
    """Its text, and what llm says it used. Asked once: a start of llm takes longer than the model."""
    text = prompt(asked.SUM, *options).removesuffix("\n")
    return text, usage_of(logged())


def chat():
    return {"text": answer("--no-stream")[0]}


def stream():
    return {"text": answer()[0]}


def usage():
    return {"whole": answer("--no-stream")[1], "streamed": [answer()[1]]}


def tools():
    """It has no way to force a call: whatever the model does, llm must be able to go on from it."""
    function = 'def get_time(city: str) -> str:\n    "The time of day in a city."\n    return "noon"'
    text = prompt("What time is it in Oslo?", "--functions", function, "--chain-limit", "2", max_tokens=64)
    return {"auto_text": text}


def structured():
    texts = []
    for number in range(asked.TIMES):
        texts.append(prompt(asked.review(number), "--schema", json.dumps(asked.REVIEW), max_tokens=128))
    return {"answers": [json.loads(text) for text in texts]}


def completions():
    return {"text": prompt("The capital of France is", kind="completion", max_tokens=8)}


def models():
    base, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    return {"list": llm("openai", "endpoint", base, "--models", "--key", key).split()}


asked.run(
    chat=chat, stream=stream, usage=usage, tools=tools, structured=structured, completions=completions, models=models
)

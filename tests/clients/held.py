"""A client that keeps what it asked and what it got in memory, so that a search of its memory can find them.

It asks once unstreamed and once streamed, stops reading in the middle of the stream until a line comes on standard
input, and ends with the end of standard input. It says on standard output how far it is.
"""

import json
import os
import sys

import httpx
from openai import OpenAI

MODEL = os.environ["COCOON_MODEL"]
MARKER = os.environ["COCOON_MARKER"]
# At least so many characters of a stream are read before it stops.
ENOUGH = 40


def client():
    if os.environ["COCOON_TRANSPORT"] == "plain":
        return OpenAI()
    from ehbp import Client, EHBPTransport

    origin = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
    keys = httpx.get(f"{origin}/.well-known/hpke-keys", headers={"Cocoon-Model": MODEL}).content
    # The first configuration: its number, the KEM's, and 32 bytes of X25519.
    transport = EHBPTransport.from_public_key_hex(keys[3:35].hex())
    return OpenAI(http_client=httpx.Client(transport=transport), default_headers={"Cocoon-Model": MODEL})


def say(**words):
    print(json.dumps(words), flush=True)


openai = client()
messages = [{"role": "user", "content": f"Write a long story about a ship named {MARKER}."}]
ask = dict(model=MODEL, messages=messages, temperature=0)

whole = openai.chat.completions.create(**ask, max_tokens=40).choices[0].message.content
say(whole=whole)

text = ""
stopped = False
for chunk in openai.chat.completions.create(**ask, max_tokens=400, stream=True):
    if chunk.choices:
        text += chunk.choices[0].delta.content or ""
    if len(text) >= ENOUGH and not stopped:
        stopped = True
        say(midway=text)
        sys.stdin.readline()
say(streamed=text)
sys.stdin.read()

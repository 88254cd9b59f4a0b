"""What a script is asked to do, and how it says what it saw. Every client's script does the same things."""

import json
import os
import traceback

MODEL = os.environ["COCOON_MODEL"]
# Another model of the same gateway; the modes that need it are left out without.
EMBEDDING_MODEL = os.environ.get("COCOON_EMBEDDING_MODEL")
# How often a structured answer is asked for.
TIMES = int(os.environ.get("COCOON_CLIENT_TIMES", "1"))

SUM = "What is 2+2? Answer with the number."
FORECAST = "What will the weather be in Oslo tomorrow?"
WEATHER = "The weather is 3 degrees and rain."

# Schemas that a small model cannot run on in: no open strings, no open lists.
MOODS = ["happy", "sad", "angry"]
TOPICS = ["food", "service", "price"]
REVIEW = {
    "type": "object",
    "properties": {
        "mood": {"type": "string", "enum": MOODS},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "topics": {"type": "array", "items": {"type": "string", "enum": TOPICS}, "maxItems": 2},
        "word": {"type": "string", "maxLength": 12},
    },
    "required": ["mood", "stars", "topics", "word"],
    "additionalProperties": False,
}
REVIEWS = [
    "The soup was cold and the waiter rude.",
    "Wonderful pasta, and cheap too!",
    "It was fine, I suppose.",
    "Never again. They overcharged us.",
]

CITIES = ["Oslo", "Paris", "Rome"]
UNITS = ["celsius", "fahrenheit"]
FORECAST_PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": CITIES},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"type": "string", "enum": UNITS},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}
CLOCK_PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": CITIES}},
    "required": ["city"],
    "additionalProperties": False,
}


def function(name, description, parameters):
    """A tool as OpenAI's API takes it."""
    described = {"name": name, "description": description, "parameters": parameters, "strict": True}
    return {"type": "function", "function": described}


TOOLS = [
    function("get_forecast", "The weather forecast for a city.", FORECAST_PARAMETERS),
    function("get_time", "The time of day in a city.", CLOCK_PARAMETERS),
]


def review(number):
    """The `number`th question for a structured answer."""
    return f"Review: {REVIEWS[number % len(REVIEWS)]} Describe it as JSON."


def run(**modes):
    """Does what COCOON_CLIENT_MODES names and this client can; one line says what each mode saw, or its error."""
    seen = {}
    for name in os.environ["COCOON_CLIENT_MODES"].split(","):
        if name in modes and (name != "embeddings" or EMBEDDING_MODEL):
            try:
                seen[name] = modes[name]()
            except Exception:
                seen[name] = {"error": traceback.format_exc()}
    print(json.dumps(seen))

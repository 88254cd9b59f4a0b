"""instructor: answers as pydantic models, by tools and by schema."""

from typing import Annotated, Literal

import instructor
import openai
import pydantic

import asked
from asked import MODEL

WAYS = {"tools": instructor.Mode.TOOLS, "schema": instructor.Mode.JSON_SCHEMA}


class Review(pydantic.BaseModel):
    """What a guest thought."""

    mood: Literal["happy", "sad", "angry"]
    stars: Annotated[int, pydantic.Field(ge=1, le=5)]
    topics: Annotated[list[Literal["food", "service", "price"]], pydantic.Field(max_length=2)]
    word: Annotated[str, pydantic.Field(max_length=12)]


def ask(way, number):
    # A first answer that does not parse is a failure here, not a reason to ask again.
    client = instructor.from_openai(openai.OpenAI(), mode=WAYS[way])
    return client.chat.completions.create_with_completion(
        model=MODEL,
        messages=[{"role": "user", "content": asked.review(number)}],
        response_model=Review,
        temperature=0,
        max_tokens=128,
        max_retries=0,
    )


def structured():
    parsed = [ask("schema", number) for number in range(asked.TIMES)]
    return {
        "answers": [review.model_dump() for review, _ in parsed],
        "finish": [answer.choices[0].finish_reason for _, answer in parsed],
    }


def tools():
    """instructor names the tool that is to be called."""
    review, answer = ask("tools", 0)
    return {"parsed": review.model_dump(), "calls": len(answer.choices[0].message.tool_calls)}


def usage():
    client = openai.OpenAI()
    question = [{"role": "user", "content": asked.SUM}]
    answer = client.chat.completions.create(model=MODEL, messages=question, temperature=0, max_tokens=24)
    used = answer.usage
    return {"whole": {"prompt": used.prompt_tokens, "completion": used.completion_tokens, "total": used.total_tokens}}


def chat():
    """Unpatched calls go through as they are."""
    client = instructor.from_openai(openai.OpenAI())
    question = [{"role": "user", "content": asked.SUM}]
    answer = client.chat.completions.create(
        model=MODEL, messages=question, response_model=None, temperature=0, max_tokens=24
    )
    return {"text": answer.choices[0].message.content, "finish": answer.choices[0].finish_reason}


asked.run(chat=chat, usage=usage, tools=tools, structured=structured)

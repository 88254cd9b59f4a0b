"""pydantic-ai: agents with tools, and outputs as pydantic models."""

import asyncio
from typing import Annotated, Literal

import pydantic
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.settings import ModelSettings

import asked
from asked import MODEL

model = OpenAIChatModel(MODEL, provider="openai")


class Review(pydantic.BaseModel):
    """What a guest thought."""

    mood: Literal["happy", "sad", "angry"]
    stars: Annotated[int, pydantic.Field(ge=1, le=5)]
    topics: Annotated[list[Literal["food", "service", "price"]], pydantic.Field(max_length=2)]
    word: Annotated[str, pydantic.Field(max_length=12)]


def settings(max_tokens=24):
    return ModelSettings(temperature=0, max_tokens=max_tokens)


def usage_of(usage):
    return {"prompt": usage.input_tokens, "completion": usage.output_tokens, "total": usage.total_tokens}


def chat():
    result = Agent(model).run_sync(asked.SUM, model_settings=settings())
    return {"text": result.output, "finish": result.all_messages()[-1].finish_reason}


async def streamed():
    async with Agent(model).run_stream(asked.SUM, model_settings=settings()) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    return pieces, usage_of(result.usage), result.all_messages()[-1].finish_reason


def stream():
    pieces, _, finish = asyncio.run(streamed())
    return {"text": "".join(pieces), "pieces": len(pieces), "finish": [finish]}


def usage():
    whole = Agent(model).run_sync(asked.SUM, model_settings=settings()).usage
    return {"whole": usage_of(whole), "streamed": [asyncio.run(streamed())[1]]}


def tools():
    """An output tool is a tool that must be called; a function tool may be."""
    review = Agent(model, output_type=ToolOutput(Review), retries=0)
    parsed = review.run_sync(asked.review(0), model_settings=settings(128)).output
    agent = Agent(model)

    @agent.tool_plain
    def get_time(city: Literal["Oslo", "Paris", "Rome"]) -> str:
        """The time of day in a city."""
        return f"It is noon in {city}."

    auto = agent.run_sync("What time is it in Oslo?", model_settings=settings(64)).output
    return {"parsed": parsed.model_dump(), "auto_text": auto}


def structured():
    agent = Agent(model, output_type=NativeOutput(Review, strict=True), retries=0)
    results = [agent.run_sync(asked.review(number), model_settings=settings(128)) for number in range(asked.TIMES)]
    return {
        "answers": [result.output.model_dump() for result in results],
        "finish": [result.all_messages()[-1].finish_reason for result in results],
    }


asked.run(chat=chat, stream=stream, usage=usage, tools=tools, structured=structured)

"""langchain-openai."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

import asked
from asked import MODEL

chat_model = ChatOpenAI(model=MODEL, temperature=0, max_tokens=24)
SCHEMA = asked.REVIEW | {"title": "review", "description": "What a guest thought."}


def usage_of(usage):
    return {"prompt": usage["input_tokens"], "completion": usage["output_tokens"], "total": usage["total_tokens"]}


def chat():
    answer = chat_model.invoke(asked.SUM)
    return {"text": answer.content, "finish": answer.response_metadata["finish_reason"]}


def stream():
    pieces = list(chat_model.stream(asked.SUM))
    finishes = [piece.response_metadata.get("finish_reason") for piece in pieces]
    return {
        "text": "".join(piece.content for piece in pieces),
        "pieces": len([piece for piece in pieces if piece.content]),
        "finish": [finish for finish in finishes if finish],
    }


def usage():
    whole = chat_model.invoke(asked.SUM).usage_metadata
    pieces = list(chat_model.stream(asked.SUM, stream_usage=True))
    streamed = [piece.usage_metadata for piece in pieces if piece.usage_metadata]
    return {"whole": usage_of(whole), "streamed": [usage_of(usage) for usage in streamed]}


def tools():
    forecast = StructuredTool.from_function(
        name="get_forecast",
        description="The weather forecast for a city.",
        args_schema=asked.FORECAST_PARAMETERS | {"title": "get_forecast"},
        func=lambda **_: asked.WEATHER,
    )
    model = ChatOpenAI(model=MODEL, temperature=0, max_tokens=96)
    question = HumanMessage(asked.FORECAST)
    seen = {}
    for choice, value in {"required": "required", "named": "get_forecast"}.items():
        called = model.bind_tools([forecast], tool_choice=value).invoke([question])
        calls = [{"id": call["id"], "name": call["name"], "arguments": call["args"]} for call in called.tool_calls]
        seen[choice] = {"calls": calls, "finish": called.response_metadata["finish_reason"]}
    results = [ToolMessage(asked.WEATHER, tool_call_id=call["id"]) for call in called.tool_calls]
    seen["answer"] = model.bind_tools([forecast], tool_choice="none").invoke([question, called, *results]).content
    return seen


def structured():
    model = ChatOpenAI(model=MODEL, temperature=0, max_tokens=128)
    asking = model.with_structured_output(SCHEMA, method="json_schema", strict=True, include_raw=True)
    seen = [asking.invoke(asked.review(number)) for number in range(asked.TIMES)]
    return {
        "answers": [one["parsed"] for one in seen],
        "finish": [one["raw"].response_metadata["finish_reason"] for one in seen],
    }


def completions():
    text = OpenAI(model=MODEL, temperature=0, max_tokens=8).invoke("The capital of France is")
    return {"text": text}


def embeddings():
    # Its own tokenizer would have to know the model: texts are sent as texts.
    model = OpenAIEmbeddings(model=asked.EMBEDDING_MODEL, check_embedding_ctx_length=False)
    vectors = model.embed_documents(["a cat sat", "the stock market"])
    return {"dimensions": sorted({len(vector) for vector in vectors})}


def responses():
    model = ChatOpenAI(model=MODEL, temperature=0, max_tokens=24, use_responses_api=True, store=False)
    pieces = list(model.stream(asked.SUM))
    return {"text": model.invoke(asked.SUM).text, "streamed": "".join(piece.text for piece in pieces)}


asked.run(
    chat=chat,
    stream=stream,
    usage=usage,
    tools=tools,
    structured=structured,
    completions=completions,
    embeddings=embeddings,
    responses=responses,
)

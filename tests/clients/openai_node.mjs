// The official client for Node.js.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import * as asked from "./asked.mjs";
import { MODEL } from "./asked.mjs";

const client = new OpenAI();
const user = (content) => [{ role: "user", content }];
const SUM = { model: MODEL, messages: user(asked.SUM), temperature: 0, max_tokens: 24 };
const TOOLS = [
  {
    type: "function",
    function: {
      name: "get_forecast",
      description: "The weather forecast for a city.",
      parameters: z.toJSONSchema(asked.Forecast),
      strict: true,
    },
  },
];

async function collect(stream) {
  const all = [];
  for await (const one of stream) all.push(one);
  return all;
}

const usageOf = (usage) => ({
  prompt: usage.prompt_tokens,
  completion: usage.completion_tokens,
  total: usage.total_tokens,
  cached: usage.prompt_tokens_details.cached_tokens,
  reasoning: usage.completion_tokens_details.reasoning_tokens,
});

async function chat() {
  const answer = await client.chat.completions.create(SUM);
  const [choice] = answer.choices;
  return {
    id: answer.id,
    object: answer.object,
    model: answer.model,
    role: choice.message.role,
    text: choice.message.content,
    refusal: choice.message.refusal,
    finish: choice.finish_reason,
  };
}

async function stream() {
  const chunks = await collect(await client.chat.completions.create({ ...SUM, stream: true }));
  const choices = chunks.flatMap((chunk) => chunk.choices);
  // The client's own reading of a stream into one answer.
  const assembled = await client.chat.completions.stream(SUM).finalChatCompletion();
  return {
    text: choices.map((choice) => choice.delta.content ?? "").join(""),
    pieces: choices.filter((choice) => choice.delta.content).length,
    role: choices[0].delta.role,
    ids: new Set(chunks.map((chunk) => chunk.id)).size,
    finish: choices.map((choice) => choice.finish_reason).filter(Boolean),
    usage_chunks: chunks.filter((chunk) => chunk.usage).length,
    assembled: assembled.choices[0].message.content,
  };
}

async function usage() {
  const whole = await client.chat.completions.create(SUM);
  const options = { ...SUM, stream: true, stream_options: { include_usage: true } };
  const chunks = await collect(await client.chat.completions.create(options));
  return {
    whole: usageOf(whole.usage),
    streamed: chunks.filter((chunk) => chunk.usage).map((chunk) => usageOf(chunk.usage)),
    last_choices: chunks.at(-1).choices.length,
  };
}

const called = (calls) =>
  calls.map(({ id, function: { name, arguments: given } }) => ({ id, name, arguments: JSON.parse(given) }));

async function tools() {
  const ask = { model: MODEL, tools: TOOLS, temperature: 0, max_tokens: 96 };
  const named = { type: "function", function: { name: "get_forecast" } };
  const seen = {};
  let message;
  for (const [name, tool_choice] of [["required", "required"], ["named", named]]) {
    const answer = await client.chat.completions.create({ ...ask, messages: user(asked.FORECAST), tool_choice });
    const [choice] = answer.choices;
    message = choice.message;
    seen[name] = { calls: called(message.tool_calls), content: message.content, finish: choice.finish_reason };
  }
  const results = message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: asked.WEATHER }));
  const messages = [...user(asked.FORECAST), message, ...results];
  const second = await client.chat.completions.create({ ...ask, messages, tool_choice: "none" });
  seen.answer = second.choices[0].message.content;
  const streamed = client.chat.completions.stream({ ...ask, messages: user(asked.FORECAST), tool_choice: named });
  const assembled = (await streamed.finalChatCompletion()).choices[0];
  seen.streamed = { calls: called(assembled.message.tool_calls), finish: assembled.finish_reason };
  return seen;
}

async function structured() {
  const answers = [];
  const finish = [];
  for (let number = 0; number < asked.TIMES; number++) {
    const answer = await client.chat.completions.parse({
      model: MODEL,
      messages: user(asked.review(number)),
      response_format: zodResponseFormat(asked.Review, "review"),
      temperature: 0,
      max_tokens: 128,
    });
    answers.push(answer.choices[0].message.parsed);
    finish.push(answer.choices[0].finish_reason);
  }
  return { answers, finish };
}

async function completions() {
  const ask = { model: MODEL, prompt: "The capital of France is", temperature: 0, max_tokens: 8 };
  const whole = await client.completions.create(ask);
  const chunks = await collect(await client.completions.create({ ...ask, stream: true }));
  return {
    object: whole.object,
    text: whole.choices[0].text,
    finish: whole.choices[0].finish_reason,
    completion: whole.usage.completion_tokens,
    streamed: chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.text).join(""),
  };
}

async function embeddings() {
  const ask = { model: asked.EMBEDDING_MODEL, input: ["a cat sat", "a cat sits", "the stock market"] };
  const answer = await client.embeddings.create(ask);
  const floats = await client.embeddings.create({ ...ask, encoding_format: "float" });
  const apart = (one, other) => one.map((value, at) => Math.abs(value - other[at]));
  return {
    indexes: answer.data.map((vector) => vector.index),
    dimensions: [...new Set(answer.data.map((vector) => vector.embedding.length))],
    difference: Math.max(...answer.data.flatMap((vector, at) => apart(vector.embedding, floats.data[at].embedding))),
    length: answer.data[0].embedding.reduce((sum, value) => sum + value * value, 0),
    prompt: answer.usage.prompt_tokens,
    total: answer.usage.total_tokens,
  };
}

async function responses() {
  const ask = { model: MODEL, input: asked.SUM, temperature: 0, max_output_tokens: 24, store: false };
  const whole = await client.responses.create(ask);
  const events = await collect(await client.responses.create({ ...ask, stream: true }));
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  const count = (usage) => [usage.input_tokens, usage.output_tokens, usage.total_tokens];
  return {
    object: whole.object,
    status: whole.status,
    text: whole.output_text,
    usage: count(whole.usage),
    events: events.map((event) => event.type),
    in_order: events.every((event, at) => event.sequence_number === at),
    streamed: deltas.map((event) => event.delta).join(""),
    assembled: deltas.length ? events.at(-1).response.output[0].content[0].text : "",
    streamed_usage: count(events.at(-1).response.usage),
    stored: await refusal(() => client.responses.create({ ...ask, previous_response_id: "resp_1" })),
  };
}

async function models() {
  const list = await collect(await client.models.list());
  return { list: list.map((model) => model.id), one: (await client.models.retrieve(MODEL)).id };
}

async function refusal(ask) {
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return {
      class: error.constructor.name,
      status: error.status,
      type: error.type,
      code: error.code,
      param: error.param,
      request_id: error.requestID,
    };
  }
  return { class: null };
}

async function errors() {
  let sent = 0;
  const counted = (url, options) => {
    sent += 1;
    return fetch(url, options);
  };
  const create = (more, options) =>
    new OpenAI({ fetch: counted, maxRetries: 2, ...options }).chat.completions.create({ ...SUM, ...more });
  const asks = {
    key: () => create({}, { apiKey: "sk-wrong" }),
    model: () => create({ model: "gpt-none" }),
    retrieve: () => new OpenAI({ fetch: counted, maxRetries: 2 }).models.retrieve("gpt-none"),
    value: () => create({ temperature: 9 }),
    type: () => create({ max_tokens: "many" }),
    path: () => new OpenAI({ fetch: counted, maxRetries: 2 }).fineTuning.jobs.list(),
    balance: () => create({}, { apiKey: process.env.COCOON_POOR_KEY }),
  };
  const seen = {};
  for (const [name, ask] of Object.entries(asks)) {
    sent = 0;
    const refused = await refusal(ask);
    seen[name] = { ...refused, requests: sent };
  }
  const { response } = await client.chat.completions.create(SUM).withResponse();
  const names = ["x-request-id", "cocoon-receipt", "cocoon-cost"];
  seen.headers = Object.fromEntries(names.map((name) => [name, response.headers.get(name)]));
  return seen;
}

await asked.run({ chat, stream, usage, tools, structured, completions, embeddings, responses, models, errors });

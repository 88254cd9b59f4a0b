// ehbp, under the official client and by itself: what it sends can be read by the model's machine alone.

import { Transport } from "ehbp";
import OpenAI from "openai";

import * as asked from "./asked.mjs";
import { MODEL } from "./asked.mjs";

const BASE_URL = process.env.OPENAI_BASE_URL;
// The body is sealed: only a header can say which model it is for. Keys are asked for without it: the client has no
// place for headers there.
const MODEL_HEADER = { "Cocoon-Model": MODEL };
const SUM = { model: MODEL, messages: [{ role: "user", content: asked.SUM }], temperature: 0, max_tokens: 24 };
const STREAMED = { ...SUM, stream: true, stream_options: { include_usage: true } };

const transport = await Transport.create(BASE_URL);
const sdk = new OpenAI({
  fetch: (url, options) => transport.request(url, options),
  defaultHeaders: MODEL_HEADER,
  maxRetries: 0,
});

const only = (values) => {
  const there = values.filter(Boolean);
  if (there.length !== 1) throw new Error(`not one of them: ${JSON.stringify(values)}`);
  return there[0];
};

function seen(headers, texts, finish, usages) {
  const usage = only(usages);
  return {
    text: texts.map((text) => text ?? "").join(""),
    finish: only(finish),
    usage: { prompt: usage.prompt_tokens, completion: usage.completion_tokens, total: usage.total_tokens },
    sealed: headers.has("ehbp-response-nonce"),
    privacy: headers.get("cocoon-privacy"),
  };
}

const seenWhole = (headers, { choices, usage }) =>
  seen(headers, [only(choices).message.content], [only(choices).finish_reason], [usage]);

function seenStreamed(headers, chunks) {
  const choices = chunks.flatMap((chunk) => chunk.choices);
  const texts = choices.map((choice) => choice.delta.content);
  const finish = choices.map((choice) => choice.finish_reason);
  return seen(headers, texts, finish, chunks.map((chunk) => chunk.usage));
}

async function chat() {
  const { data, response } = await sdk.chat.completions.create(SUM).withResponse();
  return seenWhole(response.headers, data);
}

async function stream() {
  const { data, response } = await sdk.chat.completions.create(STREAMED).withResponse();
  const chunks = [];
  for await (const chunk of data) chunks.push(chunk);
  return seenStreamed(response.headers, chunks);
}

async function post(body) {
  const headers = {
    "Content-Type": "application/json",
    Authorization: `Bearer ${process.env.OPENAI_API_KEY}`,
    ...MODEL_HEADER,
  };
  const response = await transport.post(`${BASE_URL}/chat/completions`, JSON.stringify(body), { headers });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  return response;
}

async function own_chat() {
  const response = await post(SUM);
  return seenWhole(response.headers, await response.json());
}

async function own_stream() {
  const response = await post(STREAMED);
  const lines = (await response.text()).split("\n").filter((line) => line.startsWith("data: "));
  const events = lines.map((line) => line.slice("data: ".length));
  if (events.pop() !== "[DONE]") throw new Error("the stream has no end");
  return seenStreamed(response.headers, events.map((event) => JSON.parse(event)));
}

await asked.run({ chat, stream, own_chat, own_stream });

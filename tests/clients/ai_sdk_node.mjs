// The ai package with @ai-sdk/openai-compatible.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, stepCountIs, streamText, tool } from "ai";

import * as asked from "./asked.mjs";
import { MODEL } from "./asked.mjs";

const provider = createOpenAICompatible({
  name: "cocoon",
  baseURL: process.env.OPENAI_BASE_URL,
  apiKey: process.env.OPENAI_API_KEY,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = provider.chatModel(MODEL);
// What fails once is a failure here.
const once = { model, temperature: 0, maxRetries: 0 };
const usageOf = (usage) => ({ prompt: usage.inputTokens, completion: usage.outputTokens, total: usage.totalTokens });
const throwing = { onError: ({ error }) => { throw error; } };

async function chat() {
  const answer = await generateText({ ...once, prompt: asked.SUM, maxOutputTokens: 24 });
  return { text: answer.text, finish: answer.finishReason };
}

async function streamed() {
  const result = streamText({ ...once, ...throwing, prompt: asked.SUM, maxOutputTokens: 24 });
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);
  return { pieces, finish: await result.finishReason, usage: await result.usage };
}

async function stream() {
  const { pieces, finish } = await streamed();
  return { text: pieces.join(""), pieces: pieces.length, finish: [finish] };
}

async function usage() {
  const whole = await generateText({ ...once, prompt: asked.SUM, maxOutputTokens: 24 });
  return { whole: usageOf(whole.usage), streamed: [usageOf((await streamed()).usage)] };
}

async function tools() {
  const get_forecast = tool({
    description: "The weather forecast for a city.",
    inputSchema: asked.Forecast,
    execute: async () => asked.WEATHER,
  });
  const ask = { ...once, tools: { get_forecast }, prompt: asked.FORECAST, maxOutputTokens: 96 };
  const seen = {};
  for (const [name, toolChoice] of [["required", "required"], ["named", { type: "tool", toolName: "get_forecast" }]]) {
    const answer = await generateText({ ...ask, toolChoice });
    const calls = answer.toolCalls.map((call) => ({ id: call.toolCallId, name: call.toolName, arguments: call.input }));
    seen[name] = { calls, finish: answer.finishReason };
  }
  // The round trip in one call: the first step must use the tool, the second must not.
  const prepareStep = ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" });
  const trip = await generateText({ ...ask, prepareStep, stopWhen: stepCountIs(2) });
  seen.answer = trip.text;
  return seen;
}

async function structured() {
  const answers = [];
  const finish = [];
  for (let number = 0; number < asked.TIMES; number++) {
    const ask = { ...once, schema: asked.Review, prompt: asked.review(number), maxOutputTokens: 128 };
    const answer = await generateObject(ask);
    answers.push(answer.object);
    finish.push(answer.finishReason);
  }
  return { answers, finish };
}

async function completions() {
  const prompt = "The capital of France is";
  const answer = await generateText({ ...once, model: provider.completionModel(MODEL), prompt, maxOutputTokens: 8 });
  return { text: answer.text };
}

async function embeddings() {
  const model = provider.embeddingModel(asked.EMBEDDING_MODEL);
  const { embeddings } = await embedMany({ model, values: ["a cat sat", "the stock market"], maxRetries: 0 });
  return { dimensions: [...new Set(embeddings.map((vector) => vector.length))] };
}

await asked.run({ chat, stream, usage, tools, structured, completions, embeddings });

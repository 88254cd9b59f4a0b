// What a script is asked to do, and how it says what it saw: asked.py for Node.js.

import { z } from "zod";

export const MODEL = process.env.COCOON_MODEL;
export const EMBEDDING_MODEL = process.env.COCOON_EMBEDDING_MODEL;
export const TIMES = Number(process.env.COCOON_CLIENT_TIMES ?? "1");

export const SUM = "What is 2+2? Answer with the number.";
export const FORECAST = "What will the weather be in Oslo tomorrow?";
export const WEATHER = "The weather is 3 degrees and rain.";

// Schemas that a small model cannot run on in: no open strings, no open lists.
export const Review = z.object({
  mood: z.enum(["happy", "sad", "angry"]),
  stars: z.int().min(1).max(5),
  topics: z.array(z.enum(["food", "service", "price"])).max(2),
  word: z.string().max(12),
});
export const Forecast = z.object({
  city: z.enum(["Oslo", "Paris", "Rome"]),
  days: z.int().min(1).max(7),
  unit: z.enum(["celsius", "fahrenheit"]),
});

const REVIEWS = [
  "The soup was cold and the waiter rude.",
  "Wonderful pasta, and cheap too!",
  "It was fine, I suppose.",
  "Never again. They overcharged us.",
];

// The `number`th question for a structured answer.
export const review = (number) => `Review: ${REVIEWS[number % REVIEWS.length]} Describe it as JSON.`;

// Does what COCOON_CLIENT_MODES names and this client can, and prints one line: what each mode saw, or its error.
export async function run(modes) {
  const seen = {};
  for (const name of process.env.COCOON_CLIENT_MODES.split(",")) {
    if (!(name in modes) || (name === "embeddings" && !EMBEDDING_MODEL)) continue;
    try {
      seen[name] = await modes[name]();
    } catch (error) {
      seen[name] = { error: `${error?.stack ?? error}` };
    }
  }
  console.log(JSON.stringify(seen));
}

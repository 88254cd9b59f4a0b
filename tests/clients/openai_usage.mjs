// The official Node.js client reads usage and costs, and prints the same as openai_usage.py.

import assert from "node:assert/strict";

import OpenAI from "openai";

const client = new OpenAI({ apiKey: "unused", adminAPIKey: process.env.OPENAI_ADMIN_KEY, maxRetries: 0 });
const { usage } = client.admin.organization;
const SPAN = { start_time: Number(process.env.COCOON_START), end_time: Number(process.env.COCOON_END) };

/** All buckets, and how many pages they came on. */
async function pages(kind, query) {
  const buckets = [];
  for (let page, count = 1; ; count += 1) {
    const answer = await usage[kind]({ ...SPAN, ...query, page });
    assert.equal(answer.object, "page");
    buckets.push(...answer.data);
    if (!answer.has_more) {
      assert.equal(answer.next_page, null);
      return [buckets, count];
    }
    page = answer.next_page;
  }
}

/** Results of buckets without a gap. */
function whole(buckets, width) {
  buckets.forEach((bucket, index) => {
    assert.equal(bucket.start_time, buckets[0].start_time + index * width);
    assert.equal(bucket.end_time, bucket.start_time + width);
  });
  return buckets.flatMap(({ results }) => results);
}

const sum = (values) => Number(values.reduce((all, value) => all + BigInt(value), 0n));

const sums = (results) => ({
  requests: sum(results.map((result) => result.num_model_requests)),
  input: sum(results.map((result) => result.input_tokens)),
  cached: sum(results.map((result) => result.input_cached_tokens ?? 0)),
  output: sum(results.map((result) => result.output_tokens ?? 0)),
  cost: sum(results.map((result) => result.cost)),
});

const seen = {};
for (const [width, seconds, limit] of [["1m", 60, 1440], ["1h", 3600, 168], ["1d", 86_400, 31]]) {
  const [completions, count] = await pages("completions", { bucket_width: width, limit });
  const [embeddings] = await pages("embeddings", { bucket_width: width, limit });
  const results = whole(completions, seconds);
  assert.deepEqual([...new Set(results.map(({ object }) => object))], ["organization.usage.completions.result"]);
  seen[width] = { pages: count, completions: sums(results), embeddings: sums(whole(embeddings, seconds)) };
}

const [grouped] = await pages("completions", { limit: 31, group_by: ["model", "api_key_id", "project_id"] });
seen.groups = {};
for (const result of whole(grouped, 86_400)) {
  const name = [result.model, result.api_key_id, result.project_id ?? ""].join("|");
  seen.groups[name] = (seen.groups[name] ?? 0) + Number(result.cost);
}
const [oneKey] = await pages("completions", { limit: 31, api_key_ids: ["key-1"], models: ["small", "large"] });
seen["key-1"] = sums(whole(oneKey, 86_400));
const [nobody] = await pages("completions", { limit: 31, user_ids: ["user"] });
seen.nobody = sums(whole(nobody, 86_400));

const [costs] = await pages("costs", { limit: 180, group_by: ["line_item"] });
const results = whole(costs, 86_400);
for (const { object, amount, quantity } of results) {
  assert.deepEqual([object, amount.currency], ["organization.costs.result", "ton"]);
  assert.ok(Math.abs(amount.value - Number(amount.nano) / 1e9) < 1e-9);
  assert.ok(Number.isSafeInteger(quantity));
}
seen.costs = sum(results.map(({ amount }) => amount.nano));
seen.tokens = sum(results.map(({ quantity }) => quantity));
console.log(JSON.stringify(seen));

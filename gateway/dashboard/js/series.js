// What was spent, as series over time: of OpenAI's pages of costs and usage, made ready for a chart and a table.

import { nano } from "./amounts.js";

/** Series that are shown apart; the rest is one more. */
const MOST = 6;
/** Pages that are asked for at most: a bound on a server that never ends. */
const MAX_PAGES = 10;

const COSTS = "/v1/organization/costs";
/** Costs are by day alone; usage is by hour too, and says beside what was paid. */
const USAGE = ["/v1/organization/usage/completions", "/v1/organization/usage/embeddings"];

/**
 * What was spent in `count` buckets from `start` on, as `[{start, spent: [{group, nano}]}]`, oldest first. `width` is `1h`
 * or `1d`; `group` is `model`, `key` or null for sums alone.
 */
export async function spentIn(api, { width, start, count, group }) {
  const query = (parameter) => [
    ["start_time", start], ["bucket_width", width], ["limit", count], ...(parameter ? [["group_by[]", parameter]] : []),
  ];
  const day = width === "1d";
  const parameter = { model: day ? "line_item" : "model", key: "api_key_id" }[group];
  const answers = await Promise.all((day ? [COSTS] : USAGE).map((path) => allBuckets(api, path, query(parameter))));
  const byStart = new Map();
  for (const bucket of answers.flat()) {
    const spent = bucket.results.map((result) => ({
      group: result[parameter] ?? null, nano: nano(day ? result.amount.nano : result.cost),
    }));
    byStart.set(bucket.start_time, [...(byStart.get(bucket.start_time) ?? []), ...spent]);
  }
  return [...byStart].map(([begin, spent]) => ({ start: begin, spent })).sort((one, two) => one.start - two.start);
}

/** All buckets of a query, over as many pages as there are. */
async function allBuckets(api, path, query) {
  const buckets = [];
  let page = null;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const answer = await api.get(path, page === null ? query : [...query, ["page", page]]);
    buckets.push(...answer.data);
    if (!answer.has_more || !answer.next_page) return buckets;
    page = answer.next_page;
  }
  throw new Error("There is more than this page can show.");
}

/** What was spent in one bucket in all. */
export const costOf = (bucket) => sum(bucket.spent.map((one) => one.nano));

/**
 * `{starts, series: [{name, values, total}], totals, total}`: the largest series first, all with a value per bucket.
 * `nameOf` gives the name of a group.
 */
export function seriesOf(buckets, nameOf) {
  const byName = new Map();
  buckets.forEach((bucket, index) => {
    for (const { group, nano: spent } of bucket.spent) {
      const name = nameOf(group);
      if (!byName.has(name)) byName.set(name, buckets.map(() => 0n));
      byName.get(name)[index] += spent;
    }
  });
  const all = [...byName].map(([name, values]) => ({ name, values, total: sum(values) }));
  all.sort((one, two) => (one.total === two.total ? (one.name < two.name ? -1 : 1) : one.total < two.total ? 1 : -1));
  const series = all.slice(0, MOST);
  const rest = all.slice(MOST);
  if (rest.length > 0) {
    const values = buckets.map((_, index) => sum(rest.map((one) => one.values[index])));
    series.push({ name: `${rest.length} others`, values, total: sum(values) });
  }
  const totals = buckets.map((_, index) => sum(all.map((one) => one.values[index])));
  return { starts: buckets.map(({ start }) => start), series, totals, total: sum(totals) };
}

const sum = (values) => values.reduce((all, value) => all + value, 0n);

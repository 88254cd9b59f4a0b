// What was spent, as series over time: of OpenAI's cost pages, made ready for a chart and a table.

import { nano } from "./amounts.js";

/** Series that are shown apart; the rest is one more. */
const MOST = 6;
/** Pages that are asked for at most: a bound on a server that never ends. */
const MAX_PAGES = 10;

/** All buckets of a query, over as many pages as there are. */
export async function allBuckets(api, path, query) {
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

/** What one bucket cost in all. */
export const costOf = (bucket) =>
  bucket.results.reduce((sum, result) => sum + nano(result.amount.nano), 0n);

/**
 * `{starts, series: [{name, values, total}], totals, total}`: the largest series first, all with a value per bucket.
 * `nameOf` gives the name of a result's group.
 */
export function seriesOf(buckets, nameOf) {
  const byName = new Map();
  buckets.forEach((bucket, index) => {
    for (const result of bucket.results) {
      const name = nameOf(result);
      if (!byName.has(name)) byName.set(name, buckets.map(() => 0n));
      byName.get(name)[index] += nano(result.amount.nano);
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
  return { starts: buckets.map((bucket) => bucket.start_time), series, totals, total: sum(totals) };
}

const sum = (values) => values.reduce((all, value) => all + value, 0n);

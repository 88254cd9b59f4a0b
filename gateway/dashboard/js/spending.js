// Spending over time: a chart, and a table of the same numbers.

import { amount, ton } from "./amounts.js";
import { draw, legend } from "./chart.js";
import { h } from "./dom.js";
import { nothing } from "./panel.js";
import { seriesOf, spentIn } from "./series.js";
import { table } from "./tables.js";
import { DAY, HOUR, hourInBoth, localHour, now, utcDay, utcShortDay } from "./times.js";

/** What can be chosen: buckets are whole hours or days of UTC, the running one included. */
const RANGES = {
  day: { width: "1h", seconds: HOUR, buckets: 24, name: hourInBoth, label: localHour, column: "Hour, in your time and UTC" },
  week: { width: "1d", seconds: DAY, buckets: 7, name: utcDay, label: utcShortDay, column: "Day (UTC)" },
  month: { width: "1d", seconds: DAY, buckets: 30, name: utcDay, label: utcShortDay, column: "Day (UTC)" },
};
const GROUPS = {
  model: { word: "model", nameOf: (model) => model ?? "unknown model" },
  key: { word: "key", nameOf: (id, names) => names.of(id) },
};

/** The panel's content for a range and a grouping, until `signal` ends its chart. */
export async function spending(api, names, rangeName, groupName, signal) {
  const range = RANGES[rangeName];
  const group = GROUPS[groupName];
  const last = now() - (now() % range.seconds);
  const start = last - (range.buckets - 1) * range.seconds;
  const buckets = await spentIn(api, { width: range.width, start, count: range.buckets, group: groupName });
  const found = seriesOf(buckets, (id) => group.nameOf(id, names));
  if (found.series.length === 0) return nothing("Nothing was spent in this time.");

  const host = h("div", { class: "chart", "aria-hidden": "true" });
  const readout = h("p", { class: "readout", "aria-hidden": "true" });
  const pointed = (index) => {
    readout.textContent = index === null || !(index in found.starts)
      ? `In all ${ton(found.total)} TON` : `${range.name(found.starts[index])}: ${ton(found.totals[index])} TON`;
  };
  pointed(null);
  // The canvas takes its width from the page it is in.
  queueMicrotask(() => draw(host, found, range.label, pointed, signal));
  return [
    h("div", { class: "chart-unit", "aria-hidden": "true" }, "TON"),
    host, readout,
    legend(found.series, (one) => amount(one.total)),
    h("details", { class: "more" }, h("summary", {}, "The same numbers as a table"),
      h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Spending as a table" },
        numbers(found, range, group))),
  ];
}

function numbers(found, range, group) {
  const columns = [
    { title: range.column, class: "whole" },
    ...found.series.map(({ name }) => ({ title: name, class: "number whole" })),
    { title: "In all", class: "number whole" },
  ];
  const rows = found.starts.map((start, index) => [
    range.name(start), ...found.series.map(({ values }) => amount(values[index])), amount(found.totals[index]),
  ]);
  rows.reverse();
  rows.push(["In all", ...found.series.map(({ total }) => amount(total)), amount(found.total)]);
  return table(`Spending by ${group.word}`, columns, rows);
}

// Stacked bars over time on a canvas. The same numbers stand in a table beside, so the canvas itself says nothing to a
// screen reader.

import uPlot from "../vendor/uplot/uPlot.esm.js";

import { tonForDrawing } from "./amounts.js";
import { h } from "./dom.js";

const HEIGHT = 240;

/** Gives the style sheet's colours in the theme in force; only a computed colour says which of two it is. */
function colours(host) {
  const probe = host.appendChild(h("span"));
  const read = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const found = { text: read("--muted"), line: read("--line"), series: [1, 2, 3, 4, 5, 6, 7].map((index) => read(`--series-${index}`)) };
  probe.remove();
  return found;
}

/**
 * Draws `series` of `{values}` over the moments `starts` into `host`, which has its height already. `label` names a
 * moment on the axis; `pointed` is called with the index under the pointer, or null. It ends with `signal`, which may be
 * over before it begins: the answer was overtaken by a later one.
 */
export function draw(host, { starts, series }, label, pointed, signal) {
  if (signal.aborted) return;
  let plot = null;
  let width = 0;

  const redraw = () => {
    plot?.destroy();
    plot = null;
    width = Math.floor(host.clientWidth);
    if (width > 0) plot = new uPlot(options(width, series, starts, label, pointed, colours(host)), stacked(starts, series), host);
  };
  const resized = new ResizeObserver(() => {
    if (Math.floor(host.clientWidth) !== width) redraw();
  });
  resized.observe(host);
  window.addEventListener("themechange", redraw, { signal });
  signal.addEventListener("abort", () => {
    resized.disconnect();
    plot?.destroy();
  });
  redraw();
}

/** Each series on top of those after it; the whole stack is drawn first and the others over it. */
function stacked(starts, series) {
  const sums = starts.map(() => 0n);
  const rows = [...series].reverse().map(({ values }) => values.map((value, index) => {
    sums[index] += value;
    return tonForDrawing(sums[index]);
  }));
  return [starts.map((_, index) => index), ...rows.reverse()];
}

function options(width, series, starts, label, pointed, colour) {
  const { text } = colour;
  const line = { stroke: colour.line, width: 1 };
  const font = "12px system-ui, sans-serif";
  const bars = uPlot.paths.bars({ size: [0.72, 48] });
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { setScale: false, x: false, y: false } },
    scales: {
      x: { time: false, range: [-0.5, starts.length - 0.5] },
      y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] },
    },
    axes: [
      {
        stroke: text, font, grid: { show: false }, ticks: line, space: 56,
        incrs: [1, 2, 3, 4, 6, 7, 8, 12, 24],
        values: (_, splits) => splits.map((at) => (Number.isInteger(at) && at in starts ? label(starts[at]) : "")),
      },
      { stroke: text, font, grid: line, ticks: line, size: 72, values: (_, splits) => splits.map(short) },
    ],
    series: [
      {},
      ...series.map((_, index) => {
        const fill = colour.series[index];
        return { fill, stroke: fill, width: 0, paths: bars, points: { show: false } };
      }),
    ],
    hooks: { setCursor: [(plot) => pointed(plot.cursor.idx ?? null)] },
  };
}

/** A mark of the axis: what it needs to be told from the next, in at most as many signs as there is room for. */
const short = (value) => (value === 0 ? "0" : Number(value.toPrecision(3)).toString().slice(0, 8));

/** What each colour stands for. */
export function legend(series, value) {
  return h("ul", { class: "legend" }, series.map((one, index) =>
    h("li", {}, h("span", { class: `mark mark-${index + 1}`, "aria-hidden": "true" }),
      h("span", { class: "legend-name" }, one.name), value(one))));
}

// Tables that become lists of cards on a phone. The roles say what a table's own elements stop saying once a style sheet
// lays them out in another way.

import { h } from "./dom.js";

/**
 * `columns` are {title, class, hidden}; each row a list of cells: nodes or text. The first cell of a row names it.
 */
export function table(caption, columns, rows) {
  const head = columns.map((column) =>
    h("th", { role: "columnheader", scope: "col", class: column.class },
      column.hidden ? h("span", { class: "visually-hidden" }, column.title) : column.title));
  return h("table", { role: "table" },
    h("caption", { class: "visually-hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, rows.map((row) => line(columns, row))));
}

/** One row for the body of such a table. */
export function line(columns, cells) {
  return h("tr", { role: "row" }, cells.map((cell, index) => {
    const properties = { class: columns[index].class, "data-title": columns[index].title };
    const content = h("div", {}, cell);
    return index === 0
      ? h("th", { role: "rowheader", scope: "row", ...properties }, content)
      : h("td", { role: "cell", ...properties }, content);
  }));
}

/** Names and values. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

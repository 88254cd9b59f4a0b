// Recent requests, newest first.

import { amount, count, nano } from "./amounts.js";
import { announce, h } from "./dom.js";
import { nothing } from "./panel.js";
import { receiptCell } from "./receipt-dialog.js";
import { line, table } from "./tables.js";
import { time } from "./times.js";

const PER_PAGE = 10;
const COLUMNS = [
  { title: "Time", class: "whole" },
  { title: "Model", class: "words" },
  { title: "Key", class: "words" },
  { title: "Tokens", class: "number whole" },
  { title: "Cost", class: "number whole" },
  { title: "Privacy", class: "whole" },
  { title: "Ended", class: "whole" },
  { title: "Receipt", class: "whole" },
];
const PRIVACY = {
  gateway: ["Gateway", "The gateway could read the question and the answer, and the machine that ran the model."],
  sealed: ["Sealed", "Only the machine that ran the model could read the question and the answer; the gateway could not."],
};

const page = (api, after) =>
  api.get("/v1/requests", [["limit", PER_PAGE], ...(after ? [["after", after]] : [])]);

/** The panel's content. */
export async function requests(api, names) {
  const first = await page(api, null);
  if (first.data.length === 0) {
    return nothing("No requests yet. What this account asks for appears here as soon as it is charged.");
  }
  const row = (request) => cells(api, names, request);
  const all = table("Recent requests, newest first", COLUMNS, first.data.map(row));
  return [all, more(api, first, (data) => {
    const lines = data.map((request) => line(COLUMNS, row(request)));
    all.querySelector("tbody").append(...lines);
    return lines[0];
  })];
}

/** The button for older ones, while there are any. */
function more(api, first, add) {
  let last = first.last_id;
  const button = h("button", { type: "button", class: "older", hidden: !first.has_more }, "Show older requests");
  const error = h("p", { class: "error", role: "alert" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    error.textContent = "";
    try {
      const next = await page(api, last);
      last = next.last_id;
      const begin = next.data.length > 0 ? add(next.data) : null;
      announce(`${next.data.length} older requests`);
      button.hidden = !next.has_more;
      // Where there are no more, the button that had the focus is gone.
      if (button.hidden && begin) {
        begin.tabIndex = -1;
        begin.focus();
      }
    } catch (failure) {
      error.textContent = failure.message;
    }
    button.disabled = false;
  });
  return h("div", { class: "actions" }, button, error);
}

function cells(api, names, request) {
  return [
    time(request.created),
    request.model ?? "",
    names.of(request.api_key_id),
    tokens(request.usage),
    amount(nano(request.cost)),
    privacy(request.privacy),
    request.finish ?? "",
    receiptCell(api, request),
  ];
}

function privacy(mode) {
  const [name, meaning] = PRIVACY[mode] ?? ["Not known", "The receipt does not say."];
  return h("span", { class: `badge ${mode === "sealed" ? "sealed" : ""}`, title: meaning }, name,
    h("span", { class: "visually-hidden" }, `: ${meaning}`));
}

function tokens(usage) {
  // The classes do not overlap.
  const { prompt, cached, completion, reasoning } = usage;
  const rest = [cached ? `${count(cached)} cached` : null, reasoning ? `${count(reasoning)} reasoning` : null].filter(Boolean);
  return h("span", {}, `${count(prompt + cached)} in, ${count(completion + reasoning)} out`,
    rest.length > 0 ? h("span", { class: "utc" }, ` ${rest.join(", ")}`) : null);
}

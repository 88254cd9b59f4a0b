// The dialog that checks one receipt and says plainly what that proved.

import { amount, nano } from "./amounts.js";
import { path } from "./api.js";
import { dialog } from "./dialogs.js";
import { announce, copyButton, h } from "./dom.js";
import { checkReceipt, NotChecked } from "./receipts.js";
import { facts } from "./tables.js";
import { time } from "./times.js";

/** Opens it for a listed request and checks its receipt. */
export async function openReceipt(api, request) {
  const verdict = h("div", { class: "verdict", role: "status", "aria-busy": "true" }, h("p", {}, "Checking the signature…"));
  const rest = h("div", { class: "verdict-rest" });
  dialog("Receipt", [verdict, rest, raw(request.receipt)]);
  let shown;
  try {
    const checked = await checkReceipt(request.receipt, request, (digest) => api.get(path`/v1/attestation/${digest}`));
    shown = good(checked, request);
  } catch (error) {
    shown = bad(error);
  }
  verdict.className = `verdict ${shown.kind}`;
  verdict.replaceChildren(h("p", { class: "verdict-line" }, shown.line));
  verdict.removeAttribute("aria-busy");
  rest.replaceChildren(...shown.rest);
}

function good({ claims, tee, kid }, request) {
  const { usage } = claims;
  return {
    kind: "good",
    line: "✓ The signature verifies, and the receipt says what is listed here.",
    rest: [
      facts([
        ["Model", claims.model],
        ["Cost", [amount(nano(claims.cost)), h("span", { class: "utc" }, ` ${claims.cost} nanoTON`)]],
        request.cost === claims.cost ? null : ["Charged", [amount(nano(request.cost)), ", as the account had no more"]],
        ["Tokens", `${usage.prompt} prompt, ${usage.cached} cached, ${usage.completion} completion, ${usage.reasoning} reasoning`],
        ["Ended", `${claims.finish}${claims.complete === true ? "" : ", before the answer was sent to its end"}`],
        ["Finished", time(Math.floor(claims.finished / 1000))],
        ["Receipt", h("code", {}, claims.jti)],
        ["Keyset", h("code", {}, claims.iss)],
        ["Signing key", h("code", {}, kid)],
      ]),
      h("h3", {}, "Proven in this browser"),
      h("ul", {},
        h("li", {}, "The receipt is signed by the key in the keyset that it names, and nothing of it was changed since."),
        h("li", {}, "The SHA-256 of that keyset is the one in the receipt."),
        h("li", {}, "Model and tokens are those listed here, the cost is what they cost at its prices, and no more was charged.")),
      h("h3", {}, "Not proven here"),
      h("ul", {},
        h("li", {}, tee === "dev"
          ? "That a protected machine holds that key: this backend runs with development evidence, without such hardware."
          : "That a protected machine holds that key. The gateway checked the keyset's evidence; this page did not, and it comes from the gateway itself."),
        h("li", {}, "That its hashes are those of your question and your answer: the page has neither.")),
      h("p", {}, "To check the evidence without trusting the gateway or this page, run ",
        h("code", {}, "cocoon-connect verify"), " on your own machine."),
    ],
  };
}

function bad(error) {
  const unknown = error instanceof NotChecked;
  return {
    kind: unknown ? "unknown" : "bad",
    line: unknown ? "? The receipt could not be checked." : "✗ This receipt is not to be believed.",
    rest: [h("p", {}, error.message)],
  };
}

function raw(token) {
  const text = h("textarea", { readOnly: true, rows: 5, value: token, spellcheck: false, "aria-label": "The receipt as it was signed" });
  return h("details", { class: "more" },
    h("summary", {}, "The receipt as it was signed"), text, copyButton("Copy", () => token));
}

/** What a row of the list has for a receipt: a button, or why there is none. */
export function receiptCell(api, request) {
  if (!request.receipt_id) return h("span", { class: "hint" }, "none came");
  if (typeof request.receipt !== "string") return h("span", { class: "hint" }, "no longer kept");
  const check = () => openReceipt(api, request).catch((error) => announce(error.message));
  return h("button", { type: "button", class: "small", onclick: check, "aria-label": `Check the receipt ${request.receipt_id}` }, "Check");
}

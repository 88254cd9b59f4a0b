// How to pay in: what the API says of the account's deposits.

import { copyButton, h } from "./dom.js";
import { nothing } from "./panel.js";
import { qrCode } from "./qr-code.js";
import { facts } from "./tables.js";

/** The panel's content; `credits` gives the answer of `/v1/credits`. */
export async function topUp(credits) {
  const { data } = await credits();
  const way = data.topup;
  const page = pageLink(way?.url);
  if (page) return [h("p", {}, "Whoever runs this deployment says here how to pay in:"), ...page];
  if (!way?.address) {
    return nothing("This deployment has no address for deposits yet: nothing can be paid in here. Whoever runs it can grant credit to this account.");
  }
  return [
    h("p", {}, "Send TON to this address", way.comment ? ", with exactly this comment: it says whose account it is." : "."),
    facts([
      ["Address", [h("code", {}, way.address), " ", copyButton("Copy", () => way.address)]],
      way.comment ? ["Comment", [h("code", {}, way.comment), " ", copyButton("Copy", () => way.comment)]] : null,
    ]),
    walletLink(way.link),
  ];
}

/** A link to a page, which opens beside this one and learns nothing of it. */
function pageLink(url) {
  if (typeof url !== "string" || !url.startsWith("https://")) return null;
  const link = h("a", { class: "button", href: url, target: "_blank", rel: "noopener noreferrer" }, "Pay in");
  return [h("p", {}, link), h("p", { class: "hint" }, url)];
}

/** A link for wallets, and for nothing else that a link can do. */
function walletLink(link) {
  if (typeof link !== "string" || !link.startsWith("ton://transfer/")) return null;
  return h("div", { class: "wallet" }, h("a", { class: "button", href: link }, "Open in a wallet"), qrCode(link, "QR code of the same transfer, for a wallet on another device"));
}

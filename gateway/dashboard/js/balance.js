// Balance, what is held, and how long it lasts.

import { amount, nano, nanoOrZero } from "./amounts.js";
import { h } from "./dom.js";
import { costOf, spentIn } from "./series.js";
import { facts } from "./tables.js";
import { DAY, HOUR, now } from "./times.js";

/** What was spent in the last 24 hours and, per day, in the last 7 days: whole hours of UTC, the running one included. */
async function burn(api) {
  const hour = now() - (now() % HOUR);
  const buckets = await spentIn(api, { width: "1h", start: hour - 7 * DAY + HOUR, count: 168, group: null });
  const since = (from) => buckets.filter((bucket) => bucket.start >= from)
    .reduce((sum, bucket) => sum + costOf(bucket), 0n);
  return { day: since(hour - DAY + HOUR), perDay: since(0) / 7n };
}

/** `12.3` days, or null where nothing is spent. */
export function daysLeft(available, perDay) {
  if (perDay <= 0n) return null;
  const tenths = (available * 10n) / perDay;
  return tenths > 36_500n ? "more than 10 years" : `${tenths / 10n}.${tenths % 10n} days`;
}

function tile(title, value, note) {
  return h("div", { class: "tile" }, h("dt", {}, title), h("dd", {}, value, note ? h("span", { class: "note" }, note) : null));
}

/** The panel's content. The balance does not wait for, or fail with, what is said of spending. */
export async function balance(api, credits) {
  const [{ data }, spent] = await Promise.all([credits(), burn(api).catch((error) => error)]);
  const available = nano(data.available);
  const failed = spent instanceof Error;
  const left = failed ? null : daysLeft(available, spent.perDay);
  const unknown = h("span", { class: "hint" }, failed ? spent.message : "");
  return [
    h("dl", { class: "tiles" },
      tile("Available", amount(available), "balance less what is held"),
      tile("Balance", amount(nano(data.balance))),
      tile("Held", amount(nano(data.held)), "for requests that run now"),
      tile("Spent in 24 hours", failed ? unknown : amount(spent.day)),
      tile("Per day, over 7 days", failed ? unknown : amount(spent.perDay)),
      tile("Lasts", failed ? unknown : (left ?? "no end in sight"), failed ? null : left ? "at the pace of 7 days" : "nothing was spent in 7 days")),
    h("details", { class: "more" }, h("summary", {}, "Since the account began"), facts([
      ["Deposited", amount(nanoOrZero(data.deposited))],
      ["Granted as test credit", amount(nanoOrZero(data.granted))],
      ["Charged", amount(nanoOrZero(data.charged))],
      ["Being withdrawn", amount(nanoOrZero(data.withdrawing))],
      ["Withdrawn", amount(nanoOrZero(data.withdrawn))],
    ])),
  ];
}

// Limits of this key and, for admin keys, of its account and projects.

import { amount, count, nano, ton } from "./amounts.js";
import { h } from "./dom.js";
import { facts } from "./tables.js";
import { time } from "./times.js";

const PERIODS = { day: "a day", week: "a week", month: "a month", total: "in all" };

/** Lines for what is limited; none where nothing is. */
export function limitFacts(limits) {
  if (!limits) return [];
  const { rpm, tpm, concurrency, budget } = limits;
  const lines = [];
  if (isSet(rpm)) lines.push(["Requests a minute", count(rpm)]);
  if (isSet(tpm)) lines.push(["Tokens a minute", count(tpm)]);
  if (isSet(concurrency)) lines.push(["At once", count(concurrency)]);
  if (isSet(budget)) lines.push(["Budget", [amount(nano(budget.amount)), ` ${PERIODS[budget.period] ?? budget.period}`]]);
  return lines;
}

/** The same in one line. */
export function limitText(limits) {
  if (!limits) return "";
  const { rpm, tpm, concurrency, budget } = limits;
  return [
    isSet(rpm) ? `${count(rpm)} requests/min` : null,
    isSet(tpm) ? `${count(tpm)} tokens/min` : null,
    isSet(concurrency) ? `${count(concurrency)} at once` : null,
    isSet(budget) ? `${ton(nano(budget.amount))} TON ${PERIODS[budget.period] ?? budget.period}` : null,
  ].filter(Boolean).join(", ");
}

const isSet = (value) => value !== undefined && value !== null;

/** What a budget has left: a bar, and the same in words. */
function usedOf(budget, spent) {
  if (!isSet(budget) || !isSet(spent)) return null;
  const [whole, used] = [nano(budget.amount), nano(spent)];
  const share = whole > 0n ? Number((used * 1000n) / whole) / 1000 : 1;
  return h("div", { class: "used" },
    h("meter", { min: 0, max: 1, value: Math.min(share, 1), high: 0.9, "aria-label": "Used of the budget" }),
    h("p", {}, amount(used), " used, ", amount(whole > used ? whole - used : 0n), " left"));
}

const PERIOD_NAMES = { day: "daily", week: "weekly", month: "monthly" };

function block(title, limits, spent, more = []) {
  const lines = [...more, ...limitFacts(limits)];
  return h("div", { class: "limit-block" }, h("h3", {}, title),
    lines.length > 0 ? facts(lines) : h("p", { class: "hint" }, "No limits of its own."),
    usedOf(limits?.budget, spent?.[PERIOD_NAMES[limits?.budget?.period]]));
}

/** What the key is good for, and what was spent with it; an admin key shows what its account spent. */
function keyFacts(key) {
  const whose = key.scope === "inference" ? "Spent" : "Account spent";
  return [
    ["Key", h("code", {}, key.id)],
    key.project ? ["Project", key.project] : null,
    key.scope === "inference" ? ["Models", key.models?.join(", ") ?? "every model"] : ["For", "administration; runs no models"],
    key.sealed_only ? ["Requests", "sealed only"] : null,
    ["Good until", key.expires_at ? time(key.expires_at) : "it is revoked"],
    [`${whose} today`, amount(nano(key.usage_nano.daily))],
    [`${whose} this week`, amount(nano(key.usage_nano.weekly))],
    [`${whose} this month`, amount(nano(key.usage_nano.monthly))],
  ].filter(Boolean);
}

/** The panel's content. */
export async function limits(api) {
  const { data: key } = await api.get("/v1/key");
  const blocks = [block("This key", key.limits, key.usage_nano, keyFacts(key))];
  if (key.scope !== "inference") {
    const account = await api.get("/v1/organization/limits");
    blocks.push(block("The account", account, key.usage_nano));
  }
  return blocks;
}

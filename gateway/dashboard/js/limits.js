// Limits and what is used of them: of the key that asks and all that limits it; for administrators of the account and of
// its projects, where they can be changed.

import { amount, count, nano, ton } from "./amounts.js";
import { path } from "./api.js";
import { byId, h } from "./dom.js";
import { changeLimits } from "./limit-form.js";
import { facts } from "./tables.js";
import { time } from "./times.js";

const PERIODS = { day: "a day", week: "a week", month: "a month", total: "in all" };
const ACCOUNT = "/v1/organization/limits";
const ofProject = (project) => path`/v1/organization/projects/${project}/limits`;
/** Where keys without a project are: it has no limits of its own. */
const NO_PROJECT = "default";

const isSet = (value) => value !== undefined && value !== null;

/** Limits in one line. */
export function limitText({ rpm, tpm, concurrency, budget }) {
  return [
    isSet(rpm) ? `${count(rpm)} requests/min` : null,
    isSet(tpm) ? `${count(tpm)} tokens/min` : null,
    isSet(concurrency) ? `${count(concurrency)} at once` : null,
    isSet(budget) ? `${ton(nano(budget.amount))} TON ${PERIODS[budget.period] ?? budget.period}` : null,
  ].filter(Boolean).join(", ");
}

/** Lines for what is limited, each with what is left of it. */
function limitFacts({ rpm, tpm, concurrency, budget, used }) {
  const left = (rate) => (rate ? `, ${count(rate.remaining)} left now` : "");
  return [
    isSet(rpm) ? ["Requests a minute", `${count(rpm)}${left(used.requests)}`] : null,
    isSet(tpm) ? ["Tokens a minute", `${count(tpm)}${left(used.tokens)}`] : null,
    isSet(concurrency) ? ["At once", `${count(concurrency)}, ${count(used.running)} run now`] : null,
    isSet(budget) ? ["Budget", [amount(nano(budget.amount)), ` ${PERIODS[budget.period] ?? budget.period}`]] : null,
  ].filter(Boolean);
}

/** What a budget has left: a bar, and the same in words. */
function budgetUsed({ budget, used }) {
  if (!isSet(budget)) return null;
  const { spent, held, remaining, resets_at: resets } = used.budget;
  const [whole, gone] = [nano(budget.amount), nano(spent) + nano(held)];
  const share = whole > 0n ? Number((gone * 1000n) / whole) / 1000 : 1;
  return h("div", { class: "used" },
    h("meter", { min: 0, max: 1, value: Math.min(share, 1), high: 0.9, "aria-label": "Used of the budget" }),
    h("p", {}, amount(nano(spent)), " spent, ", nano(held) > 0n ? [amount(nano(held)), " held, "] : null,
      amount(nano(remaining)), " left", resets ? [" until ", time(resets)] : null));
}

function block(title, limited, { lines = [], change = null } = {}) {
  const all = [...lines, ...limitFacts(limited)];
  const has = limitText(limited) !== "";
  return h("div", { class: "limit-block" },
    h("div", { class: "panel-head" }, h("h3", {}, title), change),
    all.length > 0 ? facts(all) : null,
    has ? null : h("p", { class: "hint" }, "No limits of its own."),
    budgetUsed(limited));
}

/** What the key is good for. */
function keyFacts(key) {
  return [
    ["Key", h("code", {}, key.id)],
    key.project ? ["Project", key.project] : null,
    key.scope === "inference" ? ["Models", key.models?.join(", ") ?? "every model"] : ["For", "administration; runs no models"],
    key.sealed_only ? ["Requests", "sealed only"] : null,
    ["Good until", key.expires_at ? time(key.expires_at) : "it is revoked"],
  ].filter(Boolean);
}

/** What was spent: by the key, or by the account of an administrator. */
const spentFacts = ({ usage_nano: { daily, weekly, monthly, total } }) => [
  ["Spent today", amount(nano(daily))], ["Spent this week", amount(nano(weekly))],
  ["Spent this month", amount(nano(monthly))], ["Spent in all", amount(nano(total))],
];

/** The button that changes limits; the page finds it again by its place. */
function changer(api, place, name, limits, changed) {
  return h("button", {
    type: "button", class: "small", "data-place": place, "aria-label": `Change the limits of ${name}`,
    onclick: () => changeLimits(api, place, name, limits, () => changed(place)),
  }, "Change");
}

/** A project to be chosen, and its limits. */
async function projectBlock(api, projects, chosen, changed) {
  const place = ofProject(chosen);
  const limited = await api.get(place);
  const select = h("select", { id: "limits-project" }, projects.map((project) => h("option", { value: project }, project)));
  select.value = chosen;
  select.addEventListener("change", () => changed(null, select.value));
  const title = [h("label", { for: "limits-project" }, "Project"), " ", select];
  return block(title, limited, { change: changer(api, place, `project ${chosen}`, limited, (at) => changed(at, chosen)) });
}

/**
 * The panel's content. `changed(place, project)` has it shown anew with that project, and the focus on the button of that
 * place, or on the project.
 */
export async function limits(api, projects, chosen, changed) {
  const { data: key } = await api.get("/v1/key");
  const [first, ...wider] = key.limits;
  if (key.scope === "inference") {
    return [
      block("This key", first, { lines: [...keyFacts(key), ...spentFacts(key)] }),
      ...wider.map((limited) => block(limited.of === "project" ? `Its project, ${limited.id}` : "The account", limited)),
    ];
  }
  const named = projects.filter((project) => project !== NO_PROJECT);
  const shown = named.includes(chosen) ? chosen : named[0];
  return [
    h("div", { class: "limit-block" }, h("h3", {}, "This key"), facts(keyFacts(key))),
    block("The account", first, {
      lines: spentFacts(key), change: changer(api, ACCOUNT, "the account", first, (at) => changed(at, shown)),
    }),
    shown === undefined ? null : await projectBlock(api, named, shown, changed),
  ];
}

/** Gives the focus back to where limits were changed, or a project was chosen. */
export function focusLimits(place) {
  const at = place === null ? byId("limits-project")
    : [...document.querySelectorAll("[data-place]")].find((button) => button.dataset.place === place);
  at?.focus();
}

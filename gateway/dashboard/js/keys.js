// Keys: who holds an admin key lists, makes, rotates and revokes them here.

import { path } from "./api.js";
import { confirm, dialog } from "./dialogs.js";
import { announce, copyButton, h } from "./dom.js";
import { keyForm } from "./key-form.js";
import { limitText } from "./limits.js";
import { nothing } from "./panel.js";
import { table } from "./tables.js";
import { now, time } from "./times.js";

/** Keys of all projects that are listed at most. */
const MOST = 500;
const PER_PAGE = 100;
/** Projects of an account that are asked about at most. */
const PROJECTS = 100;
/** How long a rotated key still works. */
const OVERLAP = 3600;
const COLUMNS = [
  { title: "Name", class: "words long" },
  { title: "Project", class: "words" },
  { title: "Key", class: "whole" },
  { title: "Made", class: "whole" },
  { title: "May use", class: "words long" },
  { title: "State", class: "words long" },
  { title: "Actions", hidden: true, class: "whole" },
];

const ADMIN_KEYS = "/v1/organization/admin_api_keys";
const keysOfProject = (project) => path`/v1/organization/projects/${project}/api_keys`;

/** All keys at one place of the API, newest first, each with the place where it is found. */
async function keysAt(api, place, room) {
  const keys = [];
  let after = null;
  do {
    const query = [["limit", PER_PAGE], ["order", "desc"], ["include_revoked", "true"], ...(after ? [["after", after]] : [])];
    const page = await api.get(place, query);
    keys.push(...page.data.map((key) => ({ ...key, place: `${place}/${encodeURIComponent(key.id)}` })));
    after = page.has_more ? page.last_id : null;
  } while (after && keys.length < room);
  return keys;
}

/** All keys of the account and of its projects. */
async function all(api) {
  const projects = (await api.get("/v1/organization/projects", [["limit", PROJECTS]])).data.map(({ id }) => id);
  if (!projects.includes("default")) projects.push("default");
  const keys = [];
  for (const place of [ADMIN_KEYS, ...projects.map(keysOfProject)]) {
    if (keys.length >= MOST) break;
    keys.push(...await keysAt(api, place, MOST - keys.length));
  }
  keys.sort((one, two) => two.created_at - one.created_at);
  return { keys, projects };
}

/** The account's keys and projects. */
export async function keysOf(api, names) {
  const found = await all(api);
  for (const key of found.keys) names.learn(key.id, key.name);
  return found;
}

/** The panel's content; `changed` reloads it. */
export function keysContent(api, { keys }, changed) {
  if (keys.length === 0) return nothing("No keys yet.");
  const note = keys.length >= MOST ? h("p", { class: "hint" }, `Only the first ${MOST} keys are shown.`) : null;
  return [table("Keys, newest first", COLUMNS, keys.map((key) => cells(api, key, changed))), note].filter(Boolean);
}

/** Revoked, expired, or good; a key may end later. */
function stateOf(key) {
  const at = now();
  if (key.revoked_at && key.revoked_at <= at) return { ended: true, shown: ["Revoked ", time(key.revoked_at)] };
  if (key.expires_at && key.expires_at <= at) return { ended: true, shown: ["Expired ", time(key.expires_at)] };
  if (key.revoked_at) return { ended: false, shown: ["Works until ", time(key.revoked_at)] };
  return { ended: false, shown: key.expires_at ? ["Good until ", time(key.expires_at)] : ["Good"] };
}

function cells(api, key, changed) {
  const state = stateOf(key);
  const name = key.name || key.id;
  const { place } = key;
  const actions = state.ended ? h("span", {}) : h("div", { class: "row-actions" },
    h("button", { type: "button", class: "small", "aria-label": `Rotate ${name}`, onclick: () => rotate(api, place, name, changed) }, "Rotate"),
    h("button", { type: "button", class: "small danger", "aria-label": `Revoke ${name}`, onclick: () => revoke(api, place, name, changed) }, "Revoke"));
  const may = key.project_id === undefined ? "administers the account, runs no models" : [
    key.models?.length ? `models ${key.models.join(", ")}` : "every model",
    key.sealed_only ? "sealed requests only" : null, limitText(key),
  ].filter(Boolean).join("; ");
  return [
    h("span", {}, name, key.name ? h("span", { class: "utc" }, ` ${key.id}`) : null),
    key.project_id ?? "–", h("code", {}, key.redacted_value), time(key.created_at), may,
    h("span", { class: state.ended ? "badge ended" : "badge" }, state.shown), actions,
  ];
}

function revoke(api, place, name, changed) {
  confirm(`Revoke ${name}?`, "Whoever uses this key is refused from now on. This cannot be undone.", "Revoke the key", async () => {
    await api.delete(place);
    announce(`${name} is revoked`);
    changed();
  });
}

function rotate(api, place, name, changed) {
  confirm(`Rotate ${name}?`, "A new key takes its place. The old one works for one more hour.", "Make the new key", async () => {
    const made = await api.post(`${place}/rotate`, { overlap_seconds: OVERLAP });
    showOnce(made.value, changed);
  });
}

/** Opens the form for a new key. */
export function createKey(api, projects, changed) {
  const element = dialog("Create a key", keyForm(projects, async (project, wanted) => {
    const made = await api.post(project === null ? ADMIN_KEYS : keysOfProject(project), wanted);
    element.close();
    showOnce(made.value, changed);
  }, () => element.close()));
}

/** A key's text, which nobody can see again. */
function showOnce(value, changed) {
  const field = h("input", { type: "text", readOnly: true, value, id: "new-key", spellcheck: false, autocomplete: "off" });
  const element = dialog("Your new key", [
    h("p", {}, "Copy it now: it is shown this once, and nobody can show it again."),
    h("label", { for: "new-key" }, "The key"), field,
    h("div", { class: "actions" }, copyButton("Copy", () => value),
      h("button", { type: "button", class: "primary", onclick: () => element.close() }, "I have kept it")),
  ], () => {
    field.value = "";
    changed();
  });
  field.select();
}

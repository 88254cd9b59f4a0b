// The page: who is logged in, and which panel shows what.

import { Api } from "./api.js";
import { balance } from "./balance.js";
import { closeDialogs } from "./dialogs.js";
import { announce, byId } from "./dom.js";
import { createKey, keysContent, keysOf } from "./keys.js";
import { focusLimits, limits } from "./limits.js";
import { Names } from "./names.js";
import { Panel } from "./panel.js";
import { requests } from "./requests.js";
import { spending } from "./spending.js";
import * as theme from "./theme.js";
import { now, time } from "./times.js";
import { topUp } from "./top-up.js";

const panels = {};
for (const id of ["balance", "spending", "requests", "limits", "top-up", "keys"]) panels[id] = new Panel(id);

/** Who is logged in; null while nobody is. */
let session = null;

class Session {
  /** Ends the chart that is shown, or that is still to be. */
  #chart = new AbortController();

  constructor(key, account) {
    this.api = new Api(key, account, (message) => logOut(message));
    this.names = new Names();
    this.projects = [];
    /** Of the key: what its holder is shown. */
    this.scope = "inference";
  }

  /** Loads every panel anew. The names of keys come first: other panels speak of keys. */
  async showAll() {
    const { api, names } = this;
    byId("as-of").replaceChildren("As of ", time(now()));
    // Two panels show parts of one answer.
    let asked = null;
    const credits = () => (asked ??= api.get("/v1/credits").finally(() => { asked = null; }));
    panels.balance.show(() => balance(api, credits));
    panels["top-up"].show(() => topUp(credits));
    await this.showKeys();
    if (api.ended) return;
    this.showLimits();
    panels.requests.show(() => requests(api, names));
    this.showSpending();
  }

  /** An administrator looks at `project` where there is one of that name. */
  showLimits(project = null) {
    return panels.limits.show(() => limits(this.api, this.projects, project, async (place, chosen) => {
      await this.showLimits(chosen);
      focusLimits(place);
    }));
  }

  showSpending() {
    this.#chart.abort();
    this.#chart = new AbortController();
    const { signal } = this.#chart;
    panels.spending.show(() => spending(this.api, this.names, byId("spending-range").value, byId("spending-by").value, signal));
  }

  /** An inference key's holder does not see the panel at all: nothing is asked for that the key may not have. */
  async showKeys() {
    panels.keys.section.hidden = this.scope === "inference";
    if (panels.keys.section.hidden) return;
    await panels.keys.show(async () => {
      const found = await keysOf(this.api, this.names);
      this.projects = found.projects;
      return keysContent(this.api, found, () => this.showKeys());
    });
  }

  end() {
    this.api.end();
    this.#chart.abort();
  }
}

/** Asks once with the key: whoever mistyped it is told at the form. */
async function logIn(event) {
  event.preventDefault();
  const [field, error, button] = [byId("login-key"), byId("login-error"), byId("log-in")];
  const key = field.value.trim();
  error.textContent = "";
  // What is not in this alphabet cannot be in a header, and is no key.
  if (!/^[\x21-\x7e]+$/.test(key)) {
    error.textContent = key === "" ? "Enter a key." : "That is not a key: it has spaces or other signs in it.";
    field.focus();
    return;
  }
  button.disabled = true;
  const opened = new Session(key, byId("login-account").value.trim());
  try {
    const { data } = await opened.api.get("/v1/key");
    opened.scope = data.scope;
  } catch (failure) {
    opened.end();
    error.textContent = failure.message;
    field.focus();
    return;
  } finally {
    button.disabled = false;
  }
  session = opened;
  byId("login-form").reset();
  show(true);
  byId("account-title").focus();
  announce("Logged in");
  session.showAll();
}

function logOut(message = "") {
  session?.end();
  session = null;
  closeDialogs();
  for (const panel of Object.values(panels)) panel.clear();
  panels.keys.section.hidden = true;
  byId("as-of").replaceChildren();
  if (byId("login").hidden) {
    show(false);
    byId("login-error").textContent = message;
    byId("login-key").focus();
    if (!message) announce("Logged out");
  }
}

function show(account) {
  byId("login").hidden = account;
  for (const id of ["account", "refresh", "log-out"]) byId(id).hidden = !account;
}

theme.bind(byId("theme"));
byId("login-form").addEventListener("submit", logIn);
byId("log-out").addEventListener("click", () => logOut());
byId("refresh").addEventListener("click", () => {
  announce("Loading again");
  session?.showAll();
});
byId("spending-range").addEventListener("change", () => session?.showSpending());
byId("spending-by").addEventListener("change", () => session?.showSpending());
byId("create-key").addEventListener("click", () => {
  if (session) createKey(session.api, session.projects, () => session?.showKeys());
});
// A page that the browser keeps for the back button keeps no key.
window.addEventListener("pagehide", () => logOut());

// The form for a new key: what is typed becomes what the API is asked for, or says what is wrong with it.

import { parseTon } from "./amounts.js";
import { h } from "./dom.js";
import { DAY, now } from "./times.js";

const PERIODS = [["day", "a day"], ["week", "a week"], ["month", "a month"]];
const PROJECT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

let made = 0;

/** A labelled field; `hint` is read with it. */
function field(label, input, hint) {
  made += 1;
  input.id = `field-${made}`;
  const help = hint ? h("p", { class: "hint", id: `${input.id}-hint` }, hint) : null;
  if (help) input.setAttribute("aria-describedby", help.id);
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, help);
}

const text = (maxLength) => h("input", { type: "text", maxLength, autocomplete: "off", spellcheck: false });
const digits = () => h("input", { type: "text", inputMode: "numeric", maxLength: 12, autocomplete: "off" });

/** Marks `input` as wrong and says why. */
class Wrong extends Error {
  constructor(input, message) {
    super(message);
    this.input = input;
  }
}

function whole(input, what) {
  const typed = input.value.trim();
  if (typed === "") return undefined;
  if (!/^[1-9][0-9]{0,9}$/.test(typed)) throw new Wrong(input, `${what}: a whole number above zero, or nothing.`);
  return Number(typed);
}

/** `submit(project, wanted)` is called with what the API takes, for an admin key without a project; its errors are shown. */
export function keyForm(projects, submit, cancel) {
  const name = text(100);
  const scope = h("select", {}, h("option", { value: "inference" }, "Run models"), h("option", { value: "admin" }, "Administer the account"));
  const project = text(64);
  project.value = projects[0] ?? "default";
  const models = text(1000);
  const [rpm, tpm, concurrency, days] = [digits(), digits(), digits(), digits()];
  const amount = h("input", { type: "text", inputMode: "decimal", maxLength: 20, autocomplete: "off" });
  const period = h("select", {}, PERIODS.map(([value, shown]) => h("option", { value }, shown)));
  period.value = "month";
  const sealed = h("input", { type: "checkbox", id: "field-sealed" });
  const error = h("p", { class: "error", role: "alert" });
  const go = h("button", { type: "submit", class: "primary" }, "Create the key");
  const inputs = [name, project, models, rpm, tpm, concurrency, days, amount];

  const read = () => {
    if (name.value.trim() === "") throw new Wrong(name, "Give the key a name.");
    const lifetime = whole(days, "Days");
    if (scope.value === "admin") {
      return [null, { name: name.value.trim(), expires_in_seconds: lifetime === undefined ? undefined : lifetime * DAY }];
    }
    if (!PROJECT.test(project.value.trim())) throw new Wrong(project, "A project's name is made of letters, digits, dots, dashes and underscores.");
    const budget = parseTon(amount.value);
    if (amount.value.trim() !== "" && budget === null) throw new Wrong(amount, "A budget is an amount of TON above zero, with at most nine decimals.");
    const wanted = {
      name: name.value.trim(),
      models: models.value.split(",").map((model) => model.trim()).filter(Boolean),
      rpm: whole(rpm, "Requests a minute"), tpm: whole(tpm, "Tokens a minute"), concurrency: whole(concurrency, "Requests at once"),
      budget: budget === null ? undefined : { amount: String(budget), period: period.value },
      sealed_only: sealed.checked ? true : undefined,
      expires_at: lifetime === undefined ? undefined : now() + lifetime * DAY,
    };
    if (wanted.models.length === 0) delete wanted.models;
    return [project.value.trim(), wanted];
  };

  const submitted = async (event) => {
    event.preventDefault();
    error.textContent = "";
    for (const input of inputs) input.removeAttribute("aria-invalid");
    go.disabled = true;
    try {
      await submit(...read());
    } catch (failure) {
      error.textContent = failure.message;
      if (failure instanceof Wrong) {
        failure.input.setAttribute("aria-invalid", "true");
        failure.input.focus();
      }
    }
    go.disabled = false;
  };

  // An admin key runs no models: there is nothing to limit.
  const forModels = h("div", { class: "key-form" },
    field("Project", project),
    field("Models", models, "With commas between; every model where it is empty."),
    h("fieldset", {}, h("legend", {}, "Limits, each where it is not empty"),
      field("Requests a minute", rpm), field("Tokens a minute", tpm), field("Requests at once", concurrency),
      field("Budget in TON", amount), field("Budget for", period)),
    h("p", { class: "check" }, sealed, h("label", { for: "field-sealed" }, "Sealed requests only: refused where the gateway could read them")));
  scope.addEventListener("change", () => { forModels.hidden = scope.value === "admin"; });

  return h("form", { class: "key-form", method: "post", noValidate: true, autocomplete: "off", onsubmit: submitted },
    field("Name", name), field("What for", scope), forModels, field("Ends after days", days, "Never where it is empty."), error,
    h("div", { class: "actions" }, go, h("button", { type: "button", onclick: cancel }, "Cancel")));
}

// The form for a new key: what is typed becomes what the API is asked for, or says what is wrong with it.

import { h } from "./dom.js";
import { digits, field, form, text, whole, Wrong } from "./form.js";
import { limitFields } from "./limit-form.js";
import { DAY, now } from "./times.js";

const PROJECT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** `submit(project, wanted)` is called with what the API takes, for an admin key without a project; its errors are shown. */
export function keyForm(projects, submit, cancel) {
  const name = text(100);
  const scope = h("select", {}, h("option", { value: "inference" }, "Run models"), h("option", { value: "admin" }, "Administer the account"));
  const project = text(64);
  project.value = projects[0] ?? "default";
  const models = text(1000);
  const days = digits();
  const limits = limitFields();
  const sealed = h("input", { type: "checkbox", id: "field-sealed" });

  const read = () => {
    if (name.value.trim() === "") throw new Wrong(name, "Give the key a name.");
    const lifetime = whole(days, "Days");
    if (scope.value === "admin") {
      return [null, { name: name.value.trim(), expires_in_seconds: lifetime === undefined ? undefined : lifetime * DAY }];
    }
    if (!PROJECT.test(project.value.trim())) throw new Wrong(project, "A project's name is made of letters, digits, dots, dashes and underscores.");
    const wanted = {
      name: name.value.trim(),
      models: models.value.split(",").map((model) => model.trim()).filter(Boolean),
      ...limits.read(),
      sealed_only: sealed.checked ? true : undefined,
      expires_at: lifetime === undefined ? undefined : now() + lifetime * DAY,
    };
    if (wanted.models.length === 0) delete wanted.models;
    return [project.value.trim(), wanted];
  };

  // An admin key runs no models: there is nothing to limit.
  const forModels = h("div", { class: "form" },
    field("Project", project),
    field("Models", models, "With commas between; every model where it is empty."),
    limits.fields,
    h("p", { class: "check" }, sealed, h("label", { for: "field-sealed" }, "Sealed requests only: refused where the gateway could read them")));
  scope.addEventListener("change", () => { forModels.hidden = scope.value === "admin"; });

  return form(
    [field("Name", name), field("What for", scope), forModels, field("Ends after days", days, "Never where it is empty.")],
    "Create the key", () => submit(...read()), cancel);
}

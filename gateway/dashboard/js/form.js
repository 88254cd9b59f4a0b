// Forms: fields with their labels, and an answer at the field that is wrong.

import { h } from "./dom.js";

let made = 0;

/** A labelled field; `hint` is read with it. */
export function field(label, input, hint) {
  made += 1;
  input.id = `field-${made}`;
  const help = hint ? h("p", { class: "hint", id: `${input.id}-hint` }, hint) : null;
  if (help) input.setAttribute("aria-describedby", help.id);
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, help);
}

export const text = (maxLength) => h("input", { type: "text", maxLength, autocomplete: "off", spellcheck: false });
export const digits = () => h("input", { type: "text", inputMode: "numeric", maxLength: 12, autocomplete: "off" });

/** Marks `input` as wrong and says why. */
export class Wrong extends Error {
  constructor(input, message) {
    super(message);
    this.input = input;
  }
}

/** The whole number that was typed, or undefined. */
export function whole(input, what) {
  const typed = input.value.trim();
  if (typed === "") return undefined;
  if (!/^[1-9][0-9]{0,9}$/.test(typed)) throw new Wrong(input, `${what}: a whole number above zero, or nothing.`);
  return Number(typed);
}

/** A form of `fields`. `submit` reads them and does what they say; what it throws is shown. */
export function form(fields, label, submit, cancel) {
  const error = h("p", { class: "error", role: "alert" });
  const go = h("button", { type: "submit", class: "primary" }, label);
  const submitted = async (event) => {
    event.preventDefault();
    error.textContent = "";
    for (const input of event.target.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    go.disabled = true;
    try {
      await submit();
    } catch (failure) {
      error.textContent = failure.message;
      if (failure instanceof Wrong) {
        failure.input.setAttribute("aria-invalid", "true");
        failure.input.focus();
      }
    }
    go.disabled = false;
  };
  return h("form", { class: "form", method: "post", noValidate: true, autocomplete: "off", onsubmit: submitted },
    fields, error,
    h("div", { class: "actions" }, go, h("button", { type: "button", onclick: cancel }, "Cancel")));
}

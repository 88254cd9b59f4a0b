// Dialogs: the browser's own, which keep the focus inside, close with Escape and give the focus back.

import { h } from "./dom.js";

let made = 0;

/** Opens a dialog with `content`; `closed` is called however it ends. What it showed leaves the page with it. */
export function dialog(title, content, closed = () => {}) {
  made += 1;
  const id = `dialog-${made}`;
  const heading = h("h2", { id, tabIndex: -1 }, title);
  const element = h("dialog", { "aria-labelledby": id });
  const close = h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => element.close() }, "✕");
  element.append(h("div", { class: "dialog-head" }, heading, close), h("div", { class: "dialog-body" }, content));
  element.addEventListener("close", () => {
    element.remove();
    closed();
  });
  document.body.append(element);
  element.showModal();
  heading.focus();
  return element;
}

/** Closes all, as when their user logs out. */
export function closeDialogs() {
  for (const element of document.querySelectorAll("dialog[open]")) element.close();
}

/** Asks before something that cannot be undone; `act` runs when it is confirmed, and its error is shown. */
export function confirm(title, text, label, act) {
  const error = h("p", { class: "error", role: "alert" });
  const yes = h("button", { type: "button", class: "danger" }, label);
  const element = dialog(title, [
    h("p", {}, text), error,
    h("div", { class: "actions" }, yes, h("button", { type: "button", onclick: () => element.close() }, "Cancel")),
  ]);
  yes.addEventListener("click", async () => {
    yes.disabled = true;
    error.textContent = "";
    try {
      await act();
      element.close();
    } catch (failure) {
      error.textContent = failure.message;
      yes.disabled = false;
      yes.focus();
    }
  });
}

// A panel: loading, content, nothing, or an error of its own. One that fails leaves the others alone.

import { byId, h } from "./dom.js";

export class Panel {
  #runs = 0;

  constructor(id) {
    this.section = byId(id);
    this.body = this.section.querySelector(".panel-body");
  }

  /** Empty, as before anybody logged in. */
  clear() {
    this.#runs += 1;
    this.body.replaceChildren();
    this.body.removeAttribute("aria-busy");
  }

  /**
   * Shows what `load` gives: nodes. While it runs, what was there stays; a first time shows that it loads. An answer
   * that was overtaken by a later call is dropped.
   */
  async show(load) {
    this.#runs += 1;
    const run = this.#runs;
    this.body.setAttribute("aria-busy", "true");
    if (!this.body.hasChildNodes()) this.body.append(loading());
    let content;
    try {
      content = await load();
    } catch (error) {
      content = failed(error, () => this.show(load));
    }
    if (run !== this.#runs) return;
    this.body.replaceChildren(...[content].flat().filter(Boolean));
    this.body.removeAttribute("aria-busy");
  }
}

function loading() {
  return h("div", { class: "loading" },
    h("span", { class: "visually-hidden" }, "Loading"),
    h("div", { class: "bone" }), h("div", { class: "bone short" }), h("div", { class: "bone" }));
}

function failed(error, again) {
  return h("div", { class: "message failed", role: "alert" },
    h("p", {}, error.message || "This could not be shown."),
    h("button", { type: "button", onclick: again }, "Try again"));
}

/** There is nothing to show, and that is no error. */
export const nothing = (...text) => h("p", { class: "message" }, ...text);

// Elements. Text gets into the page as text and in no other way: names of keys and models are other people's words.

/**
 * An element with these properties and children. A child is a node, or text; nothing where it is null.
 * `data-` and `aria-` names, `role`, `for`, `colspan` and `scope` are set as attributes.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (/^(aria-|data-|role$|for$|colspan$|scope$|datetime$)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Has a screen reader say `text`. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** A button that copies what `text()` gives and says so. */
export function copyButton(label, text) {
  const button = h("button", { type: "button" }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      // A page over plain HTTP has no clipboard.
      button.textContent = "Select it and copy by hand";
      announce("This browser does not let the page copy. Select the text and copy it by hand.");
    }
  });
  return button;
}

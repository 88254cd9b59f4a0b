// Dark or light: as the system says, until its user says otherwise. The choice, and nothing else, is remembered.

const NAME = "cocoon-theme";
const CHOICES = ["system", "light", "dark"];

function remembered() {
  try {
    const choice = localStorage.getItem(NAME);
    return CHOICES.includes(choice) ? choice : "system";
  } catch {
    // Storage may be forbidden.
    return "system";
  }
}

function apply(choice) {
  if (choice === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  window.dispatchEvent(new Event("themechange"));
}

apply(remembered());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  window.dispatchEvent(new Event("themechange"));
});

/** Ties the choice to the `select` that is there for it. */
export function bind(select) {
  select.value = remembered();
  select.addEventListener("change", () => {
    try {
      localStorage.setItem(NAME, select.value);
    } catch {
      // It then holds until the page is left.
    }
    apply(select.value);
  });
}

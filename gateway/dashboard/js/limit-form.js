// Fields for limits, and the dialog that changes those of an account or a project.

import { nano, parseTon, typedTon } from "./amounts.js";
import { dialog } from "./dialogs.js";
import { announce, h } from "./dom.js";
import { digits, field, form, whole, Wrong } from "./form.js";

const PERIODS = [["day", "a day"], ["week", "a week"], ["month", "a month"], ["total", "all time"]];

/** Fields that begin with `limits`; `read` gives what was typed, without what is not limited, or throws. */
export function limitFields(limits = {}) {
  const [rpm, tpm, concurrency] = [limits.rpm, limits.tpm, limits.concurrency].map((limit) => {
    const input = digits();
    input.value = limit ?? "";
    return input;
  });
  const amount = h("input", { type: "text", inputMode: "decimal", maxLength: 20, autocomplete: "off" });
  amount.value = limits.budget ? typedTon(nano(limits.budget.amount)) : "";
  const period = h("select", {}, PERIODS.map(([value, shown]) => h("option", { value }, shown)));
  period.value = limits.budget?.period ?? "month";
  return {
    fields: h("fieldset", {}, h("legend", {}, "Limits, each where it is not empty"),
      field("Requests a minute", rpm), field("Tokens a minute", tpm), field("Requests at once", concurrency),
      field("Budget in TON", amount), field("Budget for", period)),
    read() {
      const budget = parseTon(amount.value);
      if (amount.value.trim() !== "" && budget === null) {
        throw new Wrong(amount, "A budget is an amount of TON above zero, with at most nine decimals.");
      }
      return {
        rpm: whole(rpm, "Requests a minute"), tpm: whole(tpm, "Tokens a minute"), concurrency: whole(concurrency, "Requests at once"),
        budget: budget === null ? undefined : { amount: String(budget), period: period.value },
      };
    },
  };
}

/** Opens the form for the limits at one place of the API; `changed` is called once they are others. */
export function changeLimits(api, place, name, limits, changed) {
  const { fields, read } = limitFields(limits);
  const element = dialog(`Limits of ${name}`, form(
    [h("p", { class: "hint" }, "They count from the next request on. What was spent in a period stays spent under a new budget."), fields],
    "Set the limits",
    async () => {
      await api.post(place, read());
      element.close();
      announce(`The limits of ${name} are set`);
      changed();
    },
    () => element.close(),
  ));
}

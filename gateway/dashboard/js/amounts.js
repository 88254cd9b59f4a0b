// Amounts: nanoTON as BigInt, made of decimal strings. No floating point number is ever money here.

import { h } from "./dom.js";

const NANO_PER_TON = 1_000_000_000n;
const GROUP = "\u202f";

/** The amount that a decimal string says; throws where it is none. */
export function nano(text) {
  if (typeof text !== "string" || !/^-?[0-9]{1,30}$/.test(text)) throw new TypeError("not an amount of nanoTON");
  return BigInt(text);
}

/** Like `nano`, with zero for what is not there. */
export const nanoOrZero = (text) => (text === undefined || text === null ? 0n : nano(text));

/** `1 234.5` for 1234500000000 nanoTON: every digit there is, and no more. */
export function ton(amount) {
  const sign = amount < 0n ? "−" : "";
  const absolute = amount < 0n ? -amount : amount;
  const whole = String(absolute / NANO_PER_TON).replace(/\B(?=([0-9]{3})+$)/g, GROUP);
  const fraction = String(absolute % NANO_PER_TON).padStart(9, "0").replace(/0+$/, "");
  return `${sign}${whole}${fraction && "."}${fraction}`;
}

/** An amount as the page shows it, with the exact nanoTON beside. */
export function amount(value) {
  return h("data", { class: "amount", value: String(value), title: `${value} nanoTON` }, `${ton(value)} TON`);
}

/** The same as somebody would type it. */
export const typedTon = (amount) => ton(amount).replaceAll(GROUP, "");

/** nanoTON of `12.5` that somebody typed as TON; null where it is not an amount above zero. */
export function parseTon(text) {
  const parts = /^([0-9]{1,9})(?:[.,]([0-9]{1,9}))?$/.exec(text.trim());
  if (!parts) return null;
  const value = BigInt(parts[1]) * NANO_PER_TON + BigInt((parts[2] ?? "").padEnd(9, "0"));
  return value > 0n ? value : null;
}

/** TON as a floating point number: for the height of a bar, and nothing else. */
export const tonForDrawing = (value) => Number(value) / 1e9;

/** A count with its digits in groups. */
export function count(value) {
  if (!Number.isSafeInteger(value)) return "too many to show";
  return String(value).replace(/\B(?=([0-9]{3})+$)/g, GROUP);
}

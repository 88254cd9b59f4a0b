// Times in the reader's own zone, with UTC beside: accounts are kept in UTC.

import { h } from "./dom.js";

const LOCAL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const UTC = new Intl.DateTimeFormat("en-GB", {
  timeZone: "UTC", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
});
const UTC_DAY = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });
const UTC_SHORT_DAY = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short" });
const LOCAL_HOUR = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export const HOUR = 3600;
export const DAY = 86_400;

/** Seconds since 1970, now. */
export const now = () => Math.floor(Date.now() / 1000);

/** A moment, `seconds` since 1970. */
export function time(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return h("span", {}, "unknown");
  return h("time", { datetime: date.toISOString() },
    LOCAL.format(date), " ", h("span", { class: "utc" }, `${UTC.format(date)} UTC`));
}

/** A day of the accounts, which begins at 0:00 UTC. */
export const utcDay = (seconds) => UTC_DAY.format(seconds * 1000);
export const utcShortDay = (seconds) => UTC_SHORT_DAY.format(seconds * 1000);
/** An hour in the reader's zone. */
export const localHour = (seconds) => LOCAL_HOUR.format(seconds * 1000);
/** An hour in both. */
export const hourInBoth = (seconds) => `${LOCAL.format(seconds * 1000)} (${UTC.format(seconds * 1000)} UTC)`;

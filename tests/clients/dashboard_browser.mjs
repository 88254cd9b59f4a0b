// A browser for the dashboard that notices what must not happen: a policy violation, an error on the console, a request to
// another origin, a key in storage or in an address.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import { chromium } from "playwright-core";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
export const ORIGIN = process.env.COCOON_ORIGIN;
const SCREENSHOTS = process.env.COCOON_SCREENSHOTS;

export const SCREENS = {
  desktop: { viewport: { width: 1280, height: 900 } },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true },
  "phone-dark": { viewport: { width: 390, height: 844 }, colorScheme: "dark" },
  narrow: { viewport: { width: 320, height: 640 }, reducedMotion: "reduce" },
};

export async function launch() {
  return await chromium.launch({ executablePath: process.env.COCOON_TEST_CHROMIUM, args: ["--disable-dev-shm-usage"] });
}

/** A tab of its own, at the dashboard. `answers(route)` stands in for the API where it is given. */
export async function open(browser, { answers, secrets = [], allowed = [], ...settings } = {}) {
  const context = await browser.newContext({ timezoneId: "Europe/Berlin", locale: "en-GB", ...settings });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => {
    // The browser itself reports every answer that is an error; those that a test asked for are none.
    const expected = /^Failed to load resource/.test(message.text()) && allowed.some((part) => message.location().url.includes(part));
    if (["error", "warning"].includes(message.type()) && !expected) wrong.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${ORIGIN}/`) && !url.startsWith("data:")) wrong.push(`request to ${url}`);
    if (secrets.some((secret) => url.includes(secret))) wrong.push(`a key in an address: ${url}`);
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
    });
  });
  if (answers) await page.route((url) => url.pathname.startsWith("/v1/"), answers);
  await page.goto(`${ORIGIN}/dashboard`);
  return { page, context, wrong };
}

export async function logIn(page, key, account = null) {
  await page.getByLabel("API key or admin key").fill(key);
  if (account !== null) {
    await page.getByText("I hold an operator key").click();
    await page.getByLabel("Account to look at").fill(account);
  }
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Account", exact: true }).waitFor();
  await settled(page);
}

/** No panel loads any more. */
export async function settled(page) {
  await page.waitForFunction(() => !document.querySelector('[aria-busy="true"]'));
  // A chart is drawn in the frame after.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

/** What the page says of the newest request's receipt, once it has loaded everything anew. */
export async function receiptVerdict(page) {
  await page.getByRole("button", { name: "Refresh" }).click();
  await settled(page);
  await page.getByRole("button", { name: /^Check the receipt/ }).first().click();
  await settled(page);
  const said = await page.getByRole("dialog").innerText();
  await page.keyboard.press("Escape");
  await closed(page);
  return said.replace(/^Receipt\s*✕\s*/, "");
}

/** Presses Tab until `target` has the focus. */
export async function reach(page, target) {
  for (let presses = 0; presses < 120; presses += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`${target} cannot be reached by keyboard`);
}

/** Waits until no dialog is left, and what its end has loaded anew: a dialog tells of its end in a turn of its own. */
export async function closed(page) {
  await page.waitForFunction(() => !document.querySelector("dialog"));
  await settled(page);
}

/**
 * Waits until more pixels of the chart than so many are not empty, as it is drawn when the browser gets to it, and gives a sum
 * over its picture. That is read from a copy: the browser warns of a canvas that is read more than once.
 */
export async function drawn(page, least) {
  const sum = await page.waitForFunction((least) => {
    const canvas = document.querySelector(".chart canvas");
    if (!canvas) return null;
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    let drawn = 0;
    for (let at = 3; at < data.length; at += 4) if (data[at] > 0) drawn += 1;
    return drawn > least ? data.reduce((sum, value) => sum + value, 0) : null;
  }, least, { timeout: 10_000 });
  return await sum.jsonValue();
}

/** Whether anything lies beyond the right edge of the window. */
export async function overflows(page) {
  return await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
}

/** What axe-core finds that is serious or critical. */
export async function inaccessible(page) {
  // Through the debugger, which the page's policy does not bind.
  const source = await import("node:fs/promises").then(({ readFile }) => readFile(AXE, "utf8"));
  await page.evaluate(source);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).slice(0, 4).join(" | ")}`);
}

/** All that went wrong in this tab, and where its secrets are left. */
export async function faults({ page, context, wrong }, secrets) {
  const violations = await page.evaluate(() => window.violations);
  const storage = JSON.stringify([
    await context.storageState({ indexedDB: true }),
    await page.evaluate(() => ({ ...sessionStorage, ...localStorage })),
  ]);
  const markup = await page.evaluate(() => document.documentElement.outerHTML
    + [...document.querySelectorAll("input, textarea")].map((input) => input.value).join(" "));
  return [
    ...wrong, ...violations.map((violation) => `policy: ${violation}`),
    ...secrets.filter((secret) => storage.includes(secret)).map(() => "a key in storage"),
    ...secrets.filter((secret) => markup.includes(secret)).map(() => "a key left in the page"),
  ];
}

/** Keeps a picture of the whole page where `COCOON_SCREENSHOTS` names a folder. */
export async function picture(page, name) {
  if (!SCREENSHOTS) return;
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
}

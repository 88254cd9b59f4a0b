// The dashboard on a real gateway, backend and ledger: the page says what the API says, to the nano, and what is done on it
// is done.

import assert from "node:assert/strict";

import { closed, drawn, faults, inaccessible, launch, logIn, open, ORIGIN, overflows, picture, reach, receiptVerdict, SCREENS, settled } from "./dashboard_browser.mjs";
import { tampered } from "./dashboard_fixture.mjs";

const { COCOON_API_KEY: KEY, COCOON_ADMIN_KEY: ADMIN, COCOON_MODEL: MODEL } = process.env;
/** What the ledger itself says. */
const LEDGER = JSON.parse(process.env.COCOON_LEDGER);
const DAY = 86_400;

const panel = (page, name) => page.getByRole("region", { name, exact: true });
const sum = (values) => values.reduce((all, value) => all + BigInt(value), 0n);

async function ask(method, path, { key = ADMIN, body } = {}) {
  const response = await fetch(`${ORIGIN}${path}`, {
    method, headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return { status: response.status, answer: await response.json() };
}

async function get(path, key) {
  const { status, answer } = await ask("GET", path, { key });
  assert.equal(status, 200, `${path}: ${JSON.stringify(answer)}`);
  return answer;
}

/** The status and code of a small chat. */
async function chat(key) {
  const body = { model: MODEL, messages: [{ role: "user", content: "hi" }], max_tokens: 4 };
  const { status, answer } = await ask("POST", "/v1/chat/completions", { key, body });
  return [status, answer.error?.code ?? null];
}

/** A panel's `data` elements under a heading or a term. */
const amountOf = (page, term) => page.locator("dl > div", { has: page.locator("dt", { hasText: new RegExp(`^${term}$`) }) }).locator("data").first().getAttribute("value");

/** The table of spending: what was paid in each bucket that has something, by series. */
async function spent(page) {
  const details = panel(page, "Spending").locator("details");
  await details.evaluate((element) => { element.open = true; });
  return await details.evaluate((element) => {
    const [, ...names] = [...element.querySelectorAll("thead th")].map((cell) => cell.textContent);
    const rows = [...element.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("data")].map(({ value }) => value));
    const sums = rows.pop();
    return names.map((name, column) => ({ name, values: rows.map((row) => row[column]).filter((value) => value !== "0"), sum: sums[column] }));
  });
}

/** The same out of OpenAI's usage. */
async function used(width, start, group, limit) {
  const query = new URLSearchParams({ start_time: start, bucket_width: width, limit });
  query.append("group_by[]", group);
  const { data, has_more: more } = await get(`/v1/organization/usage/completions?${query}`);
  assert.equal(more, false);
  const found = {};
  for (const { results } of data.reverse()) {
    for (const result of results) (found[result[group]] ??= []).push(result.cost);
  }
  return found;
}

const steps = {
  async a_keys_holder_sees_what_the_key_may(page) {
    await logIn(page, KEY);
    assert.equal(await amountOf(page, "Balance"), LEDGER.balance);
    assert.equal(await amountOf(page, "Available"), LEDGER.balance);
    assert.equal(await amountOf(page, "Held"), "0");
    assert.equal(await amountOf(page, "Charged"), LEDGER.charged);
    assert.equal(await panel(page, "Keys").count(), 0);
    assert.equal(await panel(page, "Key and limits").getByRole("button").count(), 0);
    const own = await get("/v1/requests", KEY);
    assert.equal(await panel(page, "Recent requests").locator("tbody tr").count(), own.data.length);
    assert.equal(await amountOf(page, "Spent today"), String(sum(own.data.map(({ cost }) => cost))));
    assert.ok(own.data.length < LEDGER.requests, "those of another key are not among them");
    await page.getByRole("button", { name: "Log out" }).click();
    await logIn(page, ADMIN);
  },

  async the_balance_is_the_ledgers(page) {
    assert.equal(await amountOf(page, "Balance"), LEDGER.balance);
    assert.equal(await amountOf(page, "Charged"), LEDGER.charged);
    assert.equal(await amountOf(page, "Spent in 24 hours"), LEDGER.charged);
    assert.equal(await amountOf(page, "Spent today"), LEDGER.charged);
    assert.equal(await amountOf(page, "Spent in all"), LEDGER.charged);
  },

  async chart_and_table_are_openais_usage(page) {
    const now = Math.floor(Date.now() / 1000);
    const [today, hour] = [now - (now % DAY), now - (now % 3600)];
    for (const [range, width, start, limit] of [
      ["Last 7 days", "1d", today - 6 * DAY, 7], ["Last 30 days", "1d", today - 29 * DAY, 30], ["Last 24 hours", "1h", hour - 23 * 3600, 24],
    ]) {
      for (const [by, group] of [["Model", "model"], ["Key", "api_key_id"]]) {
        await page.getByLabel("Time", { exact: true }).selectOption(range);
        await page.getByLabel("By", { exact: true }).selectOption(by);
        await settled(page);
        const [shown, expected] = [await spent(page), await used(width, start, group, limit)];
        const all = shown.pop();
        assert.deepEqual([all.name, all.sum], ["In all", LEDGER.charged], `${range} by ${by}`);
        assert.equal(shown.length, Object.keys(expected).length);
        for (const [id, values] of Object.entries(expected)) {
          const series = shown.find(({ name }) => name === id || name.endsWith(`(…${id.slice(-6)})`));
          assert.deepEqual(series?.values, values, `${range} by ${by}: ${id}`);
          assert.equal(series.sum, String(sum(values)));
        }
        await drawn(page, 1000);
      }
    }
  },

  async requests_are_listed_with_what_they_cost(page) {
    const rows = panel(page, "Recent requests").locator("tbody tr");
    const { data } = await get("/v1/requests?limit=100");
    assert.equal(data.length, LEDGER.requests);
    assert.equal(await rows.count(), data.length);
    const shown = await rows.locator("data").evaluateAll((all) => all.map(({ value }) => value));
    assert.deepEqual(shown, data.map(({ cost }) => cost));
    assert.equal(String(sum(shown)), LEDGER.charged);
    for (const [index, request] of data.entries()) {
      const row = await rows.nth(index).innerText();
      assert.ok(row.includes(request.privacy === "sealed" ? "Sealed" : "Gateway") && row.includes(request.finish), row);
    }
    assert.deepEqual([...new Set(data.map(({ privacy }) => privacy))].sort(), ["gateway", "sealed"]);
  },

  async every_receipt_verifies_and_no_forged_one(page) {
    for (const button of await page.getByRole("button", { name: /^Check the receipt/ }).all()) {
      await button.click();
      await settled(page);
      const said = await page.getByRole("dialog").innerText();
      assert.match(said, /✓ The signature verifies[^]*Not proven here[^]*development evidence/);
      await page.keyboard.press("Escape");
      await closed(page);
    }
    for (const [forge, why] of [
      [(request) => ({ receipt: tampered(request.receipt) }), "signature does not verify"],
      [(request) => ({ cost: String(BigInt(request.cost) + 1n) }), "The gateway charged"],
      [(request) => ({ usage: { ...request.usage, completion: request.usage.completion + 1 } }), "another number of completion tokens"],
    ]) {
      await page.route((url) => url.pathname === "/v1/requests", async (route) => {
        const response = await route.fetch();
        const list = await response.json();
        Object.assign(list.data[0], forge(list.data[0]));
        await route.fulfill({ response, json: list });
      });
      const said = await receiptVerdict(page);
      assert.ok(said.startsWith("✗") && said.includes(why), said);
      await page.unrouteAll({ behavior: "wait" });
    }
    assert.match(await receiptVerdict(page), /^✓/);
  },

  async a_key_is_made_used_rotated_and_revoked(page, secrets) {
    await page.getByRole("button", { name: "Create a key" }).click();
    await page.getByLabel("Name", { exact: true }).fill("Night job");
    await page.getByLabel("Project", { exact: true }).last().fill("night");
    await page.getByLabel("Requests a minute").fill("2");
    await page.getByRole("button", { name: "Create the key" }).click();
    const made = await newKey(page, secrets);
    const row = panel(page, "Keys").locator("tbody tr", { hasText: "Night job" });
    assert.match(await row.innerText(), /night[^]*2 requests\/min[^]*Good/);
    assert.deepEqual([await chat(made), await chat(made), await chat(made)], [[200, null], [200, null], [429, "rate_limit_exceeded"]]);
    await row.getByRole("button", { name: "Rotate Night job" }).click();
    await page.getByRole("button", { name: "Make the new key" }).click();
    const successor = await newKey(page, secrets);
    assert.equal((await chat(successor))[0], 200);
    await row.first().getByRole("button", { name: "Revoke Night job" }).click();
    await page.getByRole("button", { name: "Revoke the key" }).click();
    await closed(page);
    assert.match(await row.first().innerText(), /Revoked/);
    assert.deepEqual(await chat(successor), [401, "invalid_api_key"]);
    assert.equal((await ask("GET", "/v1/models", { key: successor })).status, 401);
    assert.match(await row.last().innerText(), /Works until/);
  },

  async limits_are_changed_by_keyboard(page) {
    const { keyboard } = page;
    const change = page.getByRole("button", { name: "Change the limits of the account" });
    await reach(page, change);
    await keyboard.press("Enter");
    await reach(page, page.getByLabel("Budget in TON"));
    await keyboard.type("0.000000001");
    await keyboard.press("Enter");
    await closed(page);
    assert.ok(await change.evaluate((button) => button === document.activeElement), "the focus is where it was");
    const set = await get("/v1/organization/limits");
    assert.deepEqual([set.rpm, set.budget], [null, { amount: "1", period: "month" }]);
    assert.deepEqual(await chat(KEY), [429, "budget_exceeded"]);
    assert.match(await panel(page, "Key and limits").innerText(), /0\.000000001 TON a month[^]*spent, 0 TON left until/);
    await keyboard.press("Enter");
    await reach(page, page.getByLabel("Budget in TON"));
    assert.equal(await page.getByLabel("Budget in TON").inputValue(), "0.000000001");
    await keyboard.press("Control+A");
    await keyboard.press("Delete");
    await keyboard.press("Enter");
    await closed(page);
    assert.equal((await get("/v1/organization/limits")).budget, null);
    assert.equal((await chat(KEY))[0], 200);
  },

  async a_projects_limits_are_changed(page) {
    const project = panel(page, "Key and limits").getByLabel("Project", { exact: true });
    await project.selectOption("night");
    await settled(page);
    assert.ok(await project.evaluate((select) => select === document.activeElement && select.value === "night"));
    await page.getByRole("button", { name: "Change the limits of project night" }).click();
    await page.getByLabel("Tokens a minute").fill("12345");
    await page.getByRole("button", { name: "Set the limits" }).click();
    await closed(page);
    assert.equal((await get("/v1/organization/projects/night/limits")).tpm, 12_345);
    assert.match(await panel(page, "Key and limits").innerText(), /Project[^]*12\u202f345, 12\u202f345 left now/);
    assert.equal((await get("/v1/organization/limits")).tpm, null);
  },
};

/** A new key's text, once its dialog was closed. */
async function newKey(page, secrets) {
  await page.getByRole("heading", { name: "Your new key" }).waitFor();
  const made = await page.getByLabel("The key").inputValue();
  assert.match(made, /^sk-cocoon-/);
  secrets.push(made);
  await page.getByRole("button", { name: "I have kept it" }).click();
  await closed(page);
  return made;
}

const browser = await launch();
const passed = [];
try {
  const secrets = [KEY, ADMIN];
  const opened = await open(browser, { secrets, ...SCREENS.desktop });
  for (const [name, step] of Object.entries(steps)) {
    await step(opened.page, secrets).catch((error) => { throw new Error(`${name}: ${error.stack}`); });
    passed.push(name);
  }
  assert.deepEqual(await faults(opened, secrets), []);
  await opened.context.close();
  for (const [screen, settings] of Object.entries(SCREENS)) {
    const opened = await open(browser, { secrets, ...settings });
    await logIn(opened.page, ADMIN);
    assert.equal(await overflows(opened.page), false, `${screen}: nothing lies beyond the edge`);
    assert.deepEqual(await inaccessible(opened.page), [], screen);
    await picture(opened.page, `real-${screen}`);
    await opened.page.getByRole("button", { name: "Change the limits of the account" }).click();
    assert.equal(await overflows(opened.page), false, `${screen}: the form`);
    assert.deepEqual(await inaccessible(opened.page), [], `${screen}: the form`);
    await picture(opened.page, `real-${screen}-limits`);
    assert.deepEqual(await faults(opened, secrets), [], screen);
    await opened.context.close();
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify({ passed }));

// The dashboard in every state that a FIXTURE can put its API in: see `dashboard_fixture.mjs`. The page and its headers are
// the gateway's own.

import assert from "node:assert/strict";

import jsQR from "jsqr";
import { PNG } from "pngjs";

import { closed, drawn, faults, inaccessible, launch, logIn, open, overflows, picture, reach, receiptVerdict, SCREENS, settled } from "./dashboard_browser.mjs";
import { fixture, HOSTILE, KEY, LIMITS, NO_LIMITS, refusal } from "./dashboard_fixture.mjs";

const panel = (page, name) => page.getByRole("region", { name, exact: true });
const nanoOf = (locator) => locator.evaluateAll((all) => all.map((element) => element.value));

/** Runs `act` with a tab whose API is the fixture, and has nothing go wrong in it. */
async function tab(browser, { change = {}, allowed = [], screen = "desktop", loggedIn = true }, act) {
  const api = fixture(change);
  const opened = await open(browser, { answers: (route) => api.answer(route), secrets: [KEY], allowed, ...SCREENS[screen] });
  try {
    if (loggedIn) await logIn(opened.page, KEY);
    await act(opened.page, api, opened);
    assert.deepEqual(await faults(opened, [KEY]), []);
  } finally {
    await opened.context.close();
  }
}

const states = {
  async every_screen_is_whole_and_accessible(browser) {
    for (const screen of Object.keys(SCREENS)) {
      await tab(browser, { screen, loggedIn: false }, async (page) => {
        await picture(page, `${screen}-login`);
        assert.deepEqual(await inaccessible(page), [], screen);
        await logIn(page, KEY);
        await drawn(page, 5000);
        assert.equal(await overflows(page), false, `${screen}: nothing lies beyond the edge`);
        await page.getByText("The same numbers as a table").click();
        await picture(page, screen);
        assert.deepEqual(await inaccessible(page), [], screen);
        await page.getByRole("button", { name: "Create a key" }).click();
        assert.deepEqual(await inaccessible(page), [], `${screen}: the form`);
        assert.equal(await overflows(page), false, `${screen}: the form`);
        await page.keyboard.press("Escape");
        await closed(page);
        await page.getByRole("button", { name: /^Check the receipt/ }).first().click();
        await settled(page);
        assert.deepEqual(await inaccessible(page), [], `${screen}: a receipt`);
        await picture(page, `${screen}-receipt`);
      });
    }
  },

  async names_are_text_and_never_markup(browser) {
    await tab(browser, {}, async (page) => {
      assert.equal(await page.title(), "Account · Cocoon Gateway");
      assert.equal(await page.locator("main img, main script").count(), 0);
      for (const name of ["Spending", "Recent requests", "Keys"]) {
        assert.ok((await panel(page, name).innerText()).includes(HOSTILE), name);
      }
    });
  },

  async amounts_are_exact_beyond_what_a_float_holds(browser) {
    const data = { balance: "123456789012345678901", held: "1", available: "123456789012345678900", charged: "9007199254740993" };
    await tab(browser, { change: { "/v1/credits": () => ({ data }) } }, async (page) => {
      const balance = panel(page, "Balance");
      const narrow = (await balance.innerText()).replaceAll("\u202f", "");
      assert.ok(narrow.includes("123456789012.345678901 TON"), narrow);
      assert.ok(narrow.includes("0.000000001 TON"), narrow);
      await page.getByText("Since the account began").click();
      assert.ok((await balance.innerText()).replaceAll("\u202f", "").includes("9007199.254740993 TON"));
      assert.ok((await nanoOf(balance.locator("data"))).includes("123456789012345678901"));
    });
  },

  async chart_and_table_say_what_the_api_said(browser) {
    await tab(browser, {}, async (page, api) => {
      const spending = panel(page, "Spending");
      for (const [range, by, width, rows, group] of [
        ["Last 7 days", "Model", "1d", 7, "line_item"], ["Last 30 days", "Key", "1d", 30, "api_key_id"], ["Last 24 hours", "Model", "1h", 24, "model"],
      ]) {
        await page.getByLabel("Time", { exact: true }).selectOption(range);
        await page.getByLabel("By", { exact: true }).selectOption(by);
        await settled(page);
        const query = new URLSearchParams(api.asked.filter(({ path }) => /costs$|usage/.test(path)).at(-1).query);
        assert.deepEqual([query.get("bucket_width"), query.get("group_by[]")], [width, group]);
        await page.getByText("The same numbers as a table").click();
        assert.equal(await spending.getByRole("row").count(), rows + 2, "a head, a row each, a sum");
        const cells = await spending.locator("tbody tr").evaluateAll((lines) =>
          lines.map((line) => [...line.querySelectorAll("data")].map((element) => element.value)));
        const values = cells.map((line) => line.map(BigInt));
        for (const line of values) assert.equal(line.slice(0, -1).reduce((sum, value) => sum + value, 0n), line.at(-1));
        const sums = values[0].map((_, column) => values.slice(0, -1).reduce((sum, line) => sum + line[column], 0n));
        assert.deepEqual(sums, values.at(-1));
        assert.ok(sums.at(-1) > 0n);
        await drawn(page, 5000);
      }
    });
  },

  async an_answer_that_was_overtaken_changes_nothing(browser) {
    const path = "/v1/organization/costs";
    const real = fixture();
    let holding = false;
    let release;
    const released = new Promise((done) => { release = done; });
    const byModel = (url) => new URL(url).searchParams.get("group_by[]") === "line_item";
    const costs = async (url) => {
      if (holding && byModel(url)) await released;
      return real.plain(path, url);
    };
    await tab(browser, { change: { [path]: costs } }, async (page) => {
      await drawn(page, 5000);
      holding = true;
      const late = page.waitForResponse((response) => byModel(response.url()));
      await page.getByLabel("Time", { exact: true }).selectOption("Last 30 days");
      await page.getByLabel("By", { exact: true }).selectOption("Key");
      await settled(page);
      const bars = await drawn(page, 5000);
      release();
      await (await late).finished();
      await settled(page);
      assert.equal(await panel(page, "Spending").getByRole("table", { includeHidden: true }).locator("caption").textContent(), "Spending by key");
      assert.equal(await drawn(page, 5000), bars, "the chart is the one of before");
    });
  },

  async receipts_are_checked_and_forgeries_refused(browser) {
    let document = "as it is";
    const other = fixture().backend;
    await tab(browser, { allowed: ["/v1/attestation/"] }, async (page, api) => {
      const [first, second] = api.requests;
      const [head, body, signature] = first.receipt.split(".");
      const claims = (receipt) => JSON.parse(Buffer.from(receipt.split(".")[1], "base64url"));
      const none = Buffer.from('{"typ":"cocoon-receipt+jwt","alg":"none"}').toString("base64url");
      const { iss, ...rest } = claims(first.receipt);
      const cases = [
        [{}, "✓", ""],
        [second, "✗", "signature does not verify"],
        [{ receipt: `${head}.${body}.${signature.slice(0, -4)}AAAA` }, "✗", ""],
        [{ receipt: `${none}.${body}.` }, "✗", "not that of a receipt"],
        [{ receipt: `${head}.${body}` }, "✗", "three parts"],
        [{ receipt: other.receipt({ ...rest, iss }) }, "✗", "another key"],
        [{ receipt: api.backend.receipt({ ...rest, final: false }) }, "✗", "not final"],
        [{ receipt: api.backend.receipt({ ...rest, cost: "1" }), cost: "1" }, "✗", "not what its tokens cost"],
        [{ cost: "9881" }, "✗", "charged 9881 nanoTON"],
        [{ cost: "9" }, "✓", "as the account had no more"],
        [{ usage: { ...first.usage, prompt: first.usage.prompt - 1 } }, "✗", "another number of prompt tokens"],
        [{ model: "larger-model" }, "✗", "another model"],
        [{ finish: "length " }, "✗", "another way to end"],
      ];
      for (const [change, sign, why] of cases) {
        const said = await verdictOf(page, api, { ...first, ...change });
        assert.ok(said.startsWith(sign) && said.includes(why), `${JSON.stringify(change).slice(0, 90)}: ${said}`);
      }
      document = api.backend.document;
      api.backend.document = { ...document, keyset: other.document.keyset };
      assert.match(await verdictOf(page, api, first), /^✗[^]*not the one that the receipt names/);
      api.backend.document = refusal(503, "The store is down.");
      assert.match(await verdictOf(page, api, first), /^\?[^]*could not be fetched: The store is down\./);
      api.backend.document = document;
      const good = await verdictOf(page, api, first);
      assert.match(good, /Proven in this browser/);
      assert.match(good, /Not proven here[^]*development evidence[^]*cocoon-connect verify/);
    });
  },

  async one_panel_that_fails_fails_alone(browser) {
    let answer = refusal(503, "The ledger cannot be reached.");
    const real = fixture();
    for (const [path, name] of [["/v1/requests", "Recent requests"], ["/v1/organization/projects/research/limits", "Key and limits"], ["/v1/organization/admin_api_keys", "Keys"], ["/v1/organization/costs", "Spending"], ["/v1/organization/usage/embeddings", "Balance"]]) {
      answer = refusal(503, "The ledger cannot be reached.");
      let failing = true;
      const change = { [path]: (url) => (failing ? answer : real.plain(path, url)) };
      await tab(browser, { change, allowed: [path] }, async (page) => {
        const failed = panel(page, name);
        await failed.getByText("The ledger cannot be reached.").first().waitFor();
        assert.ok((await panel(page, "Balance").innerText()).includes("12.345678901 TON"), "the balance is there");
        if (name === "Balance") return;
        failing = false;
        await failed.getByRole("button", { name: "Try again" }).click();
        await settled(page);
        assert.ok(!(await failed.innerText()).includes("cannot be reached"), `${name} came back`);
      });
    }
  },

  async an_empty_account_is_told_so(browser) {
    const empty = () => ({ object: "list", data: [], has_more: false, last_id: null });
    const change = {
      "/v1/credits": () => ({ data: { balance: "0", held: "0", available: "0" } }),
      "/v1/organization/costs": () => ({ object: "page", data: [], has_more: false, next_page: null }),
      "/v1/organization/usage/completions": () => ({ object: "page", data: [], has_more: false, next_page: null }),
      "/v1/requests": empty, "/v1/organization/projects": empty, "/v1/organization/admin_api_keys": empty, "/v1/organization/projects/default/api_keys": empty,
    };
    await tab(browser, { change, screen: "phone" }, async (page) => {
      for (const [name, text] of [
        ["Balance", "nothing was spent in 7 days"], ["Spending", "Nothing was spent in this time."], ["Recent requests", "No requests yet."],
        ["Keys", "No keys yet."], ["Top up", "no address for deposits yet"],
      ]) assert.ok((await panel(page, name).innerText()).includes(text), name);
      await picture(page, "phone-empty");
    });
  },

  async only_a_wallet_and_a_page_over_https_are_linked_to(browser) {
    for (const topup of [{ address: "EQ", comment: "c", link: "javascript:alert(1)" }, { address: "EQ" }, { url: "javascript:alert(1)" }, { url: "http://pay.test" }]) {
      const data = { balance: "0", held: "0", available: "0", topup };
      await tab(browser, { change: { "/v1/credits": () => ({ data }) } }, async (page) => {
        assert.equal(await panel(page, "Top up").getByRole("link").count(), 0);
        assert.ok(!(await panel(page, "Top up").innerText()).includes("null"));
      });
    }
    const data = { balance: "0", held: "0", available: "0", topup: { url: "https://pay.test/in" } };
    await tab(browser, { change: { "/v1/credits": () => ({ data }) } }, async (page) => {
      const link = panel(page, "Top up").getByRole("link");
      assert.deepEqual([await link.getAttribute("href"), await link.getAttribute("rel")], ["https://pay.test/in", "noopener noreferrer"]);
    });
    await tab(browser, {}, async (page) => {
      assert.match(await panel(page, "Top up").getByRole("link").getAttribute("href"), /^ton:\/\/transfer\//);
    });
  },

  async a_phone_reads_the_same_transfer_from_the_code(browser) {
    for (const screen of ["desktop", "phone"]) {
      await tab(browser, { screen }, async (page) => {
        const link = await panel(page, "Top up").getByRole("link").getAttribute("href");
        const picture = PNG.sync.read(await panel(page, "Top up").getByRole("img").screenshot({ scale: "css" }));
        const read = jsQR(new Uint8ClampedArray(picture.data), picture.width, picture.height);
        assert.equal(read?.data, link, screen);
      });
    }
  },

  async while_it_loads_it_says_so_and_nothing_moves(browser) {
    await tab(browser, { loggedIn: false }, async (page) => {
      await page.evaluate(() => {
        window.shifts = 0;
        new PerformanceObserver((list) => { for (const entry of list.getEntries()) window.shifts += entry.value; }).observe({ type: "layout-shift", buffered: true });
      });
      await logIn(page, KEY);
      const shifts = await page.evaluate(() => window.shifts);
      // What web.dev calls good is below 0.1.
      assert.ok(shifts < 0.1, `the layout shifted by ${shifts}`);
    });
    await tab(browser, { change: { "/v1/requests": () => "never" }, loggedIn: false }, async (page) => {
      await page.getByLabel("API key or admin key").fill(KEY);
      await page.getByRole("button", { name: "Log in" }).click();
      const body = panel(page, "Recent requests").locator(".panel-body");
      await body.getByText("Loading").waitFor({ state: "attached" });
      assert.equal(await body.getAttribute("aria-busy"), "true");
      await panel(page, "Balance").getByText("12.345678901 TON").waitFor();
    });
  },

  async motion_is_reduced_where_that_is_asked(browser) {
    for (const [screen, moves] of [["desktop", true], ["narrow", false]]) {
      await tab(browser, { change: { "/v1/requests": () => "never" }, screen, loggedIn: false }, async (page) => {
        await page.getByLabel("API key or admin key").fill(KEY);
        await page.getByRole("button", { name: "Log in" }).click();
        const bone = panel(page, "Recent requests").locator(".bone").first();
        await bone.waitFor();
        assert.equal(await bone.evaluate((element) => element.getAnimations().length > 0), moves);
      });
    }
  },

  async a_key_that_may_not_see_keys_sees_no_panel_for_them(browser) {
    const limits = [{ of: "key", id: "key_09", ...NO_LIMITS }, { of: "account", id: "alice", ...LIMITS }];
    const data = { ...fixture().plain("/v1/key").data, scope: "inference", limits };
    await tab(browser, { change: { "/v1/key": () => ({ data }) } }, async (page, api) => {
      assert.ok(!api.asked.some(({ path }) => /limits$|projects|api_keys/.test(path)), "nor is anything asked that would be refused");
      assert.equal(await panel(page, "Keys").count(), 0);
      assert.match(await panel(page, "Key and limits").innerText(), /No limits of its own[^]*The account[^]*600, 588 left now/);
      assert.equal(await panel(page, "Key and limits").getByRole("button").count(), 0);
      assert.ok((await panel(page, "Recent requests").innerText()).includes("smollm2"));
    });
  },

  async keys_are_made_rotated_and_revoked_by_keyboard(browser) {
    await tab(browser, { loggedIn: false }, async (page, api, { wrong }) => {
      const { keyboard } = page;
      await reach(page, page.getByLabel("API key or admin key"));
      await keyboard.type(KEY);
      await keyboard.press("Enter");
      await page.getByRole("heading", { name: "Account", exact: true }).waitFor();
      await settled(page);
      const create = page.getByRole("button", { name: "Create a key" });
      await reach(page, create);
      await keyboard.press("Enter");
      await reach(page, page.getByLabel("Budget in TON"));
      await keyboard.type("0");
      await keyboard.press("Enter");
      await page.getByText("Give the key a name.").waitFor();
      assert.ok(await page.getByLabel("Name", { exact: true }).evaluate((input) => input === document.activeElement), "the wrong field has the focus");
      await keyboard.type("Night job");
      await keyboard.press("Enter");
      await page.getByText("A budget is an amount of TON above zero").waitFor();
      await keyboard.press("Control+A");
      await keyboard.type("2.5");
      await keyboard.press("Enter");
      await page.getByRole("heading", { name: "Your new key" }).waitFor();
      const made = await page.getByLabel("The key").inputValue();
      const { body } = api.asked.find(({ method }) => method === "POST");
      assert.deepEqual(JSON.parse(body), { name: "Night job", budget: { amount: "2500000000", period: "month" } });
      await keyboard.press("Escape");
      await closed(page);
      assert.ok(!(await page.content()).includes(made), "a new key is shown once");
      assert.ok(await create.evaluate((button) => button === document.activeElement), "the focus is where it was");
      await reach(page, page.getByRole("button", { name: "Revoke Production" }));
      await keyboard.press("Enter");
      await reach(page, page.getByRole("button", { name: "Revoke the key" }));
      await keyboard.press("Enter");
      await closed(page);
      assert.match(await panel(page, "Keys").innerText(), /Revoked/);
      assert.ok(api.asked.some(({ method, path }) => method === "DELETE" && path === "/v1/organization/projects/default/api_keys/key_01"));
      assert.equal(await page.getByRole("button", { name: "Revoke Production" }).count(), 0);
      await reach(page, page.getByRole("button", { name: "Rotate Administrator" }));
      await keyboard.press("Enter");
      await reach(page, page.getByRole("button", { name: "Make the new key" }));
      await keyboard.press("Enter");
      await page.getByRole("heading", { name: "Your new key" }).waitFor();
      assert.ok(api.asked.some(({ path }) => path === "/v1/organization/admin_api_keys/key_09/rotate"));
      assert.deepEqual(wrong, []);
    });
  },

  async older_requests_come_when_they_are_asked_for(browser) {
    await tab(browser, {}, async (page) => {
      const rows = panel(page, "Recent requests").locator("tbody tr");
      const older = page.getByRole("button", { name: "Show older requests" });
      for (const count of [10, 20, 30]) {
        await page.waitForFunction((wanted) => document.querySelectorAll("#requests tbody tr").length === wanted, count);
        if (count < 30) await older.click();
      }
      assert.equal(await older.isVisible(), false);
      assert.equal(await rows.count(), 30);
      assert.match(await rows.first().innerText(), /\d\d:\d\d[^]*\d\d:\d\d UTC/);
    });
  },

  async nobody_stays_logged_in_by_accident(browser) {
    let good = true;
    const change = { "/v1/credits": () => (good ? { data: { balance: "77", held: "0", available: "77" } } : refusal(401, "Incorrect API key provided: it was revoked.")) };
    await tab(browser, { change, allowed: ["/v1/credits"] }, async (page, api) => {
      assert.ok(api.asked.every(({ headers }) => headers.authorization === `Bearer ${KEY}` && headers.cookie === undefined && headers.referer === undefined));
      good = false;
      await page.getByRole("button", { name: "Refresh" }).click();
      await page.getByText("it was revoked").waitFor();
      assert.ok(await page.getByLabel("API key or admin key").isVisible());
      assert.ok(!(await page.locator("main").innerHTML()).includes("smollm2"), "nothing of the account is left");
      good = true;
      await logIn(page, KEY);
      await page.getByRole("button", { name: "Log out" }).click();
      assert.ok(!(await page.locator("main").innerHTML()).includes("smollm2"));
      await logIn(page, KEY);
      await page.reload();
      assert.ok(await page.getByLabel("API key or admin key").isVisible());
      assert.equal(await page.getByLabel("API key or admin key").inputValue(), "");
      await logIn(page, KEY);
      await page.goto("about:blank");
      await page.goBack();
      assert.ok(await page.getByLabel("API key or admin key").isVisible(), "nor by the back button");
    });
  },

  async a_key_that_is_refused_is_told_at_the_form(browser) {
    const change = { "/v1/key": () => refusal(401, "Incorrect API key provided.") };
    await tab(browser, { change, allowed: ["/v1/key"], loggedIn: false }, async (page) => {
      const field = page.getByLabel("API key or admin key");
      for (const [typed, told] of [["", "Enter a key."], ["two words", "not a key"], ["schlüssel", "not a key"], ["sk-cocoon-x", "Incorrect API key provided."]]) {
        await field.fill(typed);
        await field.press("Enter");
        await page.getByText(told).waitFor();
        assert.ok(await field.evaluate((input) => input === document.activeElement));
      }
      await field.fill("");
    });
  },

  async an_operator_names_the_account(browser) {
    await tab(browser, { loggedIn: false }, async (page, api) => {
      await logIn(page, KEY, "alice");
      assert.ok(api.asked.length > 5 && api.asked.every(({ headers }) => headers["openai-organization"] === "alice"));
    });
  },

  async dark_and_light_are_chosen_and_only_that_is_remembered(browser) {
    await tab(browser, {}, async (page) => {
      const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const [light, bars] = [await background(), await drawn(page, 5000)];
      await page.getByLabel("Colours").selectOption("Dark");
      await settled(page);
      assert.notEqual(await background(), light);
      assert.notEqual(await drawn(page, 5000), bars, "the chart takes the theme's colours");
      assert.deepEqual(await page.evaluate(() => ({ ...localStorage })), { "cocoon-theme": "dark" });
      await page.reload();
      assert.notEqual(await background(), light);
    });
  },
};

/** What the page says of the receipt of this request, which takes the newest one's place. */
async function verdictOf(page, api, request) {
  api.requests.splice(0, 1, request);
  return await receiptVerdict(page);
}

const browser = await launch();
const only = process.env.COCOON_STATE;
const passed = [];
try {
  for (const [name, state] of Object.entries(states)) {
    if (only && !name.includes(only)) continue;
    await state(browser).catch((error) => { throw new Error(`${name}: ${error.stack}`); });
    passed.push(name);
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify({ passed }));

// A walk through the console in a real browser, over a running engine and a simulated broker:
//   TICKWIRE_FIRST_RUN=LINK TICKWIRE_BROKER=http://HOST:PORT node walk.mjs
// LINK is what the engine has printed; the broker is an mtapi simulator of user 7, password `demo`, server `Demo-Server`
// with BTCUSDT and ETHUSDT, which trade on all days. It needs a database, and a first backfill of a few days only.
// TICKWIRE_PICTURES is a folder for pictures of the charts, and of the page where the walk has ended early.
//
// Fails at the first thing that is not as it should be, also when a page has reported an error, when its policy was
// violated, or when the engine has answered with a fault.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { candlesDrawn } from "./candles.mjs";

const { TICKWIRE_FIRST_RUN: link = "", TICKWIRE_BROKER: broker = "", TICKWIRE_PICTURES: pictures = "", CHROMIUM = "/usr/bin/chromium" } = process.env;
if (!link.includes("/first-run#") || !broker) {
  console.error("usage: TICKWIRE_FIRST_RUN=LINK TICKWIRE_BROKER=http://HOST:PORT node walk.mjs");
  process.exit(2);
}

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** The whole walk. */
const LIMIT_MS = 90_000;
/** Whatever else is waited for, unless it says otherwise. */
const PATIENCE_MS = 60_000;
const BETWEEN_MS = 100;
const DAY_S = 86_400;

const base = new URL(link).origin;
const ADMIN = { name: "admin", password: "correct horse battery" };
const USER = { name: "trader", password: "staple horse battery" };
const [SHARED, PRIVATE, SYMBOL] = ["broker", "own", "BTCUSDT"];
const WRONG = "a wrong password";

const begun = Date.now();
const problems = [];
let here = "";
let shown = null;

function must(condition, what) {
  if (!condition) throw new Error(what);
}

async function step(name, walk) {
  here = name;
  const since = Date.now();
  const said = await walk();
  must(problems.length === 0, problems.join("\n"));
  console.log(`${String(Date.now() - since).padStart(6)} ms  ${name}${said ? `: ${said}` : ""}`);
}

/** Asks until the answer is something; that answer. */
async function until(what, ask, patience = PATIENCE_MS) {
  for (const since = Date.now(); ; ) {
    const found = await ask();
    if (found) return found;
    must(Date.now() - since < patience, `${what}: not within ${patience} ms`);
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
  }
}

/** A browser of somebody's own, whose complaints are collected. `refusals`: answers that are meant, which the browser reports as well. */
async function somebody(browser, refusals) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", reducedMotion: "reduce", timezoneId: "UTC" });
  context.setDefaultTimeout(PATIENCE_MS);
  await context.exposeBinding("violated", (_, what) => void problems.push(`${here}: the policy forbids ${what}`));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => globalThis.violated(`${event.blockedURI} by ${event.violatedDirective}`));
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => problems.push(`${here}: ${error.stack ?? error.message}`));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const { url } = message.location();
    const status = /^Failed to load resource: .* status of (\d+)/.exec(message.text())?.[1];
    if (status && refusals.includes(`${status} ${new URL(url).pathname}`)) return;
    problems.push(`${here}: ${message.text()} ${url}`);
  });
  page.on("response", (answer) => answer.status() >= 500 && problems.push(`${here}: ${answer.url()} answered ${answer.status()}`));
  shown = page;
  return { context, page };
}

/** Asks the API with the cookie of a context, beside its page. */
async function ask(context, method, path, data) {
  const headers = context.csrf ? { "X-CSRF-Token": context.csrf } : {};
  return context.request.fetch(base + path, { method, headers, timeout: 5000, maxRedirects: 0, ...(data ? { data } : {}) });
}
const read = async (context, path) => {
  const answer = await ask(context, "GET", path);
  must(answer.ok(), `${path} answered ${answer.status()}: ${await answer.text()}`);
  return answer.json();
};

const menu = (page, title) => page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: title, exact: true }).click();
const button = (page, name) => page.getByRole("button", { name, exact: true });
const heading = (page, name) => page.getByRole("heading", { name, level: 1, exact: true }).waitFor();

async function firstRun(page) {
  await page.goto(link);
  await page.fill("input[name=name]", ADMIN.name);
  await page.fill("input[name=password]", ADMIN.password);
  await page.fill("input[name=again]", ADMIN.password);
  await button(page, "Create and sign in").click();
  await button(page, `Your account, ${ADMIN.name}`).waitFor();
  const again = await ask(page.context(), "POST", "/api/first-run", { token: new URL(link).hash.slice(1), ...ADMIN, name: "second" });
  must(again.status() === 403 || again.status() === 409, `the link worked twice: ${again.status()}`);
}

/** Keeps the CSRF token of whoever is signed in, for what is asked beside the page. */
async function remember(context) {
  const { csrf_token, user } = await read(context, "/api/session");
  context.csrf = csrf_token;
  return user;
}

/** The form of a new connection with everything but symbols. */
async function fillForm(page, name, password, isPrivate) {
  await menu(page, "Connections");
  await page.getByRole("link", { name: "Add a connection" }).first().click();
  await heading(page, "New connection");
  await page.selectOption("select[name=adapter]", "mtapi");
  const typed = { name, provider: "Demo Broker", base_url: broker, user: "7", password, server: "Demo-Server", history_bars: "250", history_per_second: "10" };
  for (const [field, value] of Object.entries(typed)) await page.fill(`input[name=${field}]`, value);
  await page.getByLabel("Private", { exact: true }).setChecked(isPrivate);
}

/** What a test that succeeded tells: latency, balance and currency. `scope`: a part of the page. */
async function told(page, scope = page) {
  const facts = await scope.locator("section.panel").filter({ has: page.locator(".notice.good") }).locator("dl").innerText();
  must(/Latency\s+[\d.]+ m?s\s/.test(facts) && /Balance\s+[\d\s]+\.\d\d [A-Z]{3}\s/.test(facts), `the test tells not latency, balance and currency: ${facts}`);
  return facts.replace(/\s+/g, " ");
}

/** Wrong credentials, in the venue's words and with what to do. */
async function refused(page) {
  const notice = page.locator("section.panel .notice.bad");
  const text = await notice.innerText();
  must(text.includes("Invalid account") && text.includes("What to do"), `the refusal is not in the venue's words: ${text}`);
  return text.split("\n")[0];
}

async function createWithWrongKey(page) {
  await fillForm(page, SHARED, WRONG, false);
  await page.fill("input[name=symbol-by-hand]", SYMBOL);
  await page.press("input[name=symbol-by-hand]", "Enter");
  for (const timeframe of ["M1", "H1"]) await page.setChecked(`input[name=timeframe-${timeframe}]`, true);
  await button(page, "Test").click();
  const words = await refused(page);
  await button(page, "Save, switched off").click();
  await heading(page, SHARED);
  // Tried once more as it is stored: that one is written into its log.
  await button(page, "Test").click();
  must((await refused(page)) === words, "the stored connection is refused in other words than its draft");
  return words;
}

async function correctTheKey(page) {
  await page.getByRole("tab", { name: "Edit" }).click();
  await page.fill("input[name=password]", "demo");
  await page.fill("input[name=symbol-search]", "ETH");
  await button(page, "Search").click();
  await button(page, "Add ETHUSDT").click();
  const form = page.locator("form", { has: page.locator("input[name=base_url]") });
  await button(form, "Test").click();
  await told(page, form);
  await button(form, "Save").click();
  await page.getByRole("tab", { name: "Overview", selected: true }).waitFor();
  await button(page, "Test").click();
  return told(page);
}

async function activate(page) {
  await button(page, "Activate").click();
  await button(page, "Deactivate").waitFor();
  await page.locator("h1 .badge.good, .badge.good", { hasText: "Active" }).first().waitFor();
}

/** The best bid, as it stands in the table. */
const bidOf = (page) => page.locator(`tr[data-symbol=${SYMBOL}] .l-bid`);

async function livePricesMove(page) {
  await menu(page, "Live");
  await until("a price", async () => (await bidOf(page).count()) && /\d/.test(await bidOf(page).innerText()));
  const before = await bidOf(page).innerText();
  const since = Date.now();
  const after = await until("another bid", async () => { const text = await bidOf(page).innerText(); return text !== before && text; }, 2000);
  return `${before.replace(/\s+/g, "")} became ${after.replace(/\s+/g, "")} after ${Date.now() - since} ms`;
}

/** Waits until candles are drawn, judged by a picture of the chart alone. */
async function candles(page, name) {
  const host = page.locator(".chart-host");
  await page.locator(".chart-frame[aria-busy=true]").waitFor({ state: "detached" });
  return until("candles in the picture of the chart", async () => {
    const png = await host.screenshot(pictures ? { path: join(pictures, `${name}.png`) } : {});
    const found = candlesDrawn(png);
    return found.isDrawn && `${found.candles} candles, ${found.up} up and ${found.down} down`;
  });
}

async function candlesAreDrawn(page) {
  await until("bars of the first backfill", async () => (await read(page.context(), `/api/market-data/exists?source=${SHARED}&symbol=${SYMBOL}&timeframe=M1`)).rows > 100, 30_000);
  await page.locator(`tr[data-symbol=${SYMBOL}] th a`).click();
  await heading(page, SYMBOL);
  await page.getByLabel("Source", { exact: true }).selectOption(SHARED);
  return candles(page, "candles-m1");
}

async function logsTell(page) {
  await menu(page, "Connections");
  await page.getByRole("link", { name: SHARED, exact: true }).click();
  await page.getByRole("tab", { name: "Logs" }).click();
  const wanted = ["Create Succeeded", "Test Failed", "Edit Succeeded", "Test Succeeded", "Activate Succeeded"];
  return until(`the log with ${wanted.join(", ")}`, async () => {
    const rows = await page.locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].slice(1, 3).map((cell) => cell.innerText.trim()).join(" ")));
    if (wanted.every((row) => rows.includes(row))) return `${rows.length} entries`;
    if (await button(page, "Refresh").isEnabled()) await button(page, "Refresh").click();
    return null;
  });
}

async function backfillAYear(page) {
  await page.getByRole("tab", { name: "Data" }).click();
  const panel = page.locator("section.panel", { has: page.locator("input[name=backfill-from]") });
  await panel.getByLabel("Symbol").selectOption(SYMBOL);
  await panel.getByLabel("Timeframe").selectOption("H1");
  const from = await panel.locator("input[name=backfill-from]").inputValue();
  must(Date.now() / 1000 - Date.parse(from) / 1000 > 364 * DAY_S, `the form offers ${from}, which is no year ago`);
  await button(panel, "Fetch").click();
  const seen = [];
  await until("the end of the backfill", async () => {
    // Its words and its state are of the same moment.
    const text = await panel.locator("form").innerText();
    const done = /\d[\d,]*(?= %| of )/.exec(text)?.[0];
    if (done && done !== seen.at(-1)) seen.push(done);
    must(!/\bFailed\b/.test(text), `the backfill failed: ${text}`);
    return /\bSucceeded\b/.test(text);
  }, 30_000);
  must(seen.length >= 2, `progress did not move: ${seen.join(", ")}`);
  return `${seen.join(", ")}; ${(await panel.locator("form p").last().innerText()).trim()}`;
}

async function chartReachesBack(page) {
  await menu(page, "Live");
  await page.locator(`tr[data-symbol=${SYMBOL}] th a`).click();
  await page.getByLabel("Source", { exact: true }).selectOption(SHARED);
  await button(page, "H1").click();
  await candles(page, "candles-h1");
  const due = Date.now() / 1000 - 364 * DAY_S;
  const host = page.locator(".chart-host");
  const oldest = await until("a bar of a year ago in the chart", async () => {
    await host.press("Home");
    await page.locator(".chart-older").waitFor({ state: "detached" });
    // What stands under the cursor near the left end, where the first bars are.
    const box = await host.boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.move(box.x + box.width / 20, box.y + box.height / 2);
    const text = await page.locator(".legend-time").innerText();
    return Date.parse(`${text.replace(" ", "T")}Z`) / 1000 < due && text;
  });
  return `${await candles(page, "candles-year-ago")} from ${oldest} on`;
}

async function deactivate(page) {
  await page.goto(`${base}/connections/${SHARED}`);
  await button(page, "Deactivate").click();
  await button(page, "Activate").waitFor();
  await page.locator(".badge", { hasText: "Inactive" }).first().waitFor();
  const connection = await read(page.context(), `/api/data-connections/${SHARED}`);
  must(!connection.is_active && connection.status === "inactive" && connection.live === null, `it still runs: ${JSON.stringify(connection)}`);
  await menu(page, "Live");
  return until("a row that is stale or gone", async () => {
    if (await page.getByText("No prices yet").count()) return "no prices are shown";
    const row = page.locator(`tr[data-symbol=${SYMBOL}]`);
    const state = (await row.count()) ? await row.locator(".l-state").innerText() : null;
    return state === null ? null : !/\d/.test(await bidOf(page).innerText()) ? "the row has no bid" : /stale/i.test(state) && state;
  });
}

/** A second connection, that nobody else may know of, with something stored to be asked for. */
async function createPrivate(page) {
  await fillForm(page, PRIVATE, "demo", true);
  await page.fill("input[name=symbol-by-hand]", SYMBOL);
  await page.press("input[name=symbol-by-hand]", "Enter");
  await button(page, "Save and activate").click();
  await heading(page, PRIVATE);
  await until("stored ticks of the private connection", async () => (await read(page.context(), `/api/ticks?source=${PRIVATE}&symbol=${SYMBOL}&limit=1`)).ticks.length > 0, 20_000);
  // What another is refused below is there for its owner. A stream has no end to wait for.
  for (const [, path] of HIDDEN.filter(([method, path]) => method === "GET" && !path.startsWith("/api/live/"))) {
    const answer = await ask(page.context(), "GET", path);
    must(answer.ok(), `${path} answered its owner ${answer.status()}: ${await answer.text()}`);
  }
}

async function addUser(page) {
  await menu(page, "Users and tokens");
  await button(page, "Add a user").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill(USER.name);
  await dialog.getByLabel("Password", { exact: true }).fill(USER.password);
  await dialog.getByLabel("Role").selectOption("user");
  await button(dialog, "Add").click();
  await dialog.waitFor({ state: "detached" });
  await page.locator("tbody tr", { hasText: USER.name }).waitFor();
}

async function signIn(page, { name, password }) {
  await page.goto(`${base}/`);
  await page.fill("input[name=name]", name);
  await page.fill("input[name=password]", password);
  await button(page, "Sign in").click();
  await button(page, `Your account, ${name}`).waitFor();
}

/** Everything under which the private connection can be asked for. */
const draft = { name: PRIVATE, adapter: "mtapi", private: true, config: { base_url: broker, user: "7", server: "Demo-Server", broker_time: "new-york-close" }, secrets: {}, symbols: { [SYMBOL]: SYMBOL }, timeframes: ["M1"] };
const of = `source=${PRIVATE}&symbol=${SYMBOL}&timeframe=M1`;
const HIDDEN = [
  ...["", "/logs", "/symbols", "/account", "/positions"].map((tail) => ["GET", `/api/data-connections/${PRIVATE}${tail}`]),
  ...["/test", "/activate", "/deactivate"].map((tail) => ["POST", `/api/data-connections/${PRIVATE}${tail}`, {}]),
  ["POST", `/api/data-connections/${PRIVATE}/backfill`, { symbol: SYMBOL, timeframe: "H1", from: "2024-01-01", to: "2024-01-02" }],
  ["PATCH", `/api/data-connections/${PRIVATE}`, { provider: "mine" }],
  ["DELETE", `/api/data-connections/${PRIVATE}?data=keep`],
  ...["bars", "bars.csv", "ticks", "indicators", "market-data/exists"].map((what) => ["GET", `/api/${what}?${of}`]),
  ["GET", `/api/live/symbols/${SYMBOL}?source=${PRIVATE}&timeframe=M1`],
];
/** Lists that the private connection must not stand in. */
const LISTS = ["/api/data-connections", "/api/data-connections/health", "/api/instruments", "/api/market-data/statistics", "/api/sources", "/api/gaps", "/api/jobs", "/api/job-schedules", "/api/alerts", "/api/status"];

async function seesNothing({ context, page }) {
  await menu(page, "Connections");
  await page.getByRole("link", { name: SHARED, exact: true }).waitFor();
  must((await page.getByRole("link", { name: PRIVATE, exact: true }).count()) === 0, "the private connection stands in the user's list");
  for (const tab of ["", "?tab=edit", "?tab=logs", "?tab=data"]) {
    await page.goto(`${base}/connections/${PRIVATE}${tab}`);
    await page.getByRole("heading", { name: "There is no such connection" }).waitFor();
  }
  await page.goto(`${base}/symbols/${SYMBOL}?source=${PRIVATE}`);
  await heading(page, SYMBOL);
  const open = [];
  // The shared connection is switched off: what had a price would be of the private one.
  const quotes = await page.evaluate(() => new Promise((resolve) => {
    const events = new EventSource("/api/live/quotes");
    events.addEventListener("quotes", ({ data }) => { events.close(); resolve(data); });
  }));
  if (quotes.includes(`"${PRIVATE}"`) || JSON.parse(quotes).some(({ bid, ask }) => bid ?? ask)) open.push(`GET /api/live/quotes: ${quotes}`);
  for (const [method, path, data] of HIDDEN) {
    const answer = await ask(context, method, path, data).catch((error) => ({ status: () => `no end (${error.message.split("\n")[0]})` }));
    if (answer.status() !== 404) open.push(`${method} ${path}: ${answer.status()}`);
  }
  // The stored secrets of another's connection do not stand in for those of a draft.
  const test = await ask(context, "POST", "/api/data-connections/test", draft);
  if (test.ok() && (await test.json()).succeeded) open.push("POST /api/data-connections/test took the stored secrets");
  for (const path of LISTS) {
    const text = JSON.stringify(await read(context, path));
    if (text.includes(`"${PRIVATE}"`)) open.push(`GET ${path} tells of it`);
  }
  must(open.length === 0, `open to the user:\n  ${open.join("\n  ")}`);
  return `${HIDDEN.length} addresses answer 404, ${LISTS.length} lists are silent`;
}

async function signOut(browser, { context, page }, name) {
  const cookies = await context.cookies();
  must(cookies.some((cookie) => cookie.name === "tickwire_session" && cookie.httpOnly && cookie.sameSite === "Strict"), `the cookie is not as it should be: ${JSON.stringify(cookies.map(({ value, ...rest }) => rest))}`);
  // The page comes after the menu was opened, and does not close it.
  let come;
  const called = new Promise((resolve) => (come = resolve));
  await page.route(/\/assets\/account-[^/]+\.js$/, (route) => called.then(() => route.continue()));
  await page.goto(`${base}/account`);
  await button(page, `Your account, ${name}`).click();
  come();
  await heading(page, "Your account");
  await button(page, "Sign out").click();
  await button(page, "Sign in").waitFor();
  const old = await browser.newContext();
  await old.addCookies(cookies);
  for (const path of ["/api/session", "/api/data-connections", "/api/live/quotes"]) {
    const answer = await ask(old, "GET", path);
    must(answer.status() === 401, `${path} answered ${answer.status()} to the cookie of a session that is over`);
  }
  await old.close();
}

async function walk(browser) {
  const admin = await somebody(browser, ["401 /api/session"]);
  await step("the first-run link makes the administrator, once", () => firstRun(admin.page));
  await remember(admin.context);
  await step("a connection made with a wrong key is refused in words", () => createWithWrongKey(admin.page));
  await step("with the right key the test tells latency, balance and currency", () => correctTheKey(admin.page));
  await step("it is activated", () => activate(admin.page));
  await step("live prices move within 2 s", () => livePricesMove(admin.page));
  await step("candles are drawn", () => candlesAreDrawn(admin.page));
  await step("its log tells what was done", () => logsTell(admin.page));
  await step("a year of H1 is backfilled, and progress moves", () => backfillAYear(admin.page));
  await step("the chart then reaches back a year", () => chartReachesBack(admin.page));
  await step("deactivating stops the feed", () => deactivate(admin.page));
  await step("a private connection is made", () => createPrivate(admin.page));
  await step("a user is made", () => addUser(admin.page));
  const hidden = [`/api/data-connections/${PRIVATE}`, "/api/bars", "/api/indicators", `/api/live/symbols/${SYMBOL}`];
  const user = await somebody(browser, ["401 /api/session", ...hidden.map((path) => `404 ${path}`)]);
  await step("the user signs in", () => signIn(user.page, USER));
  must((await remember(user.context)).role === "user", "the user is something else");
  await step("the user neither sees nor fetches the private connection", () => seesNothing(user));
  await step("signing out ends the user's session", () => signOut(browser, user, USER.name));
  shown = admin.page;
  await step("signing out ends the administrator's session", () => signOut(browser, admin, ADMIN.name));
}

if (pictures) mkdirSync(pictures, { recursive: true });
const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS }).catch((error) => {
  console.error(`no browser: ${error.message.split("\n")[0]}: run scripts/get-chromium`);
  process.exit(1);
});
let failure = null;
const late = new Promise((_, fail) => setTimeout(() => fail(new Error(`the walk has not ended within ${LIMIT_MS} ms`)), LIMIT_MS).unref());
try {
  await Promise.race([walk(browser), late]);
} catch (error) {
  failure = error;
  console.error(`FAILED at "${here}": ${error.message}`);
  for (const problem of problems) console.error(problem);
  if (shown) {
    console.error(`at ${shown.url()}: ${await shown.locator("body").innerText({ timeout: 1000 }).catch(() => "")}`);
    if (pictures) await shown.screenshot({ path: join(pictures, "failed.png"), timeout: 5000 }).catch(() => {});
  }
} finally {
  await browser.close();
}
if (!failure) console.log(`${String(Date.now() - begun).padStart(6)} ms  the whole walk, without an error on any page`);
process.exit(failure ? 1 : 0);

// Pictures of every page, light and dark, wide and narrow, and what axe-core finds on them:
//   node screenshots.mjs BASE_URL OUT_DIR [--user NAME --password WORD] [--first-run TOKEN] [--only PART] [--no-axe]
// With --first-run the administrator is made first, and a connection to the demonstration's simulated broker.
// Fails when a page violates an accessibility rule seriously, reports an error, or is wider than its window.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    user: { type: "string", default: "admin" },
    password: { type: "string", default: "a password of the mock" },
    only: { type: "string", default: "" },
    axe: { type: "boolean", default: true },
    symbol: { type: "string", default: "EURUSD" },
    connection: { type: "string", default: "" },
    "first-run": { type: "string", default: "" },
  },
  allowNegative: true,
});
const [base, out] = positionals;
if (!base || !out) {
  console.error("usage: node screenshots.mjs BASE_URL OUT_DIR [--user NAME --password WORD] [--only PART] [--no-axe]");
  process.exit(2);
}

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const SIZES = { wide: { width: 1280, height: 820 }, narrow: { width: 360, height: 740 } };
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const problems = [];

function pages(connection) {
  const own = connection ? ["", "?tab=edit", "?tab=logs", "?tab=data"].map((tab) => [`connection-${tab.slice(5) || "overview"}`, `/connections/${encodeURIComponent(connection)}${tab}`]) : [];
  const plain = ["connections", "connections/new", "live", `symbols/${values.symbol}`, "sources", "market-data", "gaps", "jobs", "storage", "pipeline", "terminals", "users", "users?tab=tokens", "users?tab=audit", "jobs?tab=schedule", "alerts", "settings", "account", "docs", "docs/mtapi", "docs/errors", "docs/licences", "no-such-page"];
  return [["dashboard", "/"], ...own, ...plain.map((path) => [path.replace(/[/?=]+/g, "-"), `/${path}`])].filter(([name]) => name.includes(values.only));
}

/** What a button opens: name of the picture, page, the button, and the size where it is at. */
function opened(connection) {
  const own = connection ? [["delete", `/connections/${encodeURIComponent(connection)}`, "Delete"]] : [];
  return [
    ...own, ["menu", "/", "Menu", "narrow"], ["account-menu", "/", /^Your account/], ["indicators", `/symbols/${values.symbol}`, /^Indicators/], ["chart-table", `/symbols/${values.symbol}`, "Show as table"],
    ["job-start", "/jobs", "Start a job"], ["user-add", "/users", "Add a user"], ["token-make", "/account", "Make a token"], ["factor", "/account", "Set up"],
  ].map(([name, ...rest]) => [`open-${name}`, ...rest]).filter(([name]) => name.includes(values.only));
}

async function shoot(page, name, label) {
  // Live pages never fall silent: what is awaited is that the first answers are drawn.
  await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"), null, { timeout: 8000 }).catch(() => problems.push(`${label}: still busy after 8 s`));
  await page.evaluate(() => document.fonts.ready);
  await page.screenshot({ path: join(out, `${name}.png`), fullPage: !name.startsWith("open-") });
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wider > 0) problems.push(`${label}: ${wider} px wider than the window`);
  if (!values.axe) return;
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, impact, nodes } of violations) {
    const text = `${label}: axe ${id} (${impact}) at ${nodes.slice(0, 3).map((node) => node.target.join(" ")).join("; ")}`;
    if (impact === "serious" || impact === "critical") problems.push(text);
    else console.log(`note: ${text}`);
  }
}

async function round(browser, theme, size) {
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme: theme, reducedMotion: "reduce", timezoneId: "UTC", bypassCSP: false });
  const page = await context.newPage();
  let at = "";
  page.on("pageerror", (error) => problems.push(`${at}: ${error.stack?.split("\n").slice(0, 6).map((line) => line.trim()).join(" ") ?? error.message}`));
  page.on("console", (message) => {
    // An answer of 4xx is reported by the browser itself; pages show those in words.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) problems.push(`${at}: ${message.text()}`);
  });
  // As the page's policy forbids scripts put in, axe comes by the debugger's way.
  await context.addInitScript(axe);
  at = `sign-in ${theme} ${size}`;
  await page.goto(`${base}/sign-in`);
  await page.waitForSelector("input[name=password]");
  if ("sign-in".includes(values.only)) await shoot(page, `sign-in-${theme}-${size}`, at);
  await page.fill("input[name=name]", values.user);
  await page.fill("input[name=password]", values.password);
  await page.click("button[type=submit]");
  await page.waitForSelector("#main");
  const connection = values.connection || (await page.evaluate(async () => (await (await fetch("/api/data-connections")).json()).connections[0]?.name ?? ""));
  for (const [name, path] of pages(connection)) {
    at = `${name} ${theme} ${size}`;
    await page.goto(base + path);
    await page.waitForSelector("#main h1, #main .empty").catch(() => problems.push(`${at}: has no heading`));
    await shoot(page, `${name}-${theme}-${size}`, at);
  }
  for (const [name, path, button, only] of opened(connection)) {
    if (only && only !== size) continue;
    at = `${name} ${theme} ${size}`;
    await page.goto(base + path);
    const opener = page.getByRole("button", { name: button, exact: true }).first();
    if (!(await opener.click({ timeout: 5000 }).then(() => true, () => false))) {
      // A chart that has just begun has no indicators to choose from.
      console.log(`note: ${at}: there is no such button`);
      continue;
    }
    await shoot(page, `${name}-${theme}-${size}`, at);
  }
  await context.close();
}

/** What a new engine lacks for pages that show something. */
async function begin(browser) {
  const context = await browser.newContext({ viewport: SIZES.wide });
  const page = await context.newPage();
  await page.goto(`${base}/first-run#${values["first-run"]}`);
  await page.fill("input[name=name]", values.user);
  await page.fill("input[name=password]", values.password);
  await page.fill("input[name=again]", values.password);
  await page.screenshot({ path: join(out, "first-run.png") });
  await page.click("button[type=submit]");
  await page.waitForSelector("#main");
  await page.evaluate(async () => {
    const { csrf_token } = await (await fetch("/api/session")).json();
    const post = async (path, body) => {
      const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf_token }, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
    };
    const config = { base_url: "http://127.0.0.1:7602", user: "62333850", server: "Demo-Server", broker_time: "new-york-close" };
    const symbols = { EURUSD: "EURUSD", GBPUSD: "GBPUSD", XAUUSD: "XAUUSD" };
    await post("/api/data-connections", { name: "broker-demo", adapter: "mtapi", provider: "Demo Broker", private: false, config, secrets: { password: "demo" }, symbols, timeframes: ["M1", "H1"] });
    await post("/api/data-connections/broker-demo/activate", {});
    await post("/api/users", { name: "trader", password: "a password of the pictures", role: "user", permissions: [], sources: null });
    await post("/api/tokens", { name: "dashboard of the desk", scopes: ["read"] });
  });
  // Its past bars are fetched by a job: pages show something when it has ended.
  await page.goto(`${base}/jobs`);
  await page.waitForSelector("tbody .badge.good", { timeout: 60_000 }).catch(() => problems.push("no job has ended within a minute"));
  await context.close();
  values.connection ||= "broker-demo";
}

mkdirSync(out, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: FLAGS });
try {
  if (values["first-run"]) await begin(browser);
  for (const theme of ["light", "dark"]) for (const size of ["wide", "narrow"]) await round(browser, theme, size);
} finally {
  await browser.close();
}
for (const problem of problems) console.error(problem);
console.log(`${problems.length} problems; pictures in ${out}`);
process.exit(problems.length ? 1 : 0);

// Sessions, users, tokens, settings.
import { randomBytes } from "node:crypto";
import { ago, empty, fail, iso, missing, now, paged } from "./kit.mjs";

const ALL = ["manage-data-connections", "manage-users", "manage-jobs", "manage-settings", "view-system"];
const person = (name, role, more = {}) => ({ name, role, permissions: role === "administrator" ? ALL : [], disabled: false, totp: false, sources: null, created_at: ago(86400 * 90), last_signed_in_at: ago(4000), ...more });
const users = [
  person("admin", "administrator", { totp: true }),
  person("staff", "staff", { permissions: ["manage-data-connections", "view-system"] }),
  person("user", "user", { sources: ["oanda-*", "binance"] }),
  person("demo", "demo"),
  person("former", "user", { disabled: true, last_signed_in_at: null }),
];
let tokens = empty ? [] : [
  { id: 3, user: "admin", name: "grafana", scopes: ["read"], created_at: ago(86400 * 20), last_used_at: ago(14), expires_at: null },
  { id: 2, user: "staff", name: "terminal of the desk", scopes: ["read", "stream"], created_at: ago(86400 * 60), last_used_at: ago(86400), expires_at: iso(now() + 86400e3 * 30) },
];
let settings = { approved_providers: null };
let alertSettings = {
    rules: {
      connection_error: { enabled: true, threshold: null, for_seconds: 60 }, source_mute: { enabled: true, threshold: null, for_seconds: 120 },
      symbol_crossed: { enabled: true, threshold: null, for_seconds: 30 }, symbol_single_source: { enabled: false, threshold: null, for_seconds: 300 },
      storage_lag: { enabled: true, threshold: 60, for_seconds: 60 }, disk_low: { enabled: true, threshold: 10, for_seconds: 0 }, job_failed: { enabled: true, threshold: null, for_seconds: 0 },
    },
  webhooks: empty ? [] : [{ id: 1, url: "https://hooks.example.org/tickwire", has_secret: true, rules: null, enabled: true, last_delivery: { at: ago(900), status: 200, error: null } }],
};
const sessions = new Map();
let firstRun = process.env.FIRST_RUN === "1";
let wrong = 0;

export const viewerOf = (id) => (id && sessions.get(id)) || null;
const find = (name) => users.find((user) => user.name === name) ?? missing(`user ${name}`);

function open(user, response) {
  const id = randomBytes(12).toString("hex");
  const entry = { id, user, csrf: randomBytes(12).toString("hex") };
  sessions.set(id, entry);
  response.setHeader("Set-Cookie", `tickwire_session=${id}; HttpOnly; SameSite=Strict; Path=/`);
  return answer(entry);
}
const answer = ({ user, csrf }) => ({ user, csrf_token: csrf, expires_at: iso(now() + 8 * 3600e3) });

function signIn({ body, response }) {
  const user = users.find(({ name }) => name === body.name);
  if (!user || body.password === "wrong") {
    wrong += 1;
    if (wrong > 4) fail(429, "too_many_attempts", "too many wrong passwords", null, 20);
    fail(401, "wrong_credentials", "name or password is wrong");
  }
  if (user.disabled) fail(403, "disabled", "this account is disabled");
  if (body.password === "totp" && !body.code) fail(401, "totp_required", "this account has a second factor: give its code", "code");
  wrong = 0;
  return open(user, response);
}

export const routes = [
  ["GET", "/api/session", ({ viewer }) => (viewer ? answer(viewer) : fail(401, firstRun ? "first_run_pending" : "not_signed_in", "sign in first")), { open: true }],
  ["POST", "/api/session", signIn, { open: true }],
  ["DELETE", "/api/session", ({ viewer }) => void sessions.delete(viewer.id)],
  ["POST", "/api/first-run", ({ body, response }) => {
    if (String(body.password).length < 12) fail(422, "wrong_value", "password: 12 characters at least", "password");
    firstRun = false;
    return [201, open(find("admin"), response)];
  }, { open: true }],
  ["POST", "/api/session/password", ({ body }) => (body.current === "wrong" ? fail(422, "wrong_value", "the password is wrong", "current") : undefined)],
  ["POST", "/api/session/totp", () => ({ secret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", uri: "otpauth://totp/Tickwire:admin?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Tickwire" })],
  ["PUT", "/api/session/totp", ({ body, viewer }) => (body.code === "000000" ? fail(422, "wrong_value", "the code is wrong or too old", "code") : void (viewer.user.totp = true))],
  ["DELETE", "/api/session/totp", ({ viewer }) => void (viewer.user.totp = false)],
  ["GET", "/api/users", () => ({ users })],
  ["POST", "/api/users", ({ body }) => {
    if (users.some(({ name }) => name === body.name)) fail(422, "wrong_value", `name: ${body.name} is taken`, "name");
    const { password, ...rest } = body;
    users.push(person(body.name, body.role, { ...rest, last_signed_in_at: null, created_at: iso(now()) }));
    return [201, users.at(-1)];
  }],
  ["PATCH", "/api/users/:name", ({ params, body }) => {
    const { password, ...rest } = body;
    return Object.assign(find(params.name), rest);
  }],
  ["DELETE", "/api/users/:name", ({ params }) => void users.splice(users.indexOf(find(params.name)), 1)],
  ["GET", "/api/tokens", () => ({ tokens })],
  ["POST", "/api/tokens", ({ body, viewer }) => {
    const token = { id: now(), user: viewer.user.name, last_used_at: null, created_at: iso(now()), expires_at: null, ...body };
    tokens = [token, ...tokens];
    return [201, { ...token, token: `tw_${randomBytes(20).toString("hex")}` }];
  }],
  ["DELETE", "/api/tokens/:id", ({ params }) => void (tokens = tokens.filter(({ id }) => String(id) !== params.id))],
  ["GET", "/api/settings", () => settings],
  ["PUT", "/api/settings", ({ body }) => (settings = body)],
  ["GET", "/api/alerts/settings", () => alertSettings],
  ["PUT", "/api/alerts/settings", ({ body }) => (alertSettings = { ...body, webhooks: body.webhooks.map(({ secret, ...hook }, i) => ({ last_delivery: null, ...hook, id: hook.id ?? i + 10, has_secret: hook.has_secret || !!secret })) })],
  ["GET", "/api/audit", ({ query }) => paged("entries", empty ? [] : Array.from({ length: 130 }, (_, i) => ({ id: 500 - i, at: ago(i * 900), actor: ["admin", "staff", null][i % 3], action: ["sign_in", "create_token", "sign_in"][i % 3], subject: i % 3 === 1 ? "grafana" : null, succeeded: i % 3 !== 2, address: "127.0.0.1", message: i % 3 === 2 ? "wrong password for admin" : "done" })), query)],
];

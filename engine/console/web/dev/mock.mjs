// A stand-in for the engine while pages are made: node dev/mock.mjs WEB_DIR [PORT]. It answers the API with made-up,
// moving data and is never shipped. Sign in with admin, staff, user or demo; any password but "wrong". WEB_DIR is what
// scripts/get-web built. With FIRST_RUN=1 there is no administrator yet; with EMPTY=1 there is no data.
import { createServer } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { extname, join, normalize, resolve } from "node:path";
import { Problem, fail, now } from "./kit.mjs";
import * as connections from "./connections.mjs";
import * as market from "./market.mjs";
import * as people from "./people.mjs";
import * as system from "./system.mjs";

const root = resolve(process.argv[2] ?? "../../../target/web");
const port = Number(process.argv[3] ?? 8099);
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2" };
// As strict as the engine's, so that what breaks it breaks here first.
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const routes = [...people.routes, ...connections.routes, ...market.routes, ...system.routes].map(([method, path, answer, options]) => {
  const names = [];
  const form = path.replace(/:(\w+)/g, (_, name) => (names.push(name), "([^/]+)"));
  return { method, form: new RegExp(`^${form}$`), names, answer, open: options?.open };
});

function cookie(request) {
  return /tickwire_session=([^;]+)/.exec(request.headers.cookie ?? "")?.[1] ?? null;
}

async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : {};
}

async function api(request, response, url) {
  for (const { method, form, names, answer, open } of routes) {
    if (method !== request.method) continue;
    const found = form.exec(url.pathname);
    if (!found) continue;
    const params = Object.fromEntries(names.map((name, index) => [name, decodeURIComponent(found[index + 1])]));
    const viewer = people.viewerOf(cookie(request));
    if (!viewer && !open) fail(401, "not_signed_in", "sign in first");
    if (viewer && !open && method !== "GET") {
      if (request.headers["x-csrf-token"] !== viewer.csrf) fail(403, "csrf", "the request has no X-CSRF-Token of this session");
      if (viewer.user.role === "demo" && !url.pathname.startsWith("/api/session")) fail(403, "forbidden", "a demo account reads only");
    }
    const query = Object.fromEntries(url.searchParams);
    return answer({ params, query, viewer, response, request, body: method === "GET" ? {} : await body(request) });
  }
  fail(404, "not_found", `${url.pathname}: there is none`);
}

function send(response, status, value) {
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" });
  response.end(value === undefined ? "" : JSON.stringify(value));
}

createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  response.setHeader("Content-Security-Policy", POLICY);
  try {
    if (url.pathname.startsWith("/api/")) {
      const value = await api(request, response, url);
      if (response.headersSent || value === "handled") return;
      const [status, answer] = Array.isArray(value) ? value : [value === undefined ? 204 : 200, value];
      return send(response, status, answer);
    }
    const asked = normalize(join(root, url.pathname));
    const file = asked.startsWith(`${root}/assets/`) && existsSync(asked) ? asked : join(root, "index.html");
    response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" });
    response.end(readFileSync(file));
  } catch (error) {
    if (response.headersSent) return response.end();
    if (!(error instanceof Problem)) console.error(request.method, request.url, error);
    const status = error instanceof Problem ? error.status : 500;
    if (error.retryAfter) response.setHeader("Retry-After", String(error.retryAfter));
    send(response, status, { error: { code: error.code ?? "internal", message: error.message, field: error.field ?? null } });
  }
}).listen(port, "127.0.0.1", () => console.log(`mock: http://127.0.0.1:${port} at ${new Date(now()).toISOString()}`));

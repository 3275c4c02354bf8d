// The console starts here.

import { render } from "preact";
import { loadSession } from "./api.ts";
import { App } from "./app.tsx";
import { start } from "./router.ts";

start();
const root = document.getElementById("app");
if (root) render(<App />, root);
const load = (): void => {
  loadSession().catch(() => setTimeout(load, 2000));
};
load();

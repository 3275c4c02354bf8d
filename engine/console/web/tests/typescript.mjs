// Lets tests import the sources as they are: node --import ./tests/typescript.mjs --test tests/*.test.ts
import { register } from "node:module";

const hooks = `
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import esbuild from ${JSON.stringify(import.meta.resolve("esbuild"))};
export async function load(url, context, next) {
  if (!/\\.tsx?$/.test(url)) return next(url, context);
  const sourcefile = fileURLToPath(url);
  const loader = url.endsWith("x") ? "tsx" : "ts";
  const options = { loader, sourcefile, sourcemap: "inline", format: "esm", jsx: "automatic", jsxImportSource: "preact" };
  const { code } = await esbuild.transform(await readFile(sourcefile, "utf8"), options);
  return { format: "module", source: code, shortCircuit: true };
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

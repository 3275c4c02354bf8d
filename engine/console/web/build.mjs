// Bundles the console: node build.mjs OUT_DIR. Writes index.html, assets/NAME-HASH.EXT with .gz and .br beside what
// compresses, and files.tsv, which build.rs turns into the table that the engine serves from.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] && resolve(process.argv[2]);
if (!out) {
  console.error("usage: node build.mjs OUT_DIR");
  process.exit(2);
}

/** What is shipped inside the bundle, for the licences page. */
const SHIPPED = ["preact", "@preact/signals", "@preact/signals-core", "lightweight-charts", "fancy-canvas", "uqr", "@fontsource-variable/inter"];

const licences = {
  name: "licences",
  setup(build) {
    build.onResolve({ filter: /^licences$/ }, () => ({ path: "licences", namespace: "licences" }));
    build.onLoad({ filter: /.*/, namespace: "licences" }, () => {
      const list = SHIPPED.map((name) => {
        const folder = join(here, "node_modules", name);
        const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
        const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice|ofl)/i.test(file)).sort();
        const text = files.map((file) => readFileSync(join(folder, file), "utf8").trim()).join("\n\n");
        return { name, version: about.version, licence: about.license ?? "", text };
      });
      return { contents: `export default ${JSON.stringify(list)}`, loader: "js" };
    });
  },
};

const shared = {
  absWorkingDir: here,
  outdir: join(out, "assets"),
  bundle: true,
  minify: true,
  metafile: true,
  logLevel: "warning",
  target: ["es2022"],
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  publicPath: "/assets/",
  loader: { ".woff2": "file", ".svg": "file" },
  legalComments: "none",
};

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "assets"), { recursive: true });
const builds = await Promise.all([
  esbuild.build({
    ...shared,
    entryPoints: ["main.tsx"],
    format: "esm",
    splitting: true,
    jsx: "automatic",
    jsxImportSource: "preact",
    plugins: [licences],
  }),
  esbuild.build({ ...shared, entryPoints: ["theme.ts", "style/style.css"], format: "iife" }),
  esbuild.build({ ...shared, entryPoints: ["icon.svg"], loader: { ".svg": "copy" } }),
]);

const entries = {};
for (const { metafile } of builds) {
  for (const [path, { entryPoint }] of Object.entries(metafile.outputs)) {
    if (entryPoint) entries[basename(entryPoint).replace(/\.tsx?$/, ".js")] = `/assets/${basename(path)}`;
  }
}
const page = readFileSync(join(here, "index.html"), "utf8").replace(/\{\{(.+?)\}\}/g, (_, name) => {
  if (!entries[name]) throw new Error(`index.html names ${name}, which was not built`);
  return entries[name];
});
writeFileSync(join(out, "index.html"), page);

const files = ["index.html", ...readdirSync(join(out, "assets")).sort().map((name) => `assets/${name}`)];
const lines = files.map((name) => {
  const bytes = readFileSync(join(out, name));
  const packs = extname(name) !== ".woff2";
  if (packs) {
    const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } };
    writeFileSync(join(out, `${name}.br`), brotliCompressSync(bytes, options));
    writeFileSync(join(out, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  }
  return [name, createHash("sha256").update(bytes).digest("hex").slice(0, 16), packs ? "packed" : "plain"].join("\t");
});
writeFileSync(join(out, "files.tsv"), `${lines.join("\n")}\n`);

// Builds the studio into one folder: `node build.mjs [folder]`, ../ai_engine/web_ui unless given.
// The same source and the same locked packages give the same bytes: a test holds the committed build to it.
import { build } from "esbuild";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "..", "ai_engine", "web_ui"));

await mkdir(out, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: { studio: "src/main.ts", operate: "src/operate.ts", style: "src/style.css" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none", // the notices stand in LICENCES.txt, whole
  loader: { ".woff2": "file" },
  assetNames: "[name]",
  logLevel: "info",
});
for (const name of ["index.html", "operate.html", "icon.svg"]) await copyFile(join(here, "src", name), join(out, name));
for (const name of await readdir(join(here, "src", "examples"))) await copyFile(join(here, "src", "examples", name), join(out, name));
await writeFile(join(out, "LICENCES.txt"), await licences());

async function licences() {
  const texts = ["three", "@fontsource-variable/figtree"].map(async (name) => {
    const folder = join(here, "node_modules", name);
    const { version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    return `${name} ${version}\n\n${(await readFile(join(folder, "LICENSE"), "utf8")).trim()}\n`;
  });
  return (await Promise.all(texts)).join(`\n${"-".repeat(80)}\n\n`);
}

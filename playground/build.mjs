// Bundles the playground into the folder given as the only argument, or into `dist`.

import { copyFile, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";

const outdir = path.resolve(process.argv[2] ?? "dist");
process.chdir(import.meta.dirname);

// GraphiQL's own stylesheet already holds the styles of the Monaco editor.
const withoutMonacoStyles = {
  name: "without-monaco-styles",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]monaco-editor[\\/].*\.css$/ }, () => ({ contents: "", loader: "empty" }));
  },
};

// Names that carry a hash of the content let browsers keep the files for good.
const shared = {
  assetNames: "[name]-[hash]",
  bundle: true,
  chunkNames: "[name]-[hash]",
  define: { "process.env.NODE_ENV": '"production"' },
  entryNames: "[name]-[hash]",
  loader: { ".graphql": "text" },
  logLevel: "warning",
  metafile: true,
  minify: true,
  outdir,
  plugins: [withoutMonacoStyles],
  target: "es2022",
};

/** The name of the file written for an entry point. */
function written({ metafile }, entryPoint) {
  const [file] = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint === entryPoint);
  return path.basename(file);
}

const workers = {
  editor: "node_modules/monaco-editor/esm/vs/editor/editor.worker.js",
  graphql: "node_modules/monaco-graphql/esm/graphql.worker.js",
  json: "node_modules/monaco-editor/esm/vs/language/json/json.worker.js",
};
const workerBuild = await build({ ...shared, entryPoints: Object.values(workers), format: "iife" });
const workerFiles = Object.fromEntries(
  Object.entries(workers).map(([label, entryPoint]) => [label, written(workerBuild, entryPoint)]),
);

const entryPoint = "src/main.jsx";
const pageBuild = await build({
  ...shared,
  // GraphiQL takes named imports from these, which only the ES modules of Prettier have.
  alias: {
    "prettier/parser-babel": "prettier/plugins/babel",
    "prettier/parser-graphql": "prettier/plugins/graphql",
  },
  define: { ...shared.define, WORKER_FILES: JSON.stringify(workerFiles) },
  entryPoints: [entryPoint],
  format: "esm",
  jsx: "automatic",
  // GraphiQL titles its icons with the names of its functions.
  keepNames: true,
  splitting: true,
});
const script = written(pageBuild, entryPoint);
const style = path.basename(
  Object.values(pageBuild.metafile.outputs).find((output) => output.entryPoint === entryPoint).cssBundle,
);

const page = await readFile("index.html", "utf8");
await writeFile(
  path.join(outdir, "index.html"),
  page.replace("main.js", script).replace("main.css", style),
);
await copyFile("favicon.svg", path.join(outdir, "favicon.svg"));

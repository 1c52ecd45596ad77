// graphql-codegen makes types and typed documents of the live server's schema, and a program that uses them is compiled
// and run: node codegen.mjs <base-url>

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { makeFolder, run } from "./folder.mjs";

const [baseUrl] = process.argv.slice(2);
const endpoint = new URL("/graphql", baseUrl).href;
const folder = makeFolder({
  "codegen.json": {
    schema: endpoint,
    documents: [path.join(import.meta.dirname, "operations.graphql")],
    config: { useTypeImports: true },
    generates: {
      "schema.ts": { plugins: ["typescript"] },
      "operations.ts": { plugins: ["typescript-operations", "typed-document-node"] },
    },
  },
  "package.json": { type: "module" },
  "tsconfig.json": {
    compilerOptions: {
      module: "nodenext",
      noEmitOnError: true,
      outDir: "out",
      rootDir: ".",
      strict: true,
      target: "es2022",
      types: ["node"],
      verbatimModuleSyntax: true,
    },
  },
  "typed.ts": readFileSync(path.join(import.meta.dirname, "typed.ts"), "utf8"),
});

for (const [program, ...args] of [["graphql-codegen", "--config", "codegen.json"], ["tsc"]]) {
  const { status, said } = await run(folder, program, ...args);
  assert.equal(status, 0, `${program} ${args.join(" ")}: ${said}`);
}
assert.match(
  readFileSync(path.join(folder, "schema.ts"), "utf8"),
  /The public name\. Several heroes can have the same one/,
  "The descriptions are missing.",
);
process.stdout.write(execFileSync("node", ["out/typed.js", endpoint], { cwd: folder }));

// GraphQL Inspector reads the live server's schema, compares it, and checks documents against it:
// node inspector.mjs <base-url> <schema.graphql>

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { buildSchema, lexicographicSortSchema, printSchema } from "graphql";
import { makeFolder, run } from "./folder.mjs";

const [baseUrl, schemaFile] = process.argv.slice(2);
const endpoint = new URL("/graphql", baseUrl).href;
const schema = readFileSync(schemaFile, "utf8");
const folder = makeFolder({
  "schema.graphql": schema,
  "other.graphql": schema.replace("\ntype Hero implements Node {", "$&\n\tvillain: Boolean!"),
  "fine.graphql": readFileSync(path.join(import.meta.dirname, "operations.graphql"), "utf8"),
  "wrong.graphql": "query Wrong { heroes { villain } }",
});

// Introspection does not tell where directives are used.
const guarded = schema.match(/ @requiresScopes\(scopes: \[\["/g).length;

/** Runs a command of it, which must end with this status and say this. */
async function inspect(status, words, ...args) {
  const result = await run(folder, "graphql-inspector", ...args);
  assert.equal(result.status, status, result.said);
  assert.match(result.said, words);
  return result.said;
}

/** Compares the schema of the file with the one of the server, which are the same but for those directives. */
async function compare() {
  const said = await inspect(0, /No breaking changes detected/, "diff", "schema.graphql", endpoint);
  assert.match(said, new RegExp(`changes \\(${guarded}\\) between schemas`));
  assert.equal(said.match(/Directive requiresScopes was removed from/g).length, guarded);
}

await Promise.all([
  inspect(0, /Saved to/, "introspect", endpoint, "--write", "introspected.graphql"),
  compare(),
  inspect(1, /Field villain was removed from object type Hero/, "diff", "other.graphql", endpoint),
  inspect(0, /All documents are valid/, "validate", "fine.graphql", endpoint),
  inspect(1, /Cannot query field villain on type Hero/, "validate", "wrong.graphql", endpoint),
]);
// What is printed has no directives where they are used.
const sorted = (text) => printSchema(lexicographicSortSchema(buildSchema(text)));
assert.equal(sorted(readFileSync(path.join(folder, "introspected.graphql"), "utf8")), sorted(schema));
console.log(JSON.stringify({ commands: 5 }));

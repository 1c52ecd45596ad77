// What GraphQL Inspector says of the changes from one schema to another, but for safe ones:
// node diff.mjs <old.graphql> <new.graphql>

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { buildSchema } from "graphql";

// It comes with the command line of GraphQL Inspector.
const cli = createRequire(createRequire(import.meta.url).resolve("@graphql-inspector/cli"));
const { diff } = createRequire(cli.resolve("@graphql-inspector/diff-command"))("@graphql-inspector/core");
const [old, current] = process.argv.slice(2).map((file) => buildSchema(readFileSync(file, "utf8")));
const levels = { BREAKING: "breaking", DANGEROUS: "dangerous" };
const changes = (await diff(old, current))
  .filter(({ criticality }) => criticality.level in levels)
  .map(({ criticality, path }) => `${levels[criticality.level]}: ${path}`);
console.log(JSON.stringify([...new Set(changes)].sort()));

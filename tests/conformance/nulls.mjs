// Sends null for a variable at each place of the schema where nothing may be null, and compares the answers with those
// of graphql-js: node nulls.mjs <schema.graphql> <base-url>

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  buildSchema,
  execute,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredInputField,
  parse,
  validate,
} from "graphql";

const [schemaFile, baseUrl] = process.argv.slice(2);
if (!schemaFile || !baseUrl) {
  console.error("Usage: node nulls.mjs <schema.graphql> <base-url>");
  process.exit(1);
}
// Input objects in input objects.
const MAX_DEPTH = 2;
const AT_ONCE = 8;

const schema = buildSchema(readFileSync(schemaFile, "utf8"));
const { hero } = (
  await post(
    `mutation {
      createHero(input: {name: "A", secretName: "B", teams: {create: [{name: "T", headquarters: "H"}]}}) { hero { id } }
    }`,
  )
).data.createHero;
assert.equal(hero.id, "Hero:1");

const documents = [
  ...rootDocuments("query", schema.getQueryType()),
  ...rootDocuments("mutation", schema.getMutationType()),
];
// What is in an object makes it null.
for (const [field, name] of [
  ["hero", "Hero"],
  ["team", "Team"],
]) {
  documents.push(
    ...fieldDocuments(
      "query",
      schema.getType(name),
      (selection) => `${field}(id: 1) { ${selection} } other: ${field}(id: 1) { id }`,
    ),
  );
}

const differences = [];
const queue = documents.values();
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (const document of queue) {
      await compare(document);
    }
  }),
);
if (differences.length > 0) {
  console.error(differences.slice(0, 10).join("\n"));
  process.exitCode = 1;
}
console.log(JSON.stringify({ documents: documents.length, differences: differences.length }));

async function compare(document) {
  const source = parse(document);
  assert.deepEqual(validate(schema, source), [], document);
  const rootValue = { hero: { id: "Hero:1" }, team: { id: "Team:1" } };
  const expected = await execute({ schema, document: source, rootValue, variableValues: { n: null } });
  const answer = await post(document, { n: null });
  const shape = ({ data, errors }) => JSON.stringify({ data, paths: errors?.map(({ path }) => path) });
  if (
    shape(answer) !== shape(expected) ||
    answer.errors.some(({ extensions }) => extensions.code !== "BAD_USER_INPUT")
  ) {
    differences.push(`${document}\n  graphql-js: ${JSON.stringify(expected)}\n  server: ${JSON.stringify(answer)}`);
  }
}

/** Documents for each field of the root, with another one that is answered where null does not reach it. */
function rootDocuments(operation, root) {
  return fieldDocuments(operation, root, (selection) => `${selection} other: __typename`);
}

function fieldDocuments(operation, parent, wrap) {
  const documents = [];
  for (const { name, args, type } of Object.values(parent.getFields())) {
    for (const { name: argument, type: inputType, defaultValue } of args) {
      for (const { variable, value } of places(inputType, defaultValue !== undefined, 0)) {
        const others = args.filter((other) => other.name !== argument && isNonNullType(other.type));
        const values = [`${argument}: ${value}`, ...others.map((other) => `${other.name}: ${literal(other.type)}`)];
        const selection = String(getNullableType(type)).match(/Int/) ? "" : " { __typename }";
        documents.push(`${operation}($n: ${variable}) { ${wrap(`${name}(${values.join(", ")})${selection}`)} }`);
      }
    }
  }
  return documents;
}

/** The values of a type with the variable where nothing may be null, and what the variable is declared as. */
function* places(type, hasDefault, depth) {
  const nullable = getNullableType(type);
  if (isNonNullType(type)) {
    yield { variable: `${nullable} = ${literal(nullable)}`, value: "$n" };
    if (hasDefault) {
      yield { variable: String(nullable), value: "$n" };
    }
  }
  if (isListType(nullable)) {
    for (const { variable, value } of places(nullable.ofType, false, depth)) {
      yield { variable, value: `[${value}]` };
    }
  } else if (isInputObjectType(nullable) && depth < MAX_DEPTH) {
    const fields = Object.values(nullable.getFields());
    for (const field of fields) {
      for (const { variable, value } of places(field.type, field.defaultValue !== undefined, depth + 1)) {
        const others = fields.filter((other) => other !== field && isRequiredInputField(other));
        const values = [`${field.name}: ${value}`, ...others.map((other) => `${other.name}: ${literal(other.type)}`)];
        yield { variable, value: `{${values.join(", ")}}` };
      }
    }
  }
}

/** The smallest value of a type that is not null. */
function literal(type) {
  const nullable = getNullableType(type);
  if (isListType(nullable)) {
    return `[${literal(nullable.ofType)}]`;
  }
  if (isEnumType(nullable)) {
    return nullable.getValues()[0].name;
  }
  if (isInputObjectType(nullable)) {
    const required = Object.values(nullable.getFields()).filter(isRequiredInputField);
    return `{${required.map((field) => `${field.name}: ${literal(field.type)}`).join(", ")}}`;
  }
  return { Boolean: "true", ID: "1", Int: "1", String: '"x"' }[nullable.name];
}

async function post(query, variables) {
  const response = await fetch(new URL("/graphql", baseUrl), {
    body: JSON.stringify({ query, variables }),
    headers: { "content-type": "application/json" },
    method: "POST",
  });
  return response.json();
}

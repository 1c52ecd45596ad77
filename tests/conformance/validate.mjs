// Compares what the server says of documents with what graphql-js says of them:
// node validate.mjs <schema.graphql> <documents.json> [<base-url>]
// Without a server it only checks that the documents are what they are said to be.

import { readFileSync } from "node:fs";
import {
  GraphQLError,
  Kind,
  SingleFieldSubscriptionsRule,
  buildSchema,
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isRequiredInputField,
  parse,
  specifiedRules,
  typeFromAST,
  validate,
} from "graphql";

const [schemaFile, documentsFile, baseUrl] = process.argv.slice(2);
if (!schemaFile || !documentsFile) {
  console.error("Usage: node validate.mjs <schema.graphql> <documents.json> [<base-url>]");
  process.exit(1);
}

const TIMEOUT = 120_000;
const SCALARS = { Boolean: true, Float: 1.5, ID: "1", Int: 1, String: "x" };

const schema = buildSchema(readFileSync(schemaFile, "utf8"));
const documents = JSON.parse(readFileSync(documentsFile, "utf8"));
const verdicts = documents.map(({ document }) => judge(document));

const faults = [...corpusFaults(), ...(baseUrl ? await serverFaults() : [])];
if (faults.length > 0) {
  console.error(faults.join("\n\n"));
  console.error(`\n${faults.length} faults in ${documents.length} documents.`);
  process.exitCode = 1;
} else {
  const valid = verdicts.filter((verdict) => verdict.valid).length;
  console.log(
    JSON.stringify({
      documents: documents.length,
      valid,
      invalid: documents.length - valid,
      quirks: documents.filter(({ quirk }) => quirk).length,
      rules: specifiedRules.map(({ name }) => name).filter(isCovered),
    }),
  );
}

/** What graphql-js says of a document, with the names of the rules that it breaks. */
function judge(document) {
  let ast;
  try {
    ast = parse(document);
  } catch (error) {
    if (!(error instanceof GraphQLError)) {
      throw error;
    }
    return { valid: false, rules: ["syntax"], messages: [error.message] };
  }
  const errors = validate(schema, ast);
  if (errors.length === 0) {
    return { valid: true, rules: ["valid"], messages: [], ast };
  }
  // An error does not name its rule, so each rule is asked alone.
  const rules = specifiedRules.filter((rule) => validate(schema, ast, [rule]).length > 0);
  return { valid: false, rules: rules.map(({ name }) => name), messages: errors.map(({ message }) => message), ast };
}

function corpusFaults() {
  const faults = [];
  const names = new Set();
  for (const [index, { name, rule }] of documents.entries()) {
    const { rules, messages } = verdicts[index];
    if (names.has(name)) {
      faults.push(`${name}: this name is there twice.`);
    }
    names.add(name);
    if (!rules.includes(rule)) {
      faults.push(`${name}: meant for ${rule}, but graphql-js says ${describe(rules.join(", "), messages)}`);
    }
  }
  for (const rule of specifiedRules) {
    // Without subscriptions in the schema this rule has nothing to refuse.
    const idle = rule === SingleFieldSubscriptionsRule && !schema.getSubscriptionType();
    if (!idle && !isCovered(rule.name)) {
      faults.push(`${rule.name}: no document breaks it.`);
    }
  }
  return faults;
}

function isCovered(rule) {
  return documents.some((document) => document.rule === rule);
}

async function serverFaults() {
  const faults = [];
  for (const [index, { name, document, quirk }] of documents.entries()) {
    const expected = verdicts[index];
    const answer = await ask(document, expected);
    // A known quirk that is one no more is a fault, too, so that nobody is told of it in vain.
    if (answer.valid === undefined || (answer.valid === expected.valid) === Boolean(quirk)) {
      faults.push(
        [
          name,
          `  document:   ${JSON.stringify(document)}`,
          `  graphql-js: ${describe(expected.valid ? "valid" : "invalid", expected.messages)}`,
          `  server:     ${describe(answer.verdict, answer.messages)}`,
        ].join("\n"),
      );
    }
  }
  return faults;
}

/** What the server says of a document. `valid` is undefined when its answer is neither verdict. */
async function ask(query, { valid, ast }) {
  const operations = ast?.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION) ?? [];
  const operationName = operations.length > 1 ? operations[0].name?.value : undefined;
  // Only a valid document has types to make values for. A missing value would be refused like an invalid document.
  const variables = valid ? requiredVariables(operations[0]) : {};
  try {
    const response = await fetch(new URL("/graphql", baseUrl), {
      body: JSON.stringify({ query, operationName, variables }),
      headers: { accept: "application/graphql-response+json", "content-type": "application/json" },
      method: "POST",
      signal: AbortSignal.timeout(TIMEOUT),
    });
    return readVerdict(response.status, await response.text());
  } catch (error) {
    return { verdict: "no answer", messages: [String(error.cause ?? error)] };
  }
}

function readVerdict(status, text) {
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    return { verdict: `status ${status} without JSON`, messages: [text.slice(0, 200)] };
  }
  const hasData = answer?.data !== undefined;
  const messages = Array.isArray(answer?.errors) ? answer.errors.map((error) => error?.message) : [];
  if (status === 200 && hasData) {
    return { valid: true, verdict: "valid", messages };
  }
  if (status === 400 && !hasData && messages.length > 0) {
    return { valid: false, verdict: "invalid", messages };
  }
  return { verdict: `status ${status} ${hasData ? "with" : "without"} data`, messages };
}

function requiredVariables({ variableDefinitions }) {
  const required = variableDefinitions.filter(
    ({ type, defaultValue }) => type.kind === Kind.NON_NULL_TYPE && !defaultValue,
  );
  return Object.fromEntries(
    required.map(({ variable, type }) => [variable.name.value, dummy(typeFromAST(schema, type))]),
  );
}

/** The smallest value of an input type that is not null. */
function dummy(type) {
  const nullable = getNullableType(type);
  if (isListType(nullable)) {
    return [dummy(nullable.ofType)];
  }
  const named = getNamedType(nullable);
  if (isEnumType(named)) {
    return named.getValues()[0].name;
  }
  if (isInputObjectType(named)) {
    const required = Object.values(named.getFields()).filter(isRequiredInputField);
    return Object.fromEntries(required.map((field) => [field.name, dummy(field.type)]));
  }
  return SCALARS[named.name];
}

function describe(verdict, messages) {
  return messages.length > 0 ? `${verdict} (${messages.join(" | ")})` : verdict;
}

// Sends what clients send from a page of a site that the server lists:
// node listed-site.mjs <base-url> <page-url>

import assert from "node:assert/strict";
import { launch, newPage } from "./browser.mjs";

const [baseUrl, pageUrl] = process.argv.slice(2);
if (!baseUrl || !pageUrl) {
  console.error("Usage: node listed-site.mjs <base-url> <page-url>");
  process.exit(1);
}
const endpoint = new URL("/graphql", baseUrl).href;

// Of Apollo Client, urql, Relay and graphql-request, of their users, and of libraries that trace.
const headers = {
  accept: "application/graphql-response+json, application/json",
  "apollo-require-preflight": "true",
  "apollographql-client-name": "web",
  "apollographql-client-version": "1.0",
  authorization: "Bearer x",
  baggage: "a=b",
  "content-type": "application/json",
  "graphql-client-name": "web",
  "graphql-client-version": "1.0",
  "sentry-trace": "0",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tracestate: "a=b",
  "x-api-key": "x",
  "x-apollo-operation-name": "Heroes",
  "x-csrf-token": "x",
  "x-request-id": "page-1",
};

const browser = await launch();

try {
  const page = await newPage(browser);
  await page.goto(pageUrl);
  const create = 'mutation { createHero(input: {name: "Deadpond", secretName: "Dive Wilson"}) { hero { id } } }';
  const created = await page.evaluate(send, { endpoint, headers, query: create });
  assert.deepEqual(created, {
    status: 200,
    id: "page-1",
    answer: { data: { createHero: { hero: { id: "Hero:1" } } } },
  });
  const listed = await page.evaluate(send, { endpoint, headers, query: "query Heroes { heroes { name } }" });
  assert.deepEqual(listed, { status: 200, id: "page-1", answer: { data: { heroes: [{ name: "Deadpond" }] } } });
  // What is refused can be read, too.
  const refused = await page.evaluate(send, {
    endpoint,
    headers: { ...headers, "content-type": "text/plain" },
    query: create,
  });
  assert.equal(refused.status, 415);
  assert.equal(refused.answer.errors[0].extensions.code, "BAD_USER_INPUT");
  const heroes = listed.answer.data.heroes.map(({ name }) => name);
  console.log(JSON.stringify({ requests: 3, headers: Object.keys(headers).length, heroes }));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}

/** Runs in the page. */
async function send({ endpoint, headers, query }) {
  const response = await fetch(endpoint, { method: "POST", headers, body: JSON.stringify({ query }) });
  return { status: response.status, id: response.headers.get("x-request-id"), answer: await response.json() };
}

// relay-compiler compiles documents against the introspected schema, and Relay's runtime executes them:
// node relay.mjs <base-url>

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { buildClientSchema, getIntrospectionQuery, printSchema } from "graphql";
import { createClient } from "graphql-ws";
import {
  Environment,
  Network,
  Observable,
  RecordSource,
  Store,
  commitMutation,
  fetchQuery,
  getSingularSelector,
  requestSubscription,
} from "relay-runtime";
import WebSocket from "ws";
import { makeFolder, run } from "./folder.mjs";
import { deadpond, input } from "./story.mjs";

const [baseUrl] = process.argv.slice(2);
// Relay says so what is wrong with the objects that it is sent.
console.error = (message) => assert.fail(message);

/** The network layer, as Relay's documentation has it. */
async function send({ text: query }, variables) {
  const response = await fetch(new URL("/graphql", baseUrl), {
    body: JSON.stringify({ query, variables }),
    headers: { accept: "application/graphql-response+json, application/json", "content-type": "application/json" },
    method: "POST",
  });
  return response.json();
}

const { data: introspection } = await send({ text: getIntrospectionQuery() });
const folder = makeFolder({
  "documents.js": readFileSync(path.join(import.meta.dirname, "relay-documents.js"), "utf8"),
  "package.json": { type: "commonjs" },
  "relay.config.json": {
    artifactDirectory: "./artifacts",
    eagerEsModules: false,
    language: "javascript",
    schema: "./schema.graphql",
    src: ".",
  },
  "schema.graphql": printSchema(buildClientSchema(introspection)),
});
mkdirSync(path.join(folder, "artifacts"));
const { status, said } = await run(folder, "relay-compiler");
assert.equal(status, 0, said);
const require = createRequire(path.join(folder, "artifacts/"));
const artifact = (name) => require(`./${name}.graphql.js`);

const sockets = createClient({ url: new URL("/graphql", baseUrl).href.replace("http", "ws"), webSocketImpl: WebSocket });
const subscribe = ({ text: query }, variables) =>
  Observable.create((sink) => sockets.subscribe({ query, variables }, sink));
const network = Network.create(send, subscribe);
// The id of an event is that of its object, which Relay would take for the same object.
const getDataID = ({ id }, type) => (type.endsWith("Event") ? undefined : id);
const environment = new Environment({ getDataID, network, store: new Store(new RecordSource()) });
const query = (name, variables) =>
  fetchQuery(environment, artifact(name), variables, { fetchPolicy: "network-only" }).toPromise();
const mutate = (name, variables) =>
  new Promise((resolve, reject) => {
    commitMutation(environment, {
      mutation: artifact(name),
      variables,
      onCompleted: (data, errors) => resolve({ data, errors }),
      onError: reject,
    });
  });

// The list is there before its objects are, and a mutation puts them into it.
const list = (await query("documentsHeroesQuery", { count: 2 })).team;
assert.equal(list, null);
const { data, errors } = await mutate("documentsCreateHeroMutation", { input });
assert.deepEqual([data, errors], [{ createHero: { hero: deadpond } }, null]);
for (const name of ["Rusty-Man", "Spider-Boy"]) {
  await mutate("documentsCreateHeroMutation", { input: { name, secretName: "?", teams: { connect: ["Team:1"] } } });
}

// Pages of a connection below an object, joined by Relay: the further ones are asked of `node`.
const fragment = artifact("documentsTeam_team");
const read = (reference) => environment.lookup(getSingularSelector(fragment, reference)).data;
let { team } = await query("documentsHeroesQuery", { count: 2 });
let page = read(team);
const names = ({ heroesConnection }) => heroesConnection.edges.map(({ node }) => node.name);
assert.deepEqual(
  [page.name, page.heroesConnection.totalCount, names(page)],
  ["Preventers", 3, ["Deadpond", "Rusty-Man"]],
);
assert.equal(page.heroesConnection.pageInfo.hasNextPage, true);
await query("TeamHeroesPaginationQuery", { id: page.id, count: 2, cursor: page.heroesConnection.pageInfo.endCursor });
page = read(team);
assert.deepEqual(
  [names(page), page.heroesConnection.pageInfo.hasNextPage],
  [["Deadpond", "Rusty-Man", "Spider-Boy"], false],
);

// Each hero is told once it is created. A client does not tell when the server has subscribed.
const told = [];
const subscription = requestSubscription(environment, {
  subscription: artifact("documentsHeroesSubscription"),
  variables: {},
  onNext: ({ heroChanged }) => told.push(heroChanged.hero.name),
  onError: (error) => told.push(error.message),
});
while (told.length === 0) {
  await mutate("documentsCreateHeroMutation", { input: { name: "Anybody", secretName: "?" } });
}

// A new object goes to the end of the connection without being asked for.
await mutate("documentsAppendHeroMutation", {
  input: { name: "Black Lion", secretName: "?", teams: { connect: ["Team:1"] } },
  connections: [page.heroesConnection.__id],
});
assert.deepEqual(names(read(team)), ["Deadpond", "Rusty-Man", "Spider-Boy", "Black Lion"]);
while (told.at(-1) !== "Black Lion") {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
assert.ok(told.slice(0, -1).every((name) => name === "Anybody"), told.join());
subscription.dispose();
await sockets.dispose();
({ team } = await query("documentsHeroesQuery", { count: 9 }));
assert.deepEqual(names(read(team)), ["Deadpond", "Rusty-Man", "Spider-Boy", "Black Lion"]);

// Errors come with their codes.
for (const [name, message, extensions] of [
  ["", "`input.name` must not be blank", { code: "BAD_USER_INPUT", argumentPath: ["input", "name"] }],
  ["A", 'there is no Team with the id "Team:9"', { code: "NOT_FOUND", argumentPath: ["input", "teams", "connect", 0] }],
]) {
  const refused = await mutate("documentsCreateHeroMutation", {
    input: { name, secretName: "?", teams: { connect: ["Team:9"] } },
  });
  assert.deepEqual(refused.data, { createHero: null });
  assert.deepEqual(
    refused.errors.map(({ message, extensions }) => [message, extensions]),
    [[message, extensions]],
  );
}
console.log(JSON.stringify({ heroes: names(read(team)) }));

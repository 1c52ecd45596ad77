// Clients subscribe, as their documentation has it: node subscriptions.mjs <base-url>

import assert from "node:assert/strict";
import { ApolloClient, InMemoryCache, gql } from "@apollo/client/core";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient as createSseClient } from "graphql-sse";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [baseUrl] = process.argv.slice(2);
const url = new URL("/graphql", baseUrl).href;
const socketUrl = url.replace("http", "ws");
const CREATE = "mutation($input: CreateHeroInput!) { createHero(input: $input) { hero { id name } } }";
const SUBSCRIPTION = "subscription($after: String) { heroChanged(after: $after) { cursor change hero { name } } }";

let created = 0;
const passed = [];
const makeSocketClient = () => createClient({ url: socketUrl, webSocketImpl: WebSocket });

/** Creates a hero without a client. */
async function create() {
  created += 1;
  const body = JSON.stringify({ query: CREATE, variables: { input: { name: `Hero ${created}`, secretName: "?" } } });
  await fetch(url, { body, headers: { "content-type": "application/json" }, method: "POST" });
}

/** What a client is told: each hero once, in their order. */
class Events {
  values = [];
  error;
  add = ({ data, errors }) => (errors ? this.fail(errors) : this.values.push(data.heroChanged));
  fail = (error) => (this.error ??= error);

  /** Waits until there are so many. */
  async until(number, step) {
    while (this.values.length < number) {
      assert.equal(this.error, undefined);
      await (step?.() ?? new Promise((resolve) => setTimeout(resolve, 10)));
    }
  }
}

/** Subscribes by a function that gives another one, which ends the subscription. */
async function check(name, subscribe) {
  const events = new Events();
  const end = subscribe(events);
  // A client does not tell when the server has subscribed.
  await events.until(1, create);
  for (let times = 0; times < 5; times += 1) {
    await create();
  }
  const [{ hero: first }] = events.values;
  const expected = created - Number(first.name.split(" ")[1]) + 1;
  await events.until(expected);
  const names = events.values.map(({ hero }) => hero.name);
  assert.deepEqual(names, Array.from({ length: expected }, (_, index) => `Hero ${created - expected + 1 + index}`));
  assert.ok(events.values.every(({ change }) => change === "CREATED"));
  await end();
  assert.equal(events.error, undefined);
  passed.push(name);
  return events.values;
}

// graphql-ws, with queries and mutations over the same socket.
const sockets = makeSocketClient();
const values = await check("graphql-ws", (events) => {
  const sink = { complete: () => {}, error: events.fail, next: events.add };
  return sockets.subscribe({ query: SUBSCRIPTION }, sink);
});
const one = async (client, payload) => {
  for await (const result of client.iterate(payload)) {
    return result;
  }
};
assert.deepEqual(await one(sockets, { query: "{ hero(id: 1) { name } }" }), { data: { hero: { name: "Hero 1" } } });
const refused = await one(sockets, { query: "{ nothing }" }).catch((errors) => errors);
assert.equal(refused[0].extensions.code, "BAD_USER_INPUT");
// It goes on after the last event that it has, on a new socket.
const [, second, ...rest] = values;
const resumed = [];
for await (const { data } of makeSocketClient().iterate({ query: SUBSCRIPTION, variables: { after: second.cursor } })) {
  resumed.push(data.heroChanged);
  if (resumed.length === rest.length) {
    break;
  }
}
assert.deepEqual(resumed, rest);
await sockets.dispose();

// graphql-sse, likewise.
const streams = createSseClient({ url });
await check("graphql-sse", (events) => {
  const sink = { complete: () => {}, error: events.fail, next: events.add };
  return streams.subscribe({ query: SUBSCRIPTION }, sink);
});
assert.deepEqual(await one(streams, { query: "{ hero(id: 1) { name } }" }), { data: { hero: { name: "Hero 1" } } });
const written = await one(streams, { query: CREATE, variables: { input: { name: "Written", secretName: "?" } } });
assert.equal(written.data.createHero.hero.name, "Written");
assert.equal((await one(streams, { query: "{ nothing }" })).errors[0].extensions.code, "BAD_USER_INPUT");
streams.dispose();

// Apollo Client over WebSocket.
const apolloSockets = makeSocketClient();
const apollo = new ApolloClient({ cache: new InMemoryCache(), link: new GraphQLWsLink(apolloSockets) });
await check("apollo", (events) => {
  const next = ({ data, error }) => (error ? events.fail(error) : events.add({ data }));
  const subscription = apollo.subscribe({ query: gql(SUBSCRIPTION) }).subscribe({ error: events.fail, next });
  return () => subscription.unsubscribe();
});
await apolloSockets.dispose();

// urql over WebSocket, and over Server-Sent Events by its fetch.
const urqlSockets = makeSocketClient();
const forwardSubscription = ({ query, variables }) => ({
  subscribe: (sink) => ({ unsubscribe: urqlSockets.subscribe({ query, variables }, sink) }),
});
for (const [name, options] of [
  ["urql", { exchanges: [subscriptionExchange({ forwardSubscription })] }],
  ["urql by fetch", { exchanges: [fetchExchange], fetchSubscriptions: true }],
]) {
  const client = new Client({ url, ...options });
  await check(name, (events) => {
    const next = ({ data, error }) => (error ? events.fail(error) : events.add({ data }));
    return client.subscription(SUBSCRIPTION, {}).subscribe(next).unsubscribe;
  });
}
await urqlSockets.dispose();
console.log(JSON.stringify({ passed }));
process.exit(0);

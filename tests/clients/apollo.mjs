// Apollo Client, as it is and with persisted queries: node apollo.mjs <base-url>

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { operation, play } from "./story.mjs";

const [baseUrl] = process.argv.slice(2);
const uri = new URL("/graphql", baseUrl).href;
const client = makeClient(new HttpLink({ uri }));

const said = await play(async (document, variables) => {
  const parsed = gql(document);
  const isMutation = parsed.definitions[0].operation === "mutation";
  const { data, error } = isMutation
    ? await client.mutate({ mutation: parsed, variables })
    : await client.query({ query: parsed, variables });
  if (error !== undefined && !CombinedGraphQLErrors.is(error)) {
    throw error;
  }
  return { data, errors: error?.errors };
});

// The document is sent once, and else its hash alone, in a URL.
const requests = [];
const http = new HttpLink({
  fetch: (url, options) => {
    requests.push(options.method);
    return fetch(url, options);
  },
  uri,
});
const sha256 = (document) => createHash("sha256").update(document).digest("hex");
const persisted = makeClient(new PersistedQueryLink({ sha256, useGETForHashedQueries: true }).concat(http));
for (const limit of [1, 2, 3]) {
  const { data } = await persisted.query({ query: gql(operation("Heroes")), variables: { limit } });
  assert.equal(data.heroes.length, limit);
}
assert.deepEqual(requests, ["GET", "POST", "GET", "GET"]);
console.log(JSON.stringify(said));

function makeClient(link) {
  return new ApolloClient({
    cache: new InMemoryCache(),
    defaultOptions: { mutate: { errorPolicy: "all" }, query: { errorPolicy: "all", fetchPolicy: "network-only" } },
    link,
  });
}

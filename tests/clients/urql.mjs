// urql: node urql.mjs <base-url>

import { Client, cacheExchange, fetchExchange } from "@urql/core";
import { play } from "./story.mjs";

const [baseUrl] = process.argv.slice(2);
const client = new Client({
  exchanges: [cacheExchange, fetchExchange],
  requestPolicy: "network-only",
  url: new URL("/graphql", baseUrl).href,
});

const said = await play(async (document, variables) => {
  const result = document.startsWith("mutation")
    ? await client.mutation(document, variables).toPromise()
    : await client.query(document, variables).toPromise();
  if (result.error?.networkError) {
    throw result.error.networkError;
  }
  return { data: result.data, errors: result.error?.graphQLErrors };
});
console.log(JSON.stringify(said));

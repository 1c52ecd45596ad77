// Apollo Client: node apollo.mjs <base-url>

import { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { play } from "./story.mjs";

const [baseUrl] = process.argv.slice(2);
const client = new ApolloClient({
  cache: new InMemoryCache(),
  defaultOptions: { mutate: { errorPolicy: "all" }, query: { errorPolicy: "all", fetchPolicy: "network-only" } },
  link: new HttpLink({ uri: new URL("/graphql", baseUrl).href }),
});

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
console.log(JSON.stringify(said));

// graphql-request: node request.mjs <base-url>

import { ClientError, GraphQLClient } from "graphql-request";
import { play } from "./story.mjs";

const [baseUrl] = process.argv.slice(2);
const client = new GraphQLClient(new URL("/graphql", baseUrl).href);

const said = await play(async (document, variables) => {
  try {
    return await client.rawRequest(document, variables);
  } catch (error) {
    if (!(error instanceof ClientError)) {
      throw error;
    }
    return error.response;
  }
});
console.log(JSON.stringify(said));

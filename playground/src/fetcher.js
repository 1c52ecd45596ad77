import { createClient } from "graphql-ws";

/** Sends one operation to the endpoint beside this page, which a proxy may serve below a path. */
export function fetcher(operation, { headers, documentAST } = {}) {
  return isSubscription(operation, documentAST) ? subscribe(operation, headers) : send(operation, headers);
}

function isSubscription({ operationName }, document) {
  const operations = document?.definitions.filter(({ kind }) => kind === "OperationDefinition") ?? [];
  const asked = operations.find(({ name }) => !operationName || name?.value === operationName);
  return asked?.operation === "subscription";
}

/** The answers of a subscription as they come. The socket is closed with it. */
function subscribe(operation, headers) {
  const url = new URL("graphql", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return createClient({ connectionParams: { headers }, url: url.href }).iterate(operation);
}

async function send(operation, headers) {
  const response = await fetch("graphql", {
    body: JSON.stringify(operation),
    headers: {
      accept: "application/graphql-response+json, application/json",
      "content-type": "application/json",
      ...headers,
    },
    method: "POST",
  });
  const answer = await response.text();
  try {
    return JSON.parse(answer);
  } catch {
    // A proxy or a limit answers in plain text, which says more than a JSON syntax error.
    throw new Error(`${response.status} ${response.statusText} ${answer}`.trim());
  }
}

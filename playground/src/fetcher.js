/** Sends one operation to the endpoint beside this page, which a proxy may serve below a path. */
export async function fetcher(operation, { headers } = {}) {
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

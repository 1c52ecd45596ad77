// Audits the server against the GraphQL over HTTP specification:
// node audits.mjs <base-url>

import { serverAudits } from "graphql-http";

const [baseUrl] = process.argv.slice(2);
if (!baseUrl) {
  console.error("Usage: node audits.mjs <base-url>");
  process.exit(1);
}

// What fails of a MUST is an error, of a SHOULD a warning, and of a MAY a notice.
const counts = { audits: 0, ok: 0, notice: 0, warn: 0, error: 0 };

for (const audit of serverAudits({ url: new URL("/graphql", baseUrl).href, fetchFn: fetch })) {
  const { status, reason } = await run(audit);
  counts.audits += 1;
  counts[status] += 1;
  if (status !== "ok") {
    console.log(`${status} ${audit.id} ${audit.name}: ${reason}`);
  }
}

console.log(JSON.stringify(counts));
if (counts.ok !== counts.audits) {
  process.exitCode = 1;
}

/** Runs one audit. It throws when there is no answer at all, which is an error like any other here. */
async function run(audit) {
  try {
    return await audit.fn();
  } catch (error) {
    return { status: "error", reason: String(error.cause ?? error) };
  }
}

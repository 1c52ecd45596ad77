// Uses the playground of a server that asks who one is, in a headless Chromium:
// node access.mjs <base-url> <screenshot.png> <key-with-read> <key-with-secrets>

import assert from "node:assert/strict";
import { launch, newPage, shownAnswer } from "./browser.mjs";

const [baseUrl, screenshot, reader, insider] = process.argv.slice(2);
if (!insider) {
  console.error("Usage: node access.mjs <base-url> <screenshot.png> <key-with-read> <key-with-secrets>");
  process.exit(1);
}
const browser = await launch();

try {
  const page = await newPage(browser, { viewport: { width: 1400, height: 900 } });
  await page.goto(baseUrl);
  await page.locator(".graphiql-query-editor .monaco-editor").waitFor();
  const refusal = page.locator(".refusal");
  await refusal.waitFor();
  const said = await refusal.textContent();
  await page.screenshot({ path: screenshot });

  await open(page, "SecretNames");
  const anonymous = await execute(page);
  await sendHeaders(page, { authorization: `Bearer ${reader}` });
  await page.getByRole("button", { name: "Re-fetch GraphQL schema" }).click();
  await refusal.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
  await page.locator(".graphiql-doc-explorer").getByText("Mutation", { exact: true }).waitFor();

  const forbidden = await execute(page);
  await sendHeaders(page, { "x-api-key": insider });
  const allowed = await execute(page);

  const kept = await page.evaluate(() => JSON.stringify(localStorage));
  assert.match(kept, /SecretNames/, "Nothing is kept.");
  assert.ok(![reader, insider].some((key) => kept.includes(key)), `A key is kept: ${kept}`);
  await page.reload();
  await refusal.waitFor();

  const codes = ({ errors }) => errors.map(({ extensions }) => extensions.code);
  console.log(
    JSON.stringify({ said, anonymous: codes(anonymous), forbidden: codes(forbidden), heroes: allowed.data.heroes }),
  );
} catch (error) {
  console.error(["The playground with access fails:", error.message].join("\n"));
  process.exitCode = 1;
} finally {
  await browser.close();
}

/** Opens a tab, and waits for GraphiQL to read its query. */
async function open(page, title) {
  await page.locator(".graphiql-tab-button", { hasText: title }).click();
  await page.waitForFunction(() => {
    const query = __MONACO.editor.getModels().find(({ uri }) => uri.path.endsWith("operation.graphql"));
    return localStorage.getItem("graphiql:query") === query.getValue();
  });
}

/** Sends these headers with the requests of the tab. */
async function sendHeaders(page, headers) {
  await page.getByRole("button", { name: "Headers", exact: true }).click();
  await page.evaluate((text) => {
    const model = __MONACO.editor.getModels().find(({ uri }) => uri.path.endsWith("request-headers.json"));
    model.setValue(text);
  }, JSON.stringify(headers));
}

/** Executes the tab, and reads its answer. */
async function execute(page) {
  await page.evaluate(() => {
    __MONACO.editor.getModels().find(({ uri }) => uri.path.endsWith("response.json")).setValue("");
  });
  await page.getByRole("button", { name: "Execute query" }).click();
  return shownAnswer(page);
}

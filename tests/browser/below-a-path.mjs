// Uses the playground below a path of a reverse proxy, in a headless Chromium:
// node below-a-path.mjs <base-url> <screenshot.png>

import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { launch, newPage, shownAnswer, until } from "./browser.mjs";

const [baseUrl, screenshot] = process.argv.slice(2);
if (!baseUrl || !screenshot) {
  console.error("Usage: node below-a-path.mjs <base-url> <screenshot.png>");
  process.exit(1);
}
const PATH = "/tools/heroes";
const faults = [];

// It passes on what is below the path, without the path, and knows nothing else.
const proxy = createServer((incoming, outgoing) => {
  const url = new URL(incoming.url, baseUrl);
  if (url.pathname !== PATH && !url.pathname.startsWith(`${PATH}/`)) {
    outgoing.writeHead(404).end();
    return;
  }
  url.pathname = url.pathname.slice(PATH.length);
  const passedOn = request(url, { method: incoming.method, headers: incoming.headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.pipe(outgoing);
  });
  passedOn.on("error", () => outgoing.destroy());
  incoming.pipe(passedOn);
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const address = `http://127.0.0.1:${proxy.address().port}${PATH}`;

const browser = await launch();

try {
  const page = await newPage(browser, { viewport: { width: 1400, height: 900 } });
  // Without the slash, the page goes to where its files are below it.
  await page.goto(`${address}?a#b`);
  await page.waitForURL(`${address}/?a#b`);

  page.on("pageerror", (error) => faults.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") {
      faults.push(`console: ${message.text()}`);
    }
  });
  page.on("response", (response) => {
    if (response.status() >= 400) {
      faults.push(`status ${response.status()}: ${response.url()}`);
    }
  });
  await page.goto(`${address}/`);
  await page.locator(".graphiql-query-editor .monaco-editor").waitFor();
  await page.getByRole("button", { name: "Execute query" }).click();
  const { data } = await shownAnswer(page);

  // The schema was asked for, too, by the page and by a click.
  await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
  await page.locator(".graphiql-doc-explorer").getByText("Mutation", { exact: true }).waitFor();
  await page.screenshot({ path: screenshot });
  const [schema] = await Promise.all([page.waitForEvent("popup"), page.getByTitle("The schema in SDL").click()]);
  await schema.waitForURL(`${address}/schema.graphql`);
  assert.match(await schema.locator("body").textContent(), /^type Hero implements Node {$/m);

  const favicon = await page.evaluate(async () => {
    const image = new Image();
    image.src = document.querySelector("link[rel=icon]").href;
    await image.decode();
    return image.src;
  });
  assert.equal(favicon, `${address}/favicon.svg`);
  const workers = () => page.workers().map((worker) => worker.url());
  await until(() => workers().some((url) => url.includes("graphql.worker")), "GraphQL has no web worker.", faults);
  assert.ok(
    workers().every((url) => url.startsWith(`${address}/playground/`)),
    workers().join(),
  );
  assert.deepEqual(faults, []);
  console.log(JSON.stringify({ heroes: data.createHeroes.heroes.map(({ name }) => name) }));
} catch (error) {
  console.error(["The playground below a path fails:", error.message, ...faults].join("\n"));
  process.exitCode = 1;
} finally {
  await browser.close();
  proxy.close();
  proxy.closeAllConnections();
}

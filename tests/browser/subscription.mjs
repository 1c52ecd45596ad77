// Types a subscription into the playground, and sees what happens on the server:
// node subscription.mjs <base-url> <screenshot.png>

import assert from "node:assert/strict";
import { launch, newPage, shownAnswer, until } from "./browser.mjs";

const [baseUrl, screenshot] = process.argv.slice(2);
const SUBSCRIPTION = "subscription { heroChanged { change hero { name } } }";

const faults = [];
const sockets = [];
const browser = await launch();
try {
  const page = await newPage(browser, { viewport: { width: 1400, height: 900 } });
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("websocket", (socket) => {
    const seen = { url: socket.url(), sent: [], received: [], isOpen: true };
    socket.on("framesent", ({ payload }) => seen.sent.push(payload));
    socket.on("framereceived", ({ payload }) => seen.received.push(payload));
    socket.on("close", () => (seen.isOpen = false));
    sockets.push(seen);
  });
  await page.goto(baseUrl);
  await page.locator(".graphiql-query-editor .monaco-editor").waitFor();
  await page.getByRole("button", { name: "New tab" }).click();
  await page.locator(".graphiql-query-editor .monaco-editor").click();
  await page.keyboard.insertText(SUBSCRIPTION);
  await page.waitForFunction((query) => localStorage.getItem("graphiql:query") === query, SUBSCRIPTION);
  await page.getByRole("button", { name: "Execute query" }).click();
  await until(() => sockets.some(({ sent }) => sent.some((text) => text.includes("heroChanged"))), "Nothing is sent.", faults);

  // The server may subscribe a moment after it was asked to.
  let heroes = 0;
  const isEvent = (text) => text.includes('"heroChanged"');
  await until(
    () => {
      if (sockets[0].received.some(isEvent)) {
        return true;
      }
      heroes += 1;
      void create(`Hero ${heroes}`);
      return false;
    },
    "No event comes.",
    faults,
  );
  const { data } = await shownAnswer(page);
  assert.equal(data.heroChanged.change, "CREATED");
  assert.match(data.heroChanged.hero.name, /^Hero \d+$/);
  await page.screenshot({ path: screenshot });
  await page.getByRole("button", { name: "Stop query" }).click();
  await until(() => sockets.every(({ isOpen }) => !isOpen), "The socket stays open.", faults);
  assert.deepEqual(faults, []);
  console.log(JSON.stringify({ sockets: sockets.map(({ url }) => new URL(url).pathname) }));
} finally {
  await browser.close();
}

async function create(name) {
  await fetch(new URL("/graphql", baseUrl), {
    body: JSON.stringify({
      query: "mutation($input: CreateHeroInput!) { createHero(input: $input) { hero { id } } }",
      variables: { input: { name, secretName: "?" } },
    }),
    headers: { "content-type": "application/json" },
    method: "POST",
  });
}

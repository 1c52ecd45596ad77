// Tries to write from a page of another site, in every way that a browser knows without asking first:
// node cross-site.mjs <base-url>

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { launch, newPage } from "./browser.mjs";

const [baseUrl] = process.argv.slice(2);
if (!baseUrl) {
  console.error("Usage: node cross-site.mjs <base-url>");
  process.exit(1);
}
const endpoint = new URL("/graphql", baseUrl).href;
const query = 'mutation { createHero(input: {name: "Forged", secretName: "Nobody"}) { hero { id } } }';

// Another port of the same machine is another origin, and "localhost" another site than 127.0.0.1.
const foreign = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html>"));
await new Promise((resolve) => foreign.listen(0, "127.0.0.1", resolve));
const browser = await launch();

try {
  const page = await newPage(browser);
  const seen = [];
  // Playwright tells of answers that the page itself may not read.
  page.on("response", (response) => {
    if (response.url().startsWith(endpoint)) {
      seen.push(`${response.request().method()} ${response.status()}`);
    }
  });
  await page.goto(`http://localhost:${foreign.address().port}/`);

  const fetched = await page.evaluate(fetchInEveryWay, { endpoint, query });
  assert.ok(fetched.every((outcome) => outcome === "failed" || outcome === "opaque"), `A page reads: ${fetched}.`);
  for (const enctype of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
    const { status } = await submit(page, enctype);
    assert.equal(status, 415, `A form of the type ${enctype} is answered with ${status}.`);
  }
  const link = await page.goto(`${endpoint}?query=${encodeURIComponent(query)}`);
  assert.equal(link.status(), 405, `A link that writes is answered with ${link.status()}.`);

  const heroes = await (await fetch(`${endpoint}?query={heroCount:heroes{name}}`)).json();
  assert.deepEqual(heroes, { data: { heroCount: [] } }, "A page of another site has written.");
  console.log(JSON.stringify({ attempts: fetched.length + 4, answers: seen.sort() }));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
  foreign.close();
}

/** Runs in the page. What comes back of each attempt is what the page gets to see. */
async function fetchInEveryWay({ endpoint, query }) {
  const body = JSON.stringify({ query });
  const url = `${endpoint}?query=${encodeURIComponent(query)}`;
  const post = (mode, type, content = body) =>
    fetch(endpoint, { method: "POST", mode, credentials: "include", headers: type ? { "content-type": type } : {}, body: content });
  const attempts = [
    () => post("cors", "application/json"),
    () => post("no-cors", "application/json"),
    () => post("cors", "text/plain"),
    () => post("no-cors", "text/plain"),
    () => post("no-cors", "text/plain; application/json"),
    () => post("no-cors", "application/x-www-form-urlencoded", new URLSearchParams({ query })),
    () => post("no-cors", undefined, new Blob([body])),
    () => fetch(url, { mode: "cors" }),
    () => fetch(url, { mode: "no-cors" }),
    () => Promise.resolve(navigator.sendBeacon(endpoint, body)).then(() => ({ type: "opaque" })),
    () => new Promise((resolve) => Object.assign(new Image(), { src: url, onerror: resolve })).then(() => ({ type: "opaque" })),
  ];
  const outcomes = [];
  for (const attempt of attempts) {
    outcomes.push(await attempt().then(({ type }) => type, () => "failed"));
  }
  return outcomes;
}

/** Submits a form as a page that was opened by a careless click would. */
async function submit(page, enctype) {
  await page.goto(`http://localhost:${foreign.address().port}/`);
  const navigated = page.waitForResponse((response) => response.url() === endpoint);
  await page.evaluate(
    ({ endpoint, enctype, body }) => {
      const form = Object.assign(document.createElement("form"), { action: endpoint, enctype, method: "post" });
      // As text/plain the name and the value are joined to one JSON object.
      form.append(Object.assign(document.createElement("input"), { name: `${body.slice(0, -1)},"x":"`, value: '"}' }));
      document.body.append(form);
      form.submit();
    },
    { endpoint, enctype, body: JSON.stringify({ query }) },
  );
  await page.waitForURL(endpoint);
  return { status: (await navigated).status() };
}

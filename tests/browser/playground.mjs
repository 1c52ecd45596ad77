// Uses the playground the way a newcomer does, in a headless Chromium without internet:
// node playground.mjs <base-url> <screenshot.png>

import assert from "node:assert/strict";
import { launch, newPage, shownAnswer, until } from "./browser.mjs";

const [baseUrl, screenshot] = process.argv.slice(2);
if (!baseUrl || !screenshot) {
  console.error("Usage: node playground.mjs <base-url> <screenshot.png>");
  process.exit(1);
}
const { origin } = new URL(baseUrl);

const TABS = [
  "TutorialStory",
  "HeroesWithTeams",
  "TeamsWithHeroes",
  "HeroById",
  "Filters",
  "Pages",
  "UpdateHero",
  "DeleteHero",
  "NewHeroes",
  "SecretNames",
  "InputError",
];
const HEROES = ["Deadpond", "Rusty-Man", "Spider-Boy"];
const QUERY = "{ heroes { name teams { name } } }";
const WORKERS = ["editor", "graphql", "json"];

const faults = [];
const requests = [];
/** What was loaded as a whole, and what the page has cancelled before it was. */
const loaded = new Set();
const cancelled = new Set();

const browser = await launch("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1");

try {
  console.log(JSON.stringify(await visit()));
} catch (error) {
  console.error(["The playground fails:", error.message, ...faults].join("\n"));
  process.exitCode = 1;
} finally {
  await browser.close();
}

async function visit() {
  const page = await newPage(browser, { viewport: { width: 1400, height: 900 } });
  await watch(page);

  await page.goto(baseUrl);
  const title = await page.title();
  assert.match(title, /Hero Teams/, "The page has no fitting title.");
  const favicon = await loadFavicon(page);

  await page.locator(".graphiql-query-editor .monaco-editor").waitFor();
  const tabs = await tabTitles(page);
  assert.deepEqual(tabs, TABS, "The tabs are not the expected ones.");

  const story = await execute(page);
  const created = story.data?.createHeroes?.heroes?.map(({ name }) => name);
  assert.deepEqual(created, HEROES, `The story answers ${JSON.stringify(story)}.`);
  // A subscription has no answer before something happens: subscription.mjs is about it.
  for (const tab of TABS.slice(1).filter((tab) => tab !== "NewHeroes")) {
    await page.locator(".graphiql-tab-button", { hasText: tab }).click();
    await settle(page);
    const { errors } = await execute(page);
    if (tab === "InputError") {
      assert.equal(errors?.[0]?.extensions?.code, "BAD_USER_INPUT", "The bad input is accepted.");
    } else {
      assert.equal(errors, undefined, `${tab} answers ${JSON.stringify(errors)}.`);
    }
  }

  await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
  await page.locator(".graphiql-doc-explorer").getByText("Mutation", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Hide Documentation Explorer" }).click();

  const suggestion = await typeQuery(page);
  const answer = await execute(page);
  const direct = await post(QUERY);
  assert.ok(direct.data?.heroes?.length === HEROES.length - 1, "A direct request does not find the heroes that are left.");
  assert.deepEqual(answer, direct, "The playground shows another answer than a direct request.");

  await page.getByRole("button", { name: /^Prettify/ }).click();
  await page.locator(".graphiql-query-editor .view-line").nth(3).waitFor();
  await settle(page);
  await page.waitForFunction(() => __MONACO.editor.getModelMarkers({}).length === 0);
  await page.evaluate(() => document.fonts.ready);
  await page.screenshot({ path: screenshot });

  const workers = () => page.workers().map((worker) => new URL(worker.url()).pathname);
  await until(() => workers().some((path) => path.includes("graphql.worker")), "GraphQL has no web worker.", faults);

  await page.waitForFunction(() => {
    const { tabs } = JSON.parse(localStorage.getItem("graphiql:tabState"));
    return tabs.at(-1).query === localStorage.getItem("graphiql:query");
  });
  await page.reload();
  await page.locator(".graphiql-query-editor .monaco-editor").waitFor();
  assert.deepEqual(
    await tabTitles(page),
    [...TABS, "<untitled>"],
    "A returning visitor does not find their own tabs.",
  );
  const isLoaded = (name) => [...loaded].some((url) => url.includes(`/${name}.worker`));
  await until(() => WORKERS.every(isLoaded), "A web worker is not loaded.", faults);
  await until(() => [...cancelled].every((url) => loaded.has(url)), "What was cancelled is not loaded later either.", faults);

  assert.equal(faults.length, 0, "The browser reports faults.");
  return {
    title,
    favicon,
    tabs,
    created,
    suggestion,
    heroes: answer.data.heroes.length,
    workers: workers(),
    requests: requests.length,
  };
}

/** Collects everything that a page in good order does not do. */
async function watch(page) {
  page.on("console", (message) => {
    // GraphiQL and Monaco only warn when one of their parts does not load.
    if (["error", "warning"].includes(message.type())) {
      faults.push(`console: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => faults.push(`page error: ${error.message}`));
  page.on("requestfinished", async (request) => {
    // The page may be closed by now.
    const response = await request.response().catch(() => null);
    if (response?.status() === 200) {
      loaded.add(request.url());
    }
  });
  page.on("requestfailed", (request) => {
    const { errorText } = request.failure();
    // A page that is left, or that ends a worker, cancels what it was loading. That is no fault when it loads it another time.
    if (errorText === "net::ERR_ABORTED") {
      cancelled.add(request.url());
    } else {
      faults.push(`${errorText}: ${request.url()}`);
    }
  });
  page.on("response", (response) => {
    if (response.status() >= 400) {
      faults.push(`status ${response.status()}: ${response.url()}`);
    }
  });
  page.on("request", (request) => {
    requests.push(request.url());
    if (!request.url().startsWith("data:") && new URL(request.url()).origin !== origin) {
      faults.push(`request to another origin: ${request.url()}`);
    }
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", ({ blockedURI, violatedDirective }) => {
      console.error(`${violatedDirective} blocks ${blockedURI}`);
    });
  });
}

/** Decodes the favicon, because headless browsers do not fetch it on their own. */
function loadFavicon(page) {
  return page.evaluate(async () => {
    const image = new Image();
    image.src = document.querySelector("link[rel=icon]").href;
    await image.decode();
    return new URL(image.src).pathname;
  });
}

function tabTitles(page) {
  return page.locator(".graphiql-tab-button").allTextContents();
}

/** Waits for GraphiQL to read the changed query, because until then it executes under the old name. */
function settle(page) {
  return page.waitForFunction(() => {
    const query = __MONACO.editor.getModels().find(({ uri }) => uri.path.endsWith("operation.graphql"));
    return localStorage.getItem("graphiql:query") === query.getValue();
  });
}

/** Executes the current tab, which has no answer yet, and reads its answer. */
async function execute(page) {
  await page.getByRole("button", { name: "Execute query" }).click();
  return shownAnswer(page);
}

/** Types the query by keyboard into a new tab, and returns what autocompletion offers on the way. */
async function typeQuery(page) {
  await page.getByRole("button", { name: "New tab" }).click();
  await page.locator(".graphiql-query-editor .monaco-editor").click();
  const halfway = QUERY.indexOf("oes");
  await page.keyboard.type(QUERY.slice(0, halfway));
  const row = page.locator(".suggest-widget.visible .monaco-list-row", { hasText: "heroes" });
  await row.first().waitFor();
  const suggestion = await row.first().getAttribute("aria-label");
  await page.keyboard.type(QUERY.slice(halfway));
  await page.keyboard.press("Escape");
  await settle(page);
  return suggestion;
}

/** Asks the server without the page. */
async function post(query) {
  const response = await fetch(new URL("/graphql", baseUrl), {
    body: JSON.stringify({ query }),
    headers: { "content-type": "application/json" },
    method: "POST",
  });
  return response.json();
}

// A headless Chromium, and how long to wait for it.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

/** For whatever is waited for, on a machine that is busy with something else. */
const TIMEOUT = 120_000;

/** Starts a browser, with more arguments than those that keep it to itself. */
export function launch(...args) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    timeout: TIMEOUT,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...args,
    ],
  });
}

/** A new page, which waits for long, as do those that it opens. */
export async function newPage(browser, options) {
  const page = await browser.newPage(options);
  page.context().setDefaultTimeout(TIMEOUT);
  return page;
}

/** Waits until something is so. Gives up at once when there are faults. */
export async function until(isSo, message, faults) {
  const deadline = Date.now() + TIMEOUT;
  while (!isSo()) {
    assert.ok(Date.now() < deadline && faults.length === 0, message);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The answer that GraphiQL shows, once it is whole. The editor draws only the lines in view, so its model is read. */
export async function shownAnswer(page) {
  const answer = await page.waitForFunction(() => {
    const answer = __MONACO.editor.getModels().find(({ uri }) => uri.path.endsWith("response.json"));
    try {
      return JSON.parse(answer.getValue());
    } catch {
      return null;
    }
  });
  return answer.jsonValue();
}

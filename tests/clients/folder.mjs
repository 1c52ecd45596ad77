// A folder for what tools write, which can import what this folder can, and is removed at the end.

import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** A new folder with these files. */
export function makeFolder(files) {
  const folder = mkdtempSync(path.join(tmpdir(), "hero-teams-clients-"));
  process.on("exit", () => rmSync(folder, { recursive: true }));
  symlinkSync(path.join(import.meta.dirname, "node_modules"), path.join(folder, "node_modules"));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(path.join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return folder;
}

/** Runs a program of a package in a folder, and gives its status and what it said. */
export async function run(folder, program, ...args) {
  const file = path.join(import.meta.dirname, "node_modules/.bin", program);
  try {
    const { stdout, stderr } = await promisify(execFile)(file, args, {
      cwd: folder,
      env: { ...process.env, NO_COLOR: "1", CI: "true" },
    });
    return { status: 0, said: stdout + stderr };
  } catch (error) {
    return { status: error.code, said: `${error.stdout}${error.stderr}` };
  }
}

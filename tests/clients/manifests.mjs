// The tools that write manifests of trusted documents, and clients that send ids instead of documents:
// node manifests.mjs write <folder>; node manifests.mjs send <folder> <base-url>

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { parse, print } from "graphql";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { makeFolder, run } from "./folder.mjs";
import { operation } from "./story.mjs";

const [command, target, baseUrl] = process.argv.slice(2);
await { send, write }[command]();

/** Writes the manifests of three tools into the folder. */
async function write() {
  const schema = path.join(import.meta.dirname, "../../schema.graphql");
  const documents = path.join(import.meta.dirname, "operations.graphql");
  const folder = makeFolder({
    "codegen.json": {
      schema,
      documents: [documents],
      generates: { "gql/": { preset: "client", presetConfig: { persistedDocuments: { hashAlgorithm: "sha256" } } } },
    },
    "documents.js": readFileSync(path.join(import.meta.dirname, "relay-documents.js"), "utf8"),
    "package.json": { type: "commonjs" },
    "persisted-query-manifest.config.json": { documents: ["operations/*.graphql"], output: "apollo.json" },
    "relay.json": {},
    "relay.config.json": {
      artifactDirectory: "./artifacts",
      eagerEsModules: false,
      language: "javascript",
      persistConfig: { algorithm: "SHA256", file: "./relay.json" },
      schema: "./schema.graphql",
      src: ".",
    },
  });
  copyFileSync(schema, path.join(folder, "schema.graphql"));
  // Apollo's tool wants one operation in a file.
  mkdirSync(path.join(folder, "operations"));
  for (const definition of parse(readFileSync(documents, "utf8")).definitions) {
    writeFileSync(path.join(folder, `operations/${definition.name.value}.graphql`), print(definition));
  }
  mkdirSync(path.join(folder, "artifacts"));
  for (const [program, ...args] of [
    ["generate-persisted-query-manifest"],
    ["graphql-codegen", "--config", "codegen.json"],
    ["relay-compiler"],
  ]) {
    const { status, said } = await run(folder, program, ...args);
    assert.equal(status, 0, `${program}: ${said}`);
  }
  copyFileSync(path.join(folder, "apollo.json"), path.join(target, "apollo.json"));
  copyFileSync(path.join(folder, "gql/persisted-documents.json"), path.join(target, "codegen.json"));
  copyFileSync(path.join(folder, "relay.json"), path.join(target, "relay.json"));
  const artifacts = path.join(folder, "artifacts");
  const { params } = createRequire(`${artifacts}/`)(
    `./${readdirSync(artifacts).find((name) => name.startsWith("documentsHeroesQuery"))}`,
  );
  assert.equal(params.text, null);
  writeFileSync(path.join(target, "relay-id"), params.id);
  console.log(JSON.stringify({ written: 3 }));
}

/** Sends ids to a server that executes nothing else. */
async function send() {
  const endpoint = new URL("/graphql", baseUrl).href;
  const manifest = (name) => JSON.parse(readFileSync(path.join(target, name), "utf8"));
  const post = async (body) => {
    const headers = { accept: "application/graphql-response+json", "content-type": "application/json" };
    const response = await fetch(endpoint, { body: JSON.stringify(body), headers, method: "POST" });
    return { status: response.status, ...(await response.json()) };
  };

  // Apollo Client, with the ids of its manifest.
  const ids = new Map(manifest("apollo.json").operations.map(({ id, name }) => [name, id]));
  const generateHash = (document) => ids.get(document.definitions.find(({ name }) => name)?.name.value);
  const link = new PersistedQueryLink({ generateHash, useGETForHashedQueries: true });
  const cache = new InMemoryCache();
  const apollo = new ApolloClient({ cache, link: link.concat(new HttpLink({ uri: endpoint })) });
  const { data } = await apollo.query({ query: gql(operation("Heroes")), variables: { limit: 2 } });
  assert.equal(data.heroes.length, 2);

  // Relay sends `doc_id`.
  const team = await post({ doc_id: readFileSync(path.join(target, "relay-id"), "utf8"), variables: { count: 5 } });
  assert.equal(team.status, 200, JSON.stringify(team));

  // The client preset sends `documentId`; over a WebSocket as well.
  const [documentId, text] = Object.entries(manifest("codegen.json")).find(([, text]) => /query Heroes\b/.test(text));
  const heroes = await post({ documentId, variables: { limit: 1 } });
  assert.equal(heroes.data.heroes.length, 1);
  assert.match(documentId, /^sha256:/);
  const bare = await post({ documentId: documentId.slice(7), variables: { limit: 1 } });
  assert.deepEqual(bare, heroes);
  assert.equal((await post({ query: text, variables: { limit: 1 } })).status, 200);
  const sockets = createClient({ url: endpoint.replace("http", "ws"), webSocketImpl: WebSocket });
  const results = sockets.iterate({ documentId, query: "", variables: { limit: 1 } });
  assert.deepEqual((await results.next()).value.data, heroes.data);
  await sockets.dispose();

  const refused = await post({ query: "query Heroes { heroes { id secretName } }" });
  assert.equal(refused.status, 403);
  assert.equal(refused.errors[0].extensions.code, "DOCUMENT_NOT_TRUSTED");
  console.log(JSON.stringify({ clients: 3 }));
}

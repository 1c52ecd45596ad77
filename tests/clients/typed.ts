// Uses what graphql-codegen has made of the schema and the operations. That it compiles is half of the test.

import assert from "node:assert/strict";
import { ClientError, GraphQLClient } from "graphql-request";
import { CreateHeroDocument, HeroesDocument, NodesDocument, type HeroPartsFragment } from "./operations.js";
import type { CreateHeroInput } from "./schema.js";

const client = new GraphQLClient(process.argv[2]!);

const input: CreateHeroInput = {
  name: "Deadpond",
  secretName: "Dive Wilson",
  teams: { create: [{ name: "Z-Force", headquarters: "Sister Margaret's Bar" }], connect: null },
};
const { createHero } = await client.request(CreateHeroDocument, { input });
const hero: HeroPartsFragment | null | undefined = createHero?.hero;
const age: number | null | undefined = hero?.age;
assert.deepEqual(
  { ...hero, age },
  {
    id: "Hero:1",
    name: "Deadpond",
    age: null,
    secretName: "Dive Wilson",
    teams: [{ id: "Team:1", name: "Z-Force" }],
  },
);

const { heroes } = await client.request(HeroesDocument, { where: { name: { startsWith: "Dead", ignoreCase: true } } });
assert.deepEqual(
  heroes.map(({ id, teams }) => [id, teams.length]),
  [["Hero:1", 1]],
);
const { nodes } = await client.request(NodesDocument, { ids: ["Hero:1", "Team:1", "Team:2"] });
assert.deepEqual(nodes, [{ id: "Hero:1", age: null }, { id: "Team:1", headquarters: "Sister Margaret's Bar" }, null]);

// What the schema refuses is refused by the compiler, and by the server all the same.
const codes: unknown[] = [];
for (const send of [
  // @ts-expect-error The secret name is missing.
  () => client.request(CreateHeroDocument, { input: { name: "A" } }),
  // @ts-expect-error An age is a number.
  () => client.request(CreateHeroDocument, { input: { name: "A", secretName: "B", age: "old" } }),
  // @ts-expect-error There is no such filter.
  () => client.request(HeroesDocument, { where: { villain: true } }),
  // @ts-expect-error Ids are not null.
  () => client.request(NodesDocument, { ids: [null] }),
  () => client.request(CreateHeroDocument, { input: { name: "", secretName: "B" } }),
  () => client.request(CreateHeroDocument, { input: { name: "A", secretName: "B", teams: { connect: ["9"] } } }),
]) {
  await send().catch((error: unknown) => {
    assert.ok(error instanceof ClientError);
    codes.push(...(error.response.errors ?? []).map(({ extensions }) => extensions?.["code"]));
  });
}
assert.deepEqual(codes, [...Array(5).fill("BAD_USER_INPUT"), "NOT_FOUND"]);
console.log(JSON.stringify({ heroes: heroes.length, codes: codes.length }));

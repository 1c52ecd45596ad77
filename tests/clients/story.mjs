// What each client is made to do, and what it must be answered: queries, a nested mutation, pages, each kind of error.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Kind, parse, print, visit } from "graphql";

const operations = parse(readFileSync(new URL("operations.graphql", import.meta.url), "utf8"));

export const input = {
  name: "Deadpond",
  secretName: "Dive Wilson",
  teams: {
    create: [
      { name: "Preventers", headquarters: "Sharp Tower" },
      { name: "Z-Force", headquarters: "Sister Margaret's Bar" },
    ],
  },
};
const teams = [
  { id: "Team:1", name: "Preventers" },
  { id: "Team:2", name: "Z-Force" },
];
export const deadpond = { id: "Hero:1", name: "Deadpond", age: null, teams };

// More than a kilobyte, so that the answer is compressed.
const others = Array.from({ length: 40 }, (_, index) => ({
  name: `Hero ${index + 10}`,
  secretName: "Nobody",
  age: index,
}));
others[0].teams = { connect: ["2"], connectOrCreate: [{ name: "Preventers", headquarters: "Sharp Tower" }] };
const heroes = [
  deadpond,
  ...others.map((hero, index) => ({
    id: `Hero:${index + 2}`,
    name: hero.name,
    age: hero.age,
    teams: hero.teams ? teams : [],
  })),
];

/** The document of an operation, with the fragments that it uses. */
export function operation(name) {
  const definition = operations.definitions.find((definition) => definition.name.value === name);
  const spreads = [];
  visit(definition, { FragmentSpread: (spread) => void spreads.push(spread.name.value) });
  const fragments = operations.definitions.filter(
    ({ kind, name }) => kind === Kind.FRAGMENT_DEFINITION && spreads.includes(name.value),
  );
  return print({ kind: Kind.DOCUMENT, definitions: [definition, ...fragments] });
}

/** Plays the story. `send` takes a document and its variables, and gives data and errors as the client has them. */
export async function play(send) {
  const steps = [
    [
      operation("CreateHero"),
      { input },
      { data: { createHero: { hero: { ...deadpond, secretName: "Dive Wilson" } } } },
    ],
    [
      operation("CreateHeroes"),
      { input: others },
      { data: { createHeroes: { heroes: heroes.slice(1).map(({ id }) => ({ id })) } } },
    ],
    [operation("Heroes"), {}, { data: { heroes } }],
    [operation("Heroes"), { where: null, limit: 2 }, { data: { heroes: heroes.slice(0, 2) } }],
    [
      operation("Heroes"),
      { where: { teams: { some: { name: { startsWith: "Z" } } } } },
      { data: { heroes: heroes.slice(0, 2) } },
    ],
    // Each fault of the input, and nothing written.
    [
      operation("CreateHero"),
      { input: { name: " ", secretName: "", teams: { connect: ["Hero:1"] } } },
      {
        data: { createHero: null },
        errors: [
          fault("`input.name` must not be blank", ["createHero"], ["input", "name"]),
          fault("`input.secretName` must not be blank", ["createHero"], ["input", "secretName"]),
          fault(
            '"Hero:1" is the id of a Hero, where one of a Team is expected: "Team:1" or "1"',
            ["createHero"],
            ["input", "teams", "connect", 0],
          ),
        ],
      },
    ],
    [
      operation("CreateHero"),
      { input: { name: "A", secretName: "B", teams: { connect: ["Team:9"] } } },
      {
        data: { createHero: null },
        errors: [
          fault('there is no Team with the id "Team:9"', ["createHero"], ["input", "teams", "connect", 0], "NOT_FOUND"),
        ],
      },
    ],
    // Data and an error beside it.
    [
      operation("Nodes"),
      { ids: ["Hero:1", "Villain:1", "Team:1", "Team:9"] },
      {
        data: { nodes: [{ id: "Hero:1", age: null }, null, { id: "Team:1", headquarters: "Sharp Tower" }, null] },
        errors: [fault('"Villain:1" is not a global id; write "Hero:1" or "Team:1"', ["nodes", 1], ["ids", 1])],
      },
    ],
    // What is not executed has no data.
    [
      "{ villains { name } }",
      {},
      {
        errors: [{ message: "type `Query` does not have a field `villains`", extensions: { code: "BAD_USER_INPUT" } }],
      },
    ],
    [
      operation("Heroes"),
      { where: { name: 7 } },
      {
        errors: [
          {
            message: "`$where.name` must be of the type StringFilter, not 7",
            extensions: { code: "BAD_USER_INPUT", variablePath: ["where", "name"] },
          },
        ],
      },
    ],
  ];
  for (const [document, variables, expected] of steps) {
    assert.deepEqual(plain(await send(document, variables)), expected, document);
  }
  const first = plain(await send(operation("HeroPage"), { first: 1 })).data.heroesConnection;
  const { cursor } = first.edges[0];
  assert.deepEqual(first, {
    totalCount: 41,
    pageInfo: { hasNextPage: true, endCursor: cursor },
    edges: [{ cursor, node: { name: "Deadpond" } }],
  });
  const second = plain(await send(operation("HeroPage"), { first: 40, after: cursor })).data.heroesConnection;
  assert.deepEqual(
    second.edges.map(({ node }) => node.name),
    heroes.slice(1).map(({ name }) => name),
  );
  assert.deepEqual([second.totalCount, second.pageInfo.hasNextPage], [41, false]);
  return { steps: steps.length + 2 };
}

function fault(message, path, argumentPath, code = "BAD_USER_INPUT") {
  return { message, path, extensions: { code, argumentPath } };
}

/** An answer without what a client adds to it, and without places in a document that it has printed itself. */
function plain({ data, errors }) {
  const answer = {};
  if (data !== undefined && data !== null) {
    answer.data = withoutTypeNames(data);
  }
  if (errors !== undefined) {
    answer.errors = errors.map(({ message, path, extensions }) =>
      path ? { message, path, extensions } : { message, extensions },
    );
  }
  return answer;
}

function withoutTypeNames(value) {
  if (Array.isArray(value)) {
    return value.map(withoutTypeNames);
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  const fields = Object.entries(value).filter(([name]) => name !== "__typename");
  return Object.fromEntries(fields.map(([name, value]) => [name, withoutTypeNames(value)]));
}

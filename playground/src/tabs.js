import tutorialStory from "./tabs/tutorial-story.graphql";
import heroesWithTeams from "./tabs/heroes-with-teams.graphql";
import teamsWithHeroes from "./tabs/teams-with-heroes.graphql";
import heroById from "./tabs/hero-by-id.graphql";
import filters from "./tabs/filters.graphql";
import pages from "./tabs/pages.graphql";
import updateHero from "./tabs/update-hero.graphql";
import deleteHero from "./tabs/delete-hero.graphql";
import newHeroes from "./tabs/new-heroes.graphql";
import secretNames from "./tabs/secret-names.graphql";
import inputError from "./tabs/input-error.graphql";

// GraphiQL titles a tab with the name of its operation.
export const tabs = [
  { query: tutorialStory },
  { query: heroesWithTeams },
  { query: teamsWithHeroes },
  { query: heroById, variables: JSON.stringify({ id: "Hero:1" }, null, 2) },
  { query: filters },
  { query: pages, variables: JSON.stringify({ after: null }, null, 2) },
  { query: updateHero },
  { query: deleteHero, variables: JSON.stringify({ id: "Hero:3" }, null, 2) },
  { query: newHeroes },
  { query: secretNames },
  { query: inputError },
];

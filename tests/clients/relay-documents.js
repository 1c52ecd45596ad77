// Documents for relay-compiler, which reads them and not what is around them.
const { graphql } = require("relay-runtime");

graphql`
  query documentsHeroesQuery($count: Int!) {
    team(id: 1) {
      ...documentsTeam_team @arguments(count: $count)
    }
  }
`;

graphql`
  fragment documentsTeam_team on Team
  @argumentDefinitions(count: { type: "Int", defaultValue: 10 }, cursor: { type: "String" })
  @refetchable(queryName: "TeamHeroesPaginationQuery") {
    id
    name
    heroesConnection(first: $count, after: $cursor) @connection(key: "documentsTeam_heroesConnection") {
      __id
      totalCount
      pageInfo {
        hasNextPage
        endCursor
      }
      edges {
        cursor
        node {
          id
          name
        }
      }
    }
  }
`;

graphql`
  mutation documentsCreateHeroMutation($input: CreateHeroInput!) {
    createHero(input: $input) {
      hero {
        id
        name
        age
        teams(orderBy: [{ field: NAME }]) {
          id
          name
        }
      }
    }
  }
`;

graphql`
  mutation documentsAppendHeroMutation($input: CreateHeroInput!, $connections: [ID!]!) {
    createHero(input: $input) {
      heroEdge @appendEdge(connections: $connections) {
        cursor
        node {
          id
          name
        }
      }
    }
  }
`;

graphql`
  subscription documentsHeroesSubscription {
    heroChanged(changes: [CREATED]) {
      cursor
      hero {
        id
        name
      }
    }
  }
`;

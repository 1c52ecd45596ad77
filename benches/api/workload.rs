//! What is measured.

use crate::{by_hand, data};

/// A question, or the one thing that is written.
pub enum Workload {
    Read(Read),
    /// A hero with a new and an existing team, in one transaction.
    CreateHero,
}

/// A question with one parameter.
pub struct Read {
    pub name: &'static str,
    pub query: &'static str,
    /// The parameter in the query. In the statement it is `?1`.
    pub variable: &'static str,
    /// The value of the parameter in the n-th call.
    pub value: fn(i64) -> i64,
    pub sql: &'static str,
    /// The objects in the answer.
    pub objects: usize,
}

/// All that is measured. The write comes last, because it changes the data.
pub const WORKLOADS: [Workload; 8] = [
    Workload::Read(Read {
        name: "one hero by id",
        query: "query($id: ID!) { hero(id: $id) { id name age } }",
        variable: "id",
        // Neighbours in time are not neighbours in the file.
        value: |n| n * 7_919 % data::HEROES + 1,
        sql: by_hand::HERO,
        objects: 1,
    }),
    Workload::Read(Read {
        name: "50 heroes with their teams",
        query: "query($limit: Int!) { heroes(limit: $limit) { id name teams { id name headquarters } } }",
        variable: "limit",
        value: |_| 50,
        sql: by_hand::HEROES_WITH_TEAMS,
        objects: 50 + 50 * 3,
    }),
    Workload::Read(Read {
        name: "5 teams with their 60 heroes each with their teams",
        query: "query($limit: Int!) { teams(limit: $limit) { id name heroes { id name teams { id name } } } }",
        variable: "limit",
        value: |_| 5,
        sql: by_hand::TEAMS_WITH_HEROES_WITH_TEAMS,
        objects: 5 + 5 * 60 + 5 * 60 * 3,
    }),
    Workload::Read(Read {
        name: "1,000 heroes",
        query: "query($limit: Int!) { heroes(limit: $limit) { id name age } }",
        variable: "limit",
        value: |_| 1_000,
        sql: by_hand::HEROES,
        objects: 1_000,
    }),
    Workload::Read(Read {
        name: "the first 100 heroes aged 30 to 40 by name",
        query: "query($limit: Int!) { heroes(limit: $limit, where: {age: {gte: 30, lte: 40}}, orderBy: {field: NAME}) {
            id name age } }",
        variable: "limit",
        value: |_| 100,
        sql: by_hand::HEROES_BY_AGE,
        objects: 100,
    }),
    Workload::Read(Read {
        name: "the first 10 heroes by name of each of 100 teams",
        query: "query($limit: Int!) { teams(limit: $limit) { id name
            heroes(limit: 10, orderBy: {field: NAME}) { id name } } }",
        variable: "limit",
        value: |_| 100,
        sql: by_hand::TEAMS_WITH_FIRST_HEROES,
        objects: 100 + 100 * 10,
    }),
    Workload::Read(Read {
        name: "the heroes of a team by a filter through the relation",
        query: "query($limit: Int!) { heroes(limit: $limit, where: {teams: {some: {name: {eq: \"Team 7\"}}}}) { id \
                name age } }",
        variable: "limit",
        value: |_| 100,
        sql: by_hand::HEROES_OF_TEAM,
        objects: 60,
    }),
    Workload::CreateHero,
];

impl Workload {
    /// The name in the report. It is also the name of Criterion's folder, so it is short and without marks.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read(read) => read.name,
            Self::CreateHero => "createHero with a new and an existing team",
        }
    }
}

/// One of the two ways to an answer.
pub trait Side: Clone + Send + Sync + 'static {
    const NAME: &'static str;

    /// The answer to a question, with the parameter of the n-th call.
    fn read(&self, read: &Read, n: i64) -> impl Future<Output = Vec<u8>> + Send;

    /// Creates the n-th hero.
    fn create_hero(&self, n: i64) -> impl Future<Output = Vec<u8>> + Send;

    /// The answer to the n-th call.
    fn answer(&self, workload: &Workload, n: i64) -> impl Future<Output = Vec<u8>> + Send {
        async move {
            match workload {
                Workload::Read(read) => self.read(read, n).await,
                Workload::CreateHero => self.create_hero(n).await,
            }
        }
    }
}

/// A hero that both sides create in the same way.
pub struct NewHero {
    pub name: String,
    pub secret_name: String,
    pub age: i64,
    /// The name of the new team.
    pub team_name: String,
    pub headquarters: String,
    /// The key of the existing team.
    pub team_id: i64,
}

impl NewHero {
    /// The hero of the n-th call.
    pub fn new(n: i64) -> Self {
        Self {
            name: format!("New hero {n}"),
            secret_name: format!("New secret {n}"),
            age: n % 100,
            team_name: format!("New team {n}"),
            headquarters: format!("New street {n}"),
            team_id: n % data::TEAMS + 1,
        }
    }
}

//! The rows: missions, the links between missions and heroes, and the links between heroes who mentor and their pupils.

use entity::hero;
use sea_orm::entity::prelude::*;

pub mod mission {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "mission")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub title: String,
        pub year: Option<i32>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod hero_mission_link {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "hero_mission_link")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub hero_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub mission_id: i64,
        #[sea_orm(belongs_to, from = "hero_id", to = "id", on_delete = "Cascade")]
        pub hero: BelongsTo<entity::hero::Entity>,
        #[sea_orm(belongs_to, from = "mission_id", to = "id", on_delete = "Cascade")]
        pub mission: BelongsTo<super::mission::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod mentorship {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "mentorship")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub mentor_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub pupil_id: i64,
        #[sea_orm(belongs_to, relation_enum = "Mentor", from = "mentor_id", to = "id", on_delete = "Cascade")]
        pub mentor: BelongsTo<entity::hero::Entity>,
        #[sea_orm(belongs_to, relation_enum = "Pupil", from = "pupil_id", to = "id", on_delete = "Cascade")]
        pub pupil: BelongsTo<entity::hero::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The path from a row through its links to the rows on the other side.
macro_rules! path {
    ($name:ident, $from:ty => $to:ty, $near:expr, $far:expr) => {
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Linked for $name {
            type FromEntity = $from;
            type ToEntity = $to;

            fn link(&self) -> Vec<RelationDef> {
                vec![$near.def().rev(), $far.def()]
            }
        }
    };
}

use hero_mission_link::Relation::{Hero, Mission};
use mentorship::Relation::{Mentor, Pupil};

path!(MissionsOfHero, hero::Entity => mission::Entity, Hero, Mission);
path!(HeroesOfMission, mission::Entity => hero::Entity, Mission, Hero);
path!(MentorsOfHero, hero::Entity => hero::Entity, Pupil, Mentor);
path!(PupilsOfHero, hero::Entity => hero::Entity, Mentor, Pupil);

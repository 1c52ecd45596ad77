//! Events, and the subscriptions to them.

use super::{
    item::{Item, Types, item, value},
    order::symbol,
};
use crate::{
    schema::{Entity, Link, Relation, links, with_article, words},
    store::event::Change,
};

const SUBSCRIPTION: &str = "The subscription root of the API: events of what was committed.

A subscription receives each event once, in one order, which is the same on all servers. Events of what \
was committed before it began are not received, unless `after` says where to go on. A client that reads too slowly is \
told so with `SLOW_CONSUMER`, and none of the events in between is lost if it goes on after its last cursor. \
Subscriptions are answered over WebSocket (`graphql-transport-ws`) and as `text/event-stream`.";

const CURSOR: &str = "The position of the event, for `after`. An opaque value.";

pub fn register(types: &mut Types, entities: &[&'static Entity]) {
    let mut fields = Vec::new();
    for entity in entities {
        fields.push(subscription_of_entity(entity));
        register_entity(types, entity);
    }
    for (entity, relation) in links(entities) {
        fields.push(subscription_of_link(relation));
        register_link(types, entity, relation);
    }
    types.object("Subscription", SUBSCRIPTION, fields);
    let changes = Change::OF_OBJECTS.map(|change| {
        value(
            change.as_str(),
            match change {
                Change::Created => "The object was created.",
                Change::Updated => "Fields of the object itself were changed, not its links.",
                _ => "The object was deleted.",
            },
        )
    });
    types.enumeration("Change", "What happened to an object.", changes.into());
}

/// The name of the subscription to the events of an entity or a link: `heroChanged`.
#[must_use]
pub fn subscription(one: &str) -> String {
    format!("{one}Changed")
}

/// The name of the field with the id of one of the objects of a link: `heroId`.
#[must_use]
pub fn id_of_side(side: &str) -> String {
    format!("{side}Id")
}

/// The objects of a link, with their nouns, in the order of its columns.
#[must_use]
pub fn sides(entity: &'static Entity, relation: &'static Relation) -> [(&'static str, &'static Entity); 2] {
    let link: &'static Link = relation.link;
    let [first, second] = &link.sides;
    let [to_first, to_second] = link.columns().map(|column| if *column == link.near { entity } else { relation.to });
    [(first, to_first), (second, to_second)]
}

fn after() -> Item {
    item(
        "after",
        "String",
        "Returns only events after this cursor: those that are kept (for an hour unless the server is set otherwise), \
         and then those to come. Only those to come if absent or null. A cursor that is too old is refused with \
         `EVENTS_GONE`: read the objects again, and subscribe without it.",
    )
}

fn changes(ty: &str) -> Item {
    item("changes", format!("[{ty}!]"), "Returns only events of these changes. All if absent or null.")
}

fn subscription_of_entity(entity: &Entity) -> Item {
    let (name, one, many) = (entity.name, entity.noun(), entity.nouns());
    let about = format!("An event for each {one} that was created, updated or deleted.");
    let filter = format!(
        "Returns only events of {many} that match this filter when the event is delivered, and those of deleted \
         {many}, of which only the id is known. All if absent or null."
    );
    item(subscription(entity.one), format!("{name}Event!"), about).with(vec![
        item("where", format!("{name}Filter"), filter),
        changes("Change"),
        after(),
    ])
}

fn subscription_of_link(relation: &Relation) -> Item {
    let link: &Link = relation.link;
    let (name, noun) = (link.name, words(&link.one(), ' '));
    let mut arguments: Vec<Item> = link
        .sides
        .each_ref()
        .map(|side| {
            let about = format!(
                "Returns only events of this {}, and those of {noun}s that were removed from the other side. All if \
                 absent or null.",
                words(side, ' ')
            );
            item(&**side, "ID", about)
        })
        .into();
    arguments.extend([changes(&format!("{name}Change")), after()]);
    let about = format!("An event for each {noun} that was made or ended.");
    item(subscription(&link.one()), format!("{name}Event!"), about).with(arguments)
}

fn register_entity(types: &mut Types, entity: &Entity) {
    let (name, one) = (entity.name, entity.noun());
    let a_one = with_article(&one);
    let fields = format!("{name}Field");
    types.object(
        format!("{name}Event"),
        format!("What happened to {a_one}."),
        vec![
            item("cursor", "String!", CURSOR),
            item("change", "Change!", "What happened."),
            item("id", "ID!", format!("The id of the {one}.")),
            item(
                "fields",
                format!("[{fields}!]"),
                "The fields that were changed, of those that the client may read. Null unless the change is `UPDATED`.",
            ),
            item(
                entity.one,
                name,
                format!("The {one} as it is when the event is delivered. Null if it does not exist any more."),
            ),
        ],
    );
    let values =
        entity.columns.iter().map(|column| value(symbol(column.field), column.about).requires(column.requires));
    types.enumeration(&fields, format!("The fields of {a_one} itself."), values.collect());
}

fn register_link(types: &mut Types, entity: &'static Entity, relation: &'static Relation) {
    let link: &Link = relation.link;
    let (name, noun) = (link.name, words(&link.one(), ' '));
    let a_link = with_article(&noun);
    let sides = sides(entity, relation);
    let mut fields =
        vec![item("cursor", "String!", CURSOR), item("change", format!("{name}Change!"), "What happened.")];
    for (side, _) in &sides {
        let about = format!(
            "The id of the {}. Null if the change is `REMOVED` and the other object was deleted.",
            words(side, ' ')
        );
        fields.push(item(id_of_side(side), "ID", about));
    }
    for (side, entity) in &sides {
        let about = format!(
            "The {} as it is when the event is delivered. Null if it does not exist any more, or its id is null.",
            words(side, ' ')
        );
        fields.push(item(*side, entity.name, about));
    }
    types.object(format!("{name}Event"), format!("What happened to {a_link}, or to all {noun}s of an object."), fields);
    let values = Change::OF_LINKS.map(|change| {
        value(
            change.as_str(),
            match change {
                Change::Linked => format!("The {noun} was made."),
                Change::Unlinked => format!("The {noun} was ended."),
                _ => format!("One of the objects was deleted, with all its {noun}s. One event stands for all of them."),
            },
        )
    });
    types.enumeration(format!("{name}Change"), format!("What happened to {a_link}."), values.into());
}

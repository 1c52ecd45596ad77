//! `hero-teams schema check`: what it says of changes is what GraphQL Inspector says.

use std::{collections::BTreeSet, fs};

use hero_teams::{graphql, schema::HeroTeams};
use serde_json::Value;

use crate::{
    command_line::{refusal, run, stdout},
    node,
};

/// Other versions of the schema, by what is replaced in it.
const CHANGES: [(&str, &str); 20] = [
    // Fields of objects.
    ("type Team implements Node {\n", "type Team implements Node {\n\tmotto: String\n"),
    ("type TeamEdge {\n\t\"", "type TeamEdge {\n\told: Int @deprecated(reason: \"old\")\n\t\""),
    ("\tcursor: String!\n", "\tcursor: String\n"),
    ("\tcursor: String!\n", "\tcursor: [String!]!\n"),
    // Fields of inputs.
    ("\theadquarters: String!\n", "\toffice: String!\n"),
    ("\theadquarters: String!\n", "\theadquarters: String\n"),
    ("\tage: Int\n", "\tage: Int!\n"),
    ("\tage: Int\n", "\tage: String\n"),
    ("\tage: Int\n", "\tage: Int = 7\n"),
    ("input CreateTeamInput {\n", "input CreateTeamInput {\n\tmotto: String\n"),
    // Arguments.
    ("\t\tlimit: Int = 100,", "\t\tlimit: Int! = 100,"),
    ("\t\tlimit: Int = 100,", "\t\tlimit: Int = 10,"),
    ("\t\tlimit: Int = 100,", "\t\tlimit: Int = 100,\n\t\tsince: Int,"),
    ("\t\tlimit: Int = 100,", "\t\tsince: Int = 100,"),
    // Types.
    ("type Team implements Node {", "interface Named { id: ID! }\ntype Team implements Node & Named {"),
    ("enum HeroOrderField {\n", "enum HeroOrderField {\n\tSHOE_SIZE\n"),
    ("enum Change {\n", "enum Change {\n\tMOVED\n"),
    ("type Query {\n", "type Old { id: ID! }\ntype Query {\n\told: Old!\n"),
    ("type Query {\n", "union Both = Hero | Team\ntype Query {\n\tboth: Both!\n"),
    ("type Query {\n", "directive @old(a: Int) on FIELD\ntype Query {\n"),
];

#[test]
fn an_old_schema_that_is_not_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for (text, fault) in [
        ("type Query {\n  a: Foo\n}\n", "at line 2, column 6: cannot find type `Foo` in this document"),
        ("type Query {\n", "at line 1, column 14: syntax error: expected Field Definition"),
        ("type Query { a: }", "at line 1, column 17: syntax error: expected a Type"),
    ] {
        fs::write(folder.join("old.graphql"), text).expect("it is written");
        let refused = refusal(&run(folder, &["schema", "check", "old.graphql"]));
        assert_eq!(refused, format!("error: the old schema is not valid {fault}"));
    }
}

#[test]
fn scopes_that_are_required_break_clients() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let of_hero = "\tsecretName: String! @requiresScopes(scopes: [[\"read:secrets\"]])\n";
    let sdl = graphql::sdl::<HeroTeams>();
    assert!(sdl.contains(of_hero), "{sdl}");
    let has = "breaking: Hero.secretName: it has @requiresScopes(scopes: [[\"read:secrets\"]])\n";
    let safe = has.replace("breaking", "safe");
    for (old, code, said) in [
        ("\tsecretName: String!\n", 1, has),
        ("\tsecretName: String! @requiresScopes(scopes: [[\"read\"]])\n", 1, has),
        ("\tsecretName: String! @requiresScopes(scopes: [[\"read:secrets\"], [\"admin\"]])\n", 1, has),
        ("\tsecretName: String! @requiresScopes(scopes: [[\"read:secrets\", \"admin\"]])\n", 0, &safe),
        (of_hero, 0, ""),
    ] {
        fs::write(folder.join("old.graphql"), sdl.replace(of_hero, old)).expect("it is written");
        let output = run(folder, &["schema", "check", "old.graphql"]);
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()), (Some(code), said));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_judged_as_graphql_inspector_does() {
    let scripts = node::folder("clients");
    if !node::is_ready(&scripts) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let sdl = graphql::sdl::<HeroTeams>();
    let new = folder.path().join("new.graphql");
    fs::write(&new, &sdl).expect("it is written");
    let output = run(folder.path(), &["schema", "check", "new.graphql"]);
    assert_eq!(stdout(&output), "");
    let script = scripts.join("diff.mjs");
    for (number, (from, to)) in CHANGES.into_iter().enumerate() {
        assert!(sdl.contains(from), "{from}");
        let old = folder.path().join("old.graphql");
        fs::write(&old, sdl.replacen(from, to, 1)).expect("it is written");
        let arguments = [script.as_os_str(), old.as_os_str(), new.as_os_str()];
        let inspector = node::output_of("node".as_ref(), &arguments).await;
        let inspector: BTreeSet<String> =
            inspector.as_array().expect("a list").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let output = run(folder.path(), &["schema", "check", "old.graphql"]);
        let said = String::from_utf8(output.stdout.clone()).expect("it is text");
        let ours = said.lines().filter(|line| !line.starts_with("safe: "));
        let ours: BTreeSet<String> =
            ours.map(|line| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ")).collect();
        assert_eq!(ours, inspector, "{number}: {from} -> {to}\n{said}");
        let breaks = ours.iter().any(|change| change.starts_with("breaking"));
        assert_eq!(output.status.code(), Some(i32::from(breaks)), "{output:?}");
        assert!(!said.is_empty(), "{number}");
    }
}

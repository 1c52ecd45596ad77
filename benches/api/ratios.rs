//! The table at the end of a run.
#![expect(clippy::print_stdout, reason = "the table is what the run is for")]

use std::{fs, path::Path, time::SystemTime};

use serde_json::Value;

use crate::{
    bulk,
    by_hand::ByHand,
    graphql::GraphQl,
    loopback, million, pages,
    workload::{Side, WORKLOADS, Workload},
};

/// Prints what has been measured since `start`, as Markdown.
pub fn print(estimates: &Path, start: SystemTime) {
    let names = WORKLOADS.iter().map(Workload::name).chain([pages::GROUP]).chain(bulk::GROUPS).map(str::to_owned);
    let names = names.chain(million::groups());
    let rows: Vec<String> = names
        .filter_map(|name| {
            let group = estimates.join(&name);
            let graphql = microseconds(&group.join(GraphQl::NAME), start)?;
            let by_hand = microseconds(&group.join(ByHand::NAME), start)?;
            let ratio = graphql / by_hand;
            Some(format!("| {name} | {graphql:.1} | {by_hand:.1} | {ratio:.2} |"))
        })
        .collect();
    if !rows.is_empty() {
        println!("| Workload | GraphQL (µs) | By hand (µs) | Ratio |\n|---|--:|--:|--:|\n{}", rows.join("\n"));
    }
    let [kept, not_kept, with_key, with_token] =
        loopback::SERVERS.map(|name| microseconds(&estimates.join(loopback::GROUP).join(name), start));
    if let (Some(kept), Some(not_kept)) = (kept, not_kept) {
        let per_second = |microseconds: f64| 1_000_000.0 / microseconds;
        println!(
            "{}: {:.0} requests/s when documents are kept, {:.0} when they are not: {:.2} times as many",
            loopback::GROUP,
            per_second(kept),
            per_second(not_kept),
            not_kept / kept
        );
    }
    if let (Some(kept), Some(with_key), Some(with_token)) = (kept, with_key, with_token) {
        let (key, token) = (with_key / kept, with_token / kept);
        println!("a request with an API key takes {key:.3} times as long, one with an RS256 token {token:.3} times");
    }
}

/// Criterion's median; none when it comes from an earlier run, because this one was a test or left the workload out.
fn microseconds(folder: &Path, start: SystemTime) -> Option<f64> {
    let path = folder.join("new").join("estimates.json");
    let written = fs::metadata(&path).and_then(|file| file.modified()).ok()?;
    if written < start {
        return None;
    }
    let estimates: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    Some(estimates["median"]["point_estimate"].as_f64()? / 1_000.0)
}

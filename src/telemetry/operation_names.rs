//! The names of operations, of which a bounded number is told apart.

use std::collections::HashSet;

use parking_lot::RwLock;

/// The operation name of an operation that has none.
const ANONYMOUS: &str = "none";
/// The greatest length of a name that is told. Each series of metrics repeats it.
const MAX_LENGTH: usize = 100;
/// The operation name of all operations beyond the bounds.
const OTHER: &str = "other";

/// The names of operations that are told apart.
#[derive(Debug, Default)]
pub struct OperationNames(RwLock<Names>);

#[derive(Debug, Default)]
struct Names {
    /// The names of operations of trusted documents.
    trusted: HashSet<String>,
    /// The first others that came, up to a bound.
    first: HashSet<String>,
}

impl OperationNames {
    /// The name that is told. One that is new is told from now on, if there is room.
    pub fn note<'a>(&self, name: Option<&'a str>, max: usize) -> &'a str {
        let Some(name) = name else { return ANONYMOUS };
        {
            // Clients choose names, so one without room costs no more than one that is told.
            let names = self.0.read();
            if names.has(name) {
                return name;
            }
            if names.first.len() >= max || name.len() > MAX_LENGTH {
                return OTHER;
            }
        }
        let mut names = self.0.write();
        // It may have become known meanwhile.
        if !names.has(name) {
            if names.first.len() >= max {
                return OTHER;
            }
            names.first.insert(name.to_owned());
        }
        name
    }

    /// Has a name told, which takes no room of the others.
    pub fn trust(&self, name: &str) {
        let mut names = self.0.write();
        names.first.remove(name);
        names.trusted.insert(name.to_owned());
    }

    /// The name that is told now.
    pub fn known<'a>(&self, name: Option<&'a str>) -> &'a str {
        let Some(name) = name else { return ANONYMOUS };
        let names = self.0.read();
        if names.has(name) { name } else { OTHER }
    }
}

impl Names {
    fn has(&self, name: &str) -> bool {
        self.trusted.contains(name) || self.first.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::OperationNames;

    #[test]
    fn names_are_bounded_in_number_and_length() {
        let (names, long) = (OperationNames::default(), "n".repeat(101));
        assert_eq!(
            ["a", &long, "b", "c", "a"].map(|name| names.note(Some(name), 2)),
            ["a", "other", "b", "other", "a"]
        );
        assert_eq!([names.note(None, 2), names.known(Some("c"))], ["none", "other"]);
        names.trust(&long);
        names.trust("c");
        assert_eq!([&long, "c"].map(|name| names.note(Some(name), 2)), [&*long, "c"]);
    }
}

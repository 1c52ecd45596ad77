//! The scopes that a credential can have, and sets of them.

use std::{fmt, str::FromStr};

/// A permission: what a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Queries.
    Read,
    /// The columns that ask for it, in queries and in payloads, filters and orders.
    ReadSecrets,
    /// Mutations, with their payloads.
    Write,
    /// Documents that are not trusted, where only trusted ones are executed.
    DocumentsBypass,
    /// What the others allow, and what is for administrators.
    Admin,
}

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 5] = [Self::Read, Self::ReadSecrets, Self::Write, Self::DocumentsBypass, Self::Admin];

    /// The name, as in tokens, settings and the schema: `read:secrets`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadSecrets => "read:secrets",
            Self::Write => "write",
            Self::DocumentsBypass => "documents:bypass",
            Self::Admin => "admin",
        }
    }
}

impl Scopes {
    /// No scopes.
    pub const NONE: Self = Self(0);
    /// What everybody may do on a server that asks nobody who they are.
    pub const ALL: Self = Self::NONE.with(Scope::Read).with(Scope::ReadSecrets).with(Scope::Write).with(Scope::Admin);

    /// The same scopes and this one.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u8)
    }

    /// The scopes of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether what asks for this scope is allowed. `admin` allows everything.
    #[must_use]
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }

    /// Whether what asks for all of these scopes is allowed.
    #[must_use]
    pub fn allow_all(self, asked: Self) -> bool {
        asked.iter().all(|scope| self.allow(scope))
    }

    /// Whether the set has this scope itself.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & 1 << scope as u8 != 0
    }

    /// Whether it has no scope.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes in the set.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl FromIterator<Self> for Scopes {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        sets.into_iter().fold(Self::NONE, Self::union)
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| format!("one of {names} is expected"))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// With commas, as in settings: `read,write`.
impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.iter().map(Scope::as_str).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

//! Where the database is, and how it is opened: what a URL says, and what it must not say.

use std::{borrow::Cow, ffi::OsString, net::IpAddr, os::unix::ffi::OsStringExt, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use sea_orm::sqlx::{self, postgres::PgConnectOptions};

/// `sqlite://FILE` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    Sqlite(SqliteUrl),
    Postgres(PostgresUrl),
}

/// The hosts of a PostgreSQL database, in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct PostgresUrl {
    pub hosts: Vec<PgConnectOptions>,
    /// Whether a host that may only be read is passed over (`target_session_attrs=read-write`).
    pub must_write: bool,
}

/// A SQLite file, and what it is opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteUrl {
    pub path: PathBuf,
    pub mode: Mode,
}

/// What a SQLite file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Read,
    Write,
    /// A file that does not exist is created.
    Create,
}

impl DatabaseUrl {
    /// Has a SQLite file that does not exist be an error.
    pub fn must_exist(&mut self) {
        if let Self::Sqlite(SqliteUrl { mode: mode @ Mode::Create, .. }) = self {
            *mode = Mode::Write;
        }
    }
}

const EXPECTED: &str = "sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected";
pub const EXPECTED_POSTGRES: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected";
const NO_FILE: &str = "SQLite needs a file here; name one, such as sqlite://hero-teams.db";
pub const WHICH_HOST: &str =
    "of several hosts, the one that can be written is used; say target_session_attrs=read-write";
const SESSIONS: &str = "`target_session_attrs` is read-write, primary or any";
const LISTS: &str = "there are as many hosts as there are of `host`, of `hostaddr` and of `port`, or one port for all";
const CHARACTERS: &str =
    "characters such as # / ? @ % in a user, a password or a value are written %23 %2F %3F %40 %25";

const SETTINGS: &str = "a setting of PostgreSQL goes into `options`, such as options=-c%20search_path%3Dheroes";

/// The parameters of PostgreSQL.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];
/// Those that may be a list, with a value for each host.
const LISTED: [&str; 3] = ["host", "hostaddr", "port"];
/// Other names for some of them, and one that is SQLx's own.
const MORE_PARAMETERS: [&str; 6] =
    ["ssl-ca", "ssl-cert", "ssl-key", "ssl-mode", "ssl-root-cert", "statement-cache-capacity"];
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        match url.parse() {
            Ok(DatabaseUrl::Postgres(url)) => Ok(url),
            Err(fault) if fault != EXPECTED => Err(fault),
            _ => Err(EXPECTED_POSTGRES.to_owned()),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once(':').ok_or(EXPECTED)?;
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => sqlite(rest).map(Self::Sqlite),
            "postgres" | "postgresql" => postgres(url, rest.strip_prefix("//").ok_or(EXPECTED)?),
            _ => Err(EXPECTED.to_owned()),
        }
    }
}

fn sqlite(rest: &str) -> Result<SqliteUrl, String> {
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    let name: Vec<u8> = percent_decode_str(name.strip_prefix("//").unwrap_or(name)).collect();
    refuse_no_file(&name)?;
    let mut mode = None;
    for (parameter, value) in ::url::form_urlencoded::parse(query.as_bytes()) {
        let value = match (&*parameter, &*value) {
            ("mode", "ro") => Mode::Read,
            ("mode", "rw") => Mode::Write,
            ("mode", "rwc") => Mode::Create,
            _ => return Err("of the parameters of SQLite, `mode` alone is known: ro, rw or rwc".to_owned()),
        };
        if mode.replace(value).is_some() {
            return Err("`mode` comes twice".to_owned());
        }
    }
    Ok(SqliteUrl { path: OsString::from_vec(name).into(), mode: mode.unwrap_or(Mode::Create) })
}

/// Refuses what is not the name of a file, or is one in memory for SQLite, where each connection would have its own.
fn refuse_no_file(name: &[u8]) -> Result<(), String> {
    if name.iter().any(u8::is_ascii_control) {
        return Err("the name of the file has a control character".to_owned());
    }
    if name.starts_with(b"file:") {
        return Err("SQLite's own URIs are not taken; write sqlite://FILE".to_owned());
    }
    match name.rsplit(|byte| *byte == b'/').next().unwrap_or_default().trim_ascii() {
        b"" | b"." | b".." | b":memory:" => Err(NO_FILE.to_owned()),
        _ => Ok(()),
    }
}

/// What follows `postgres://` is looked at first: SQLx ignores what it does not know, and repeats what was sent.
fn postgres(url: &str, rest: &str) -> Result<DatabaseUrl, String> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if rest.contains('#') {
        return Err(CHARACTERS.to_owned());
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    // Or what looks like parameters is a part of the password.
    let is_password = rest.contains('@') && !authority.contains('@');
    let mut parameters: Vec<(Cow<str>, Cow<str>)> = Vec::new();
    let mut session = None;
    for (parameter, value) in ::url::form_urlencoded::parse(query.as_bytes()) {
        check_parameter(&parameter, &value).map_err(|error| if is_password { CHARACTERS.to_owned() } else { error })?;
        if parameters.iter().any(|(other, _)| *other == parameter) {
            return Err(format!("`{parameter}` comes twice"));
        }
        if parameter == "target_session_attrs" {
            session = Some(value.clone());
        }
        parameters.push((parameter, value));
    }
    let must_write = session.is_some_and(|session| session != "any");
    parameters.retain(|(parameter, _)| parameter != "target_session_attrs");
    // SQLx knows one host.
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
    let hosts: Vec<&str> = hosts.split(',').collect();
    let lists = parameters.iter().filter(|(parameter, _)| LISTED.contains(&&**parameter));
    let number = lists.map(|(_, value)| value.split(',').count()).fold(hosts.len(), usize::max);
    let scheme = url.split_once(':').map_or("postgres", |(scheme, _)| scheme);
    let at = if authority.contains('@') { "@" } else { "" };
    let mut options = Vec::with_capacity(number);
    for index in 0..number {
        let mut query = ::url::form_urlencoded::Serializer::new(String::new());
        for (parameter, value) in &parameters {
            let value = if LISTED.contains(&&**parameter) { nth(value, index, number)? } else { value };
            query.append_pair(parameter, value);
        }
        let host = if hosts.len() == 1 { hosts[0] } else { *hosts.get(index).ok_or(LISTS)? };
        let url = format!("{scheme}://{user}{at}{host}{path}?{}", query.finish());
        options.push(PgConnectOptions::from_str(&url).map_err(|error| format!("{}; {CHARACTERS}", cause(&error)))?);
    }
    if number > 1 && !must_write {
        return Err(WHICH_HOST.to_owned());
    }
    Ok(DatabaseUrl::Postgres(PostgresUrl { hosts: options, must_write }))
}

/// The value of a host, in a list of them, or one for all.
fn nth(list: &str, index: usize, number: usize) -> Result<&str, String> {
    let values: Vec<&str> = list.split(',').collect();
    match values.len() {
        1 => Ok(list),
        length if length == number => Ok(values[index]),
        _ => Err(LISTS.to_owned()),
    }
}

fn check_parameter(parameter: &str, value: &str) -> Result<(), String> {
    let all = |is_right: fn(&str) -> bool| value.split(',').all(is_right);
    match parameter {
        "target_session_attrs" if !["read-write", "primary", "any"].contains(&value) => Err(SESSIONS.to_owned()),
        "hostaddr" if !all(|address| address.parse::<IpAddr>().is_ok()) => {
            Err("`hostaddr` is an IP address".to_owned())
        }
        "port" if !all(|port| port.parse().is_ok_and(|port: u16| port > 0)) => {
            Err("`port` is a number from 1 to 65535".to_owned())
        }
        "sslmode" | "ssl-mode" if !SSL_MODES.contains(&value.to_ascii_lowercase().as_str()) => {
            Err(format!("`{parameter}` is one of {}", SSL_MODES.join(", ")))
        }
        "statement-cache-capacity" if value.parse::<u16>().is_err() => {
            Err("`statement-cache-capacity` is a number from 0 to 65535".to_owned())
        }
        parameter if PARAMETERS.contains(&parameter) || MORE_PARAMETERS.contains(&parameter) => Ok(()),
        parameter if parameter.strip_prefix("options[").is_some_and(|name| name.ends_with(']')) => Ok(()),
        parameter if parameter.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) => {
            Err(format!("the parameter `{parameter}` is not known; possible are {}; {SETTINGS}", PARAMETERS.join(", ")))
        }
        // It may be a part of the password.
        _ => Err(CHARACTERS.to_owned()),
    }
}

fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(cause) => cause.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{DatabaseUrl, Mode, PostgresUrl, SqliteUrl};

    fn parse(url: &str) -> Result<DatabaseUrl, String> {
        url.parse()
    }

    #[test]
    fn files() {
        for (url, path, mode) in [
            ("sqlite://heroes.db", "heroes.db", Mode::Create),
            ("sqlite:heroes.db", "heroes.db", Mode::Create),
            ("SQLite:heroes.db?", "heroes.db", Mode::Create),
            ("sqlite:///var/lib/a%20b.db", "/var/lib/a b.db", Mode::Create),
            ("sqlite:/var/lib/c#d.db?mode=rwc", "/var/lib/c#d.db", Mode::Create),
            ("sqlite://100%25%3f.db?mode=ro", "100%?.db", Mode::Read),
            ("sqlite://../é.db?mode=rw", "../é.db", Mode::Write),
            ("sqlite://.hidden", ".hidden", Mode::Create),
        ] {
            let Ok(DatabaseUrl::Sqlite(file)) = parse(url) else { panic!("{url}") };
            assert_eq!(file, SqliteUrl { path: path.into(), mode }, "{url}");
        }
    }

    #[test]
    fn what_names_no_file() {
        for name in [
            "",
            "//",
            "///",
            "////",
            "//?",
            "//?mode=rwc",
            "?mode=rw",
            ":memory:",
            "//:memory:",
            "///:memory:",
            "//%3Amemory%3a",
            "//%3Amemory:?mode=ro",
            "///tmp/:memory:",
            "//%20",
            "// ",
            "///tmp/",
            "//folder/",
            "//.",
            "//..",
            "//./",
            "///tmp/..",
            "//%2e",
            "//%2F",
            "file::memory:?cache=shared",
            "//file:heroes.db",
            "//%66ile:heroes.db",
            "//a%00.db",
            "//%00",
            "//a.db%0A",
            "//a\nb.db",
            "//a.db?mode=memory",
            "//a.db?mode=",
            "//a.db?mode",
            "//a.db?mode=RO",
            "//a.db?mode=ro#",
            "//a.db?cache=shared",
            "//a.db?immutable=1",
            "//a.db?vfs=memdb",
            "//a.db?mode=ro&mode=rwc",
            "//a.db?mode=ro&mode=ro",
            "//a.db?mode=ro?",
            "//a.db?%6dode=memory",
        ] {
            let url = format!("sqlite:{name}");
            assert!(parse(&url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn what_is_no_database() {
        for url in
            ["", "heroes.db", "mysql://a/b", "sqlite", "postgres:heroes", "host=a dbname=b", "file:heroes.db", "://"]
        {
            assert_eq!(
                parse(url).err().as_deref(),
                Some("sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected"),
                "{url}"
            );
        }
    }

    #[test]
    fn parameters_of_postgres() {
        for query in [
            "",
            "?",
            "?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c&sslkey=/k",
            "?host=/run/postgresql&port=5433",
            "?hostaddr=::1&user=a@b&password=c%23&dbname=d",
            "?application_name=mine",
            "?statement-cache-capacity=0",
            "?options=-c%20search_path%3Dfoo",
            "?options%5Bsearch_path%5D=foo",
            "?options[search_path]=foo&options[work_mem]=1MB",
            "?ssl-mode=require",
        ] {
            let url = format!("postgresql://a:b,c@localhost:5432/d{query}");
            assert!(parse(&url).is_ok(), "{url}: {:?}", parse(&url));
        }
        for (query, said) in [
            (
                "search_path=foo",
                "the parameter `search_path` is not known; possible are application_name, dbname, host, ",
            ),
            ("sslmode=on", "`sslmode` is one of disable, allow, prefer, require, verify-ca, verify-full"),
            ("SSLMODE=require", "the parameter `SSLMODE` is not known"),
            ("port=0", "`port` is a number from 1 to 65535"),
            ("port=65536", "`port` is a number from 1 to 65535"),
            ("port=1,2", "of several hosts, the one that can be written is used"),
            ("host=a,b", "of several hosts, the one that can be written is used"),
            ("hostaddr=1.2.3.4,::1", "of several hosts, the one that can be written is used"),
            ("host=a,b&port=1,2,3&target_session_attrs=read-write", "there are as many hosts as there are of"),
            ("port=1,b", "`port` is a number from 1 to 65535"),
            ("hostaddr=localhost", "`hostaddr` is an IP address"),
            ("target_session_attrs=standby", "`target_session_attrs` is read-write, primary or any"),
            ("load_balance_hosts=random", "the parameter `load_balance_hosts` is not known"),
            ("host=a&host=b", "`host` comes twice"),
            ("options[a=b", "characters such as #"),
            ("host=a#b", "characters such as #"),
            ("statement-cache-capacity=many", "`statement-cache-capacity` is a number"),
        ] {
            let error = parse(&format!("postgres://localhost/d?{query}")).expect_err(query);
            assert!(error.starts_with(said), "{query}: {error}");
        }
    }

    #[test]
    fn hosts_of_postgres() {
        for url in ["postgres://a,b/c", "postgres://a:1,b:2/c", "postgres://[::1],[::2]:1/c?target_session_attrs=any"] {
            assert!(parse(url).expect_err(url).starts_with("of several hosts, the one"), "{url}");
        }
        for (url, expected, expected_to_write) in [
            ("postgres://u:p,@a:1,b/c?target_session_attrs=read-write", &[("a", 1), ("b", 5432)][..], true),
            ("postgres://[::1],[::2]:7/c?target_session_attrs=primary", &[("[::1]", 5432), ("[::2]", 7)], true),
            ("postgres://x/c?host=a,b&port=1,2&target_session_attrs=read-write", &[("a", 1), ("b", 2)], true),
            ("postgres:///c?host=a,b&port=3&target_session_attrs=read-write", &[("a", 3), ("b", 3)], true),
            ("postgres://a/c?target_session_attrs=read-write", &[("a", 5432)], true),
            ("postgres://a/c?target_session_attrs=any", &[("a", 5432)], false),
            ("postgres://a/c", &[("a", 5432)], false),
        ] {
            let Ok(DatabaseUrl::Postgres(PostgresUrl { hosts, must_write })) = parse(url) else { panic!("{url}") };
            let hosts: Vec<_> = hosts.iter().map(|host| (host.get_host(), host.get_port())).collect();
            assert_eq!((&hosts[..], must_write), (expected, expected_to_write), "{url}");
        }
        for url in [
            "postgres://",
            "postgres:///d",
            "postgres://%2Frun%2Fpostgresql/d",
            "postgres://[::1]:5432",
            "postgres://a@b",
            "postgres://a:1/d?user=a@b",
        ] {
            assert!(parse(url).is_ok(), "{url}: {:?}", parse(url));
        }
        assert!(
            parse("postgres://a:port/d").expect_err("a port").starts_with("invalid port number; characters such as")
        );
    }

    #[test]
    fn passwords_are_not_repeated() {
        for url in [
            "postgres://u:se#cret@a/d",
            "postgres://u:se/cret@a/d",
            "postgres://u:se?cret@a/d",
            "postgres://u:se?cret=1&cret@a/d",
            "postgres://u:cret,cret@a:cret/d",
            "postgres://u:1?cret=2@a/d",
            "postgres://u:secret@a:1,b/d",
            "mysql://u:cret@a/d",
            "postgres://u:p@a/d?password=secret&sslmode=secret",
            "postgres://u:p@a/d?password=cret#",
            "sqlite://cret?cret=cret",
        ] {
            let error = parse(url).expect_err(url);
            assert!(!error.contains("cret"), "{url}: {error}");
        }
    }
}

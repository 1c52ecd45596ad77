//! How the text of a setting becomes its value, and what is said of a wrong one.

use std::{error::Error, ffi::OsStr, fmt, fs, ops::RangeInclusive, path::Path, str::FromStr, time::Duration};

use clap::{Arg, ValueEnum, builder::TypedValueParser, error::ErrorKind, parser::ValueSource};
use url::Url;

/// The largest number that a setting takes.
const MAX_NUMBER: u64 = 1_000_000_000_000;

/// A setting that is found to be wrong after the command line was parsed. The program ends with the status 2.
#[derive(Debug)]
pub struct WrongSetting(pub String);

impl Error for WrongSetting {}

impl From<anyhow::Error> for WrongSetting {
    fn from(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

impl fmt::Display for WrongSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The value in a file, without white space around it.
pub fn secret<T>(flag: &str, path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, WrongSetting> {
    let text = fs::read_to_string(path)
        .map_err(|error| WrongSetting(format!("{flag}: cannot read {}: {error}", path.display())))?;
    parse(text.trim()).map_err(|expected| WrongSetting(format!("{flag}: {expected}")))
}

/// How the text of a setting becomes its value. White space around it is not part of it.
///
/// A value that is none is named with the flag or the variable that it came from, and with those that are possible. It
/// is not repeated, because it may be a password.
pub struct Setting<T>(pub fn(&str) -> Result<T, String>);

impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Setting<T> {
    type Value = T;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        self.parse_ref_(command, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        _: &clap::Command,
        arg: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<T, clap::Error> {
        let Self(parse) = self;
        let value = value.to_str().ok_or_else(|| "text in UTF-8 is expected".to_owned());
        value.and_then(|value| parse(value.trim())).map_err(|expected| {
            let name = match (source, arg.and_then(Arg::get_env)) {
                (ValueSource::EnvVariable, Some(variable)) => variable.to_string_lossy().into_owned(),
                _ => match arg.and_then(Arg::get_long) {
                    Some(flag) => format!("--{flag}"),
                    None => arg.map(ToString::to_string).unwrap_or_default(),
                },
            };
            clap::Error::raw(ErrorKind::ValueValidation, format!("{name}: {expected}\n"))
        })
    }
}

pub fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err("1, 0, true, false, yes or no is expected".to_owned()),
    }
}

pub fn one_of<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, true).map_err(|_| {
        let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
        format!("one of {} is expected", names.join(", "))
    })
}

pub fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>().map(Duration::try_from_secs_f64) {
        Ok(Ok(duration)) if duration <= Duration::from_hours(24) => Ok(duration),
        _ => Err("a number of seconds from 0 to 86400 is expected".to_owned()),
    }
}

pub fn some_seconds(text: &str) -> Result<Duration, String> {
    let duration = seconds(text).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "a number of seconds from 0.000000001 to 86400 is expected".to_owned())
}

pub fn number<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    number_from(text, 0..=MAX_NUMBER)
}

pub fn some_number<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    number_from(text, 1..=MAX_NUMBER)
}

pub fn batch(text: &str) -> Result<usize, String> {
    number_from(text, 1..=10_000)
}

pub fn number_from<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number)).and_then(|number| number.try_into().ok());
    number.ok_or_else(|| format!("a number from {} to {} is expected", range.start(), range.end()))
}

/// A URL with a host, of the scheme http or https.
pub fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The same, without a user and a password.
#[must_use]
pub fn http_url_without_user(text: &str) -> Option<Url> {
    http_url(text).filter(|url| url.username().is_empty() && url.password().is_none())
}

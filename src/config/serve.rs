//! The settings of the server.

use std::{net::IpAddr, time::Duration};

use clap::Args;
use ipnet::IpNet;

use super::{
    host_name::HostName,
    listen_address::ListenAddress,
    origin::Origin,
    setting::{Setting, flag, parsed, seconds, some_number, some_seconds},
};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServeSettings {
    /// Address and port to listen on, or unix:PATH for a socket file
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_LISTEN",
        default_value = "127.0.0.1:8000",
        value_name = "ADDRESS:PORT",
        value_parser = Setting(parsed::<ListenAddress>)
    )]
    pub listen: ListenAddress,
    /// Listen where other machines can reach the server, also without authentication
    #[arg(long, global = true, env = "HERO_TEAMS_INSECURE", value_parser = Setting(flag))]
    pub insecure: bool,
    /// Host name that the server answers for, besides localhost; one or several with commas, repeatable
    #[arg(
        long = "allowed-host",
        global = true,
        env = "HERO_TEAMS_ALLOWED_HOSTS",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = Setting(parsed::<HostName>)
    )]
    pub allowed_hosts: Vec<HostName>,
    /// Origin of a site whose pages may use the API; one or several with commas, repeatable
    #[arg(
        long = "cors-origin",
        global = true,
        env = "HERO_TEAMS_CORS_ORIGINS",
        value_name = "https://HOST",
        value_delimiter = ',',
        value_parser = Setting(parsed::<Origin>)
    )]
    pub cors_origins: Vec<Origin>,
    /// Network of proxies whose Forwarded and X-Forwarded-* headers count; one or several with commas, repeatable
    #[arg(
        long = "trusted-proxy",
        global = true,
        env = "HERO_TEAMS_TRUSTED_PROXIES",
        value_name = "NETWORK",
        value_delimiter = ',',
        value_parser = Setting(network)
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// Apply no migrations, and refuse to serve a database with pending ones
    #[arg(long, global = true, env = "HERO_TEAMS_NO_MIGRATE", value_parser = Setting(flag))]
    pub no_migrate: bool,
    /// Seconds for running requests to finish when the server is stopped
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_SHUTDOWN_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(seconds)
    )]
    pub shutdown_timeout: Duration,
    /// Seconds for the headers of a request, from its first byte or the start of the connection
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_HEADER_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub header_timeout: Duration,
    /// Seconds for which an idle connection is kept
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_IDLE_TIMEOUT",
        default_value = "75",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub idle_timeout: Duration,
    /// Seconds for the body of a request
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_BODY_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub body_timeout: Duration,
    /// Seconds for the execution of a request
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_REQUEST_TIMEOUT",
        default_value = "10",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub request_timeout: Duration,
    /// Seconds for which a client may read nothing of its answer
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_WRITE_TIMEOUT",
        default_value = "30",
        value_name = "SECONDS",
        value_parser = Setting(some_seconds)
    )]
    pub write_timeout: Duration,
    /// Maximum number of bytes in the body of a request
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_BODY_BYTES",
        default_value = "1048576",
        value_name = "BYTES",
        value_parser = Setting(some_number::<usize>)
    )]
    pub max_body_bytes: usize,
    /// Maximum number of GraphQL requests that are executed at once; more are refused with 503
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_REQUESTS",
        default_value = "512",
        value_name = "NUMBER",
        value_parser = Setting(some_number::<usize>)
    )]
    pub max_requests: usize,
    /// Maximum number of connections; more wait
    #[arg(
        long,
        global = true,
        env = "HERO_TEAMS_MAX_CONNECTIONS",
        default_value = "4096",
        value_name = "NUMBER",
        value_parser = Setting(some_number::<usize>)
    )]
    pub max_connections: usize,
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>());
    network.map_err(|_| "a network is expected, such as 10.0.0.0/8 or 192.0.2.1".to_owned())
}

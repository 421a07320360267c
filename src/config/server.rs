//! Section `server`: where and how the server listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Where and how the server listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ServerConfig {
    /// The address of REST, gRPC and dashboard. Default 127.0.0.1:8750; port 0
    /// takes any free one. An address that is not loopback needs `tls-cert` and
    /// `tls-key`, or `behind-proxy`.
    #[schema(value_type = String)]
    pub listen: SocketAddr,
    /// The certificate chain, PEM. Default: none, plain HTTP.
    #[schema(value_type = Option<String>)]
    pub tls_cert: Option<PathBuf>,
    /// The private key of that certificate, PEM.
    #[schema(value_type = Option<String>)]
    pub tls_key: Option<PathBuf>,
    /// Says that something in front of the server speaks TLS to the world, so
    /// that plain HTTP may listen on any address. Default false.
    pub behind_proxy: bool,
    /// Requests that are worked on at once; more wait. Streams count as long as
    /// they begin. Default 1,024.
    pub concurrent_requests: usize,
    /// How long a client may send nothing in the middle of an upload before it
    /// is given up. Default 60 s. There is no limit on an upload as a whole.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String)]
    pub idle_timeout: Duration,
    /// How long a shutdown waits for requests that have begun. Default 30 s;
    /// 0 s cuts them off.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String)]
    pub shutdown_grace: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8750),
            tls_cert: None,
            tls_key: None,
            behind_proxy: false,
            concurrent_requests: 1024,
            idle_timeout: Duration::from_mins(1),
            shutdown_grace: Duration::from_secs(30),
        }
    }
}

impl ServerConfig {
    /// Whether the server speaks TLS itself.
    pub const fn has_tls(&self) -> bool {
        self.tls_cert.is_some() && self.tls_key.is_some()
    }

    /// Tokens never cross a network in the clear unless somebody said that they don't.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(ConfigError::HalfOfTls);
        }
        if !self.listen.ip().is_loopback() && !self.has_tls() && !self.behind_proxy {
            return Err(ConfigError::Exposed { listen: self.listen });
        }
        if self.concurrent_requests == 0 {
            return Err(ConfigError::Zero("server.concurrent-requests"));
        }
        Ok(())
    }
}

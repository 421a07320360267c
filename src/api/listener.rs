//! The port: plain HTTP or TLS, HTTP/1.1 and HTTP/2 on both (gRPC needs it).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig as TlsConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::start::StartError;
use crate::config::ServerConfig;

/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(30);

/// A bound port that nobody serves yet.
pub struct Listener {
    socket: std::net::TcpListener,
    tls: Option<RustlsConfig>,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Listener {
    /// Binds the port and reads the certificate, so that what is wrong is told before anything starts.
    pub fn bind(config: &ServerConfig) -> Result<Self, StartError> {
        let tls = match (&config.tls_cert, &config.tls_key) {
            (Some(cert), Some(key)) => Some(RustlsConfig::from_config(Arc::new(tls(cert, key)?))),
            _ => None,
        };
        let listen = config.listen;
        let busy = |source| StartError::Listen { listen, source };
        let socket = std::net::TcpListener::bind(listen).map_err(busy)?;
        let addr = socket.local_addr().map_err(busy)?;
        Ok(Self { socket, tls, addr })
    }

    /// Whether it speaks TLS.
    pub const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves `router` until `handle` ends it.
    pub async fn serve(self, router: Router, handle: Handle<SocketAddr>) -> std::io::Result<()> {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        if let Some(tls) = self.tls {
            let mut server = axum_server::from_tcp_rustls(self.socket, tls)?.handle(handle);
            server.http_builder().http1().header_read_timeout(HEAD);
            server.first_request_timeout(HEAD).serve(service).await
        } else {
            let mut server = axum_server::from_tcp(self.socket)?.handle(handle);
            server.http_builder().http1().header_read_timeout(HEAD);
            server.first_request_timeout(HEAD).serve(service).await
        }
    }
}

fn tls(cert: &Path, key: &Path) -> Result<TlsConfig, StartError> {
    let wrong = |path: &Path, reason: String| StartError::Certificate {
        path: path.to_owned(),
        reason,
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(cert, error.to_string()))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let mut config = TlsConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|error| wrong(cert, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

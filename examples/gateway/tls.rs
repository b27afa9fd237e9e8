//! Connections to the upstream, with TLS or without, and whom they trust.
//!
//! The time to connect is for all of it: the name, the connection and the handshake. So a server
//! that takes connections and says nothing counts as one that was never reached.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::config::UpstreamPart;

pub type Broken = Box<dyn Error + Send + Sync>;

/// What connects.
pub type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, Broken>;

/// Why it is not known whom to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error(
        "the upstream's ca_file is for an address that begins with https://, and this has none"
    )]
    NoTls,
    #[error("the upstream's ca_file {0}: {1}; accepted: certificates in PEM")]
    File(PathBuf, pem::Error),
    #[error("the upstream's ca_file {0}: a certificate in it is malformed: {1}")]
    Certificate(PathBuf, rustls::Error),
    #[error("the upstream's ca_file {0} has no certificate; accepted: certificates in PEM")]
    Empty(PathBuf),
    #[error(
        "the upstream's address begins with https://, and this system trusts no certificate \
         authority; accepted: its package of them (Debian: ca-certificates), or ca_file in \
         [upstream]"
    )]
    NoRoots,
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Connects to addresses with TLS, or to those without.
pub fn connector(part: &UpstreamPart, tls: bool) -> Result<Connector, TrustError> {
    let roots = match (tls, &part.ca_file) {
        (true, Some(path)) => roots_of_file(path)?,
        (true, None) => roots_of_system()?,
        (false, None) => RootCertStore::empty(),
        // Somebody believes that nobody listens.
        (false, Some(_)) => return Err(TrustError::NoTls),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let time = Duration::from_secs(part.connect_seconds);
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Of several addresses each has its share.
    tcp.set_connect_timeout(Some(time));
    let in_time = HttpsConnector::from((tcp, config))
        .map_future(move |connecting| async move { tokio::time::timeout(time, connecting).await? });
    Ok(BoxCloneSyncService::new(in_time))
}

/// They alone are trusted: whoever has authorities of their own wants no others.
fn roots_of_file(path: &Path) -> Result<RootCertStore, TrustError> {
    let unreadable = |error| TrustError::File(path.to_owned(), error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let added = roots.add(certificate.map_err(unreadable)?);
        added.map_err(|error| TrustError::Certificate(path.to_owned(), error))?;
    }
    if roots.is_empty() {
        return Err(TrustError::Empty(path.to_owned()));
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    // Systems have some that are malformed; what is left out is not trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TrustError::NoRoots);
    }
    Ok(roots)
}

/// What went wrong in TLS, if that is why there is no connection.
pub fn fault<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(fault) = error.downcast_ref() {
            return Some(fault);
        }
        next = match error.downcast_ref::<io::Error>() {
            // Its source is the source of what it wraps.
            Some(wrapper) => wrapper.get_ref().map(|error| error as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

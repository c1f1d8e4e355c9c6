//! TLS from PEM files.

use std::{path::Path, sync::Arc};

use thiserror::Error;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    },
};

use super::TlsFiles;

/// Why TLS cannot be spoken.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("{path} cannot be read as PEM: {reason}")]
    Pem { path: String, reason: pem::Error },
    #[error("{path} has no certificate; it needs the service's own, and those between it and the root")]
    NoCertificate { path: String },
    #[error("the certificates in {certificates} do not go with the key in {key}: {reason}")]
    Unfit {
        certificates: String,
        key: String,
        reason: rustls::Error,
    },
}

impl TlsFiles {
    /// Whether TLS can be spoken with these files.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), TlsError> {
        acceptor(self).map(drop)
    }
}

/// Reads the files.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let unreadable = |path: &Path, reason| TlsError::Pem {
        path: path.display().to_string(),
        reason,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect)
        .map_err(|reason| unreadable(&files.certificates, reason))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            path: files.certificates.display().to_string(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|reason| unreadable(&files.key, reason))?;
    let unfit = |reason| TlsError::Unfit {
        certificates: files.certificates.display().to_string(),
        key: files.key.display().to_string(),
        reason,
    };
    // Named, because other crates of a program may turn on another one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

//! The service over TLS. The certificate in `tls/` is for these tests alone: its key is no secret.

use std::{
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_gateway::{TlsError, TlsFiles};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::{
    client::{connect, head, read},
    site::Plan,
};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/http/tls")
        .join(name)
}

fn files() -> TlsFiles {
    TlsFiles {
        certificates: file("certificate.pem"),
        key: file("key.pem"),
    }
}

#[test]
fn the_service_speaks_tls_and_lets_go_of_who_does_not() {
    let plan = Plan::new().config(|config| config.tls = Some(files()));
    let site = plan
        .limits(|limits| limits.header_time = Duration::from_secs(2))
        .start();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("certificate.pem")).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, connect(site.address));
    let request = head("GET", "/healthz", &[("connection", "close")]);
    stream.write_all(request.as_bytes()).unwrap();
    let answer = read(&mut BufReader::new(stream));
    assert_eq!((answer.status, answer.text()), (200, "ok\n"));

    let begun = Instant::now();
    let mut silent = connect(site.address);
    let mut plain = connect(site.address);
    plain.write_all(request.as_bytes()).unwrap();
    for stream in [&mut silent, &mut plain] {
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(!said.starts_with(b"HTTP"), "{said:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn files_that_are_no_pem_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let tls = |certificates: &Path, key: &Path| TlsFiles {
        certificates: certificates.to_owned(),
        key: key.to_owned(),
    };
    let refused = |files: TlsFiles| files.check().unwrap_err();
    let files = files();
    let error = refused(tls(&empty, &files.key));
    assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
    let error = refused(tls(&files.certificates, &empty));
    assert!(matches!(error, TlsError::Pem { .. }), "{error}");
    let error = refused(tls(&dir.path().join("gone.pem"), &files.key));
    assert!(error.to_string().contains("gone.pem"), "{error}");
    files.check().unwrap();
}

//! The endpoint's certificate: from files, or a development one that is made once and kept.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tickwire_schemas::ALPN;

use super::config::FanoutConfig;

/// A server's side of TLS and how a terminal recognises it.
pub struct ServerTls {
    /// TLS 1.3, our ALPN, the certificate.
    pub config: rustls::ServerConfig,
    /// SHA-256 of the certificate's DER, in hexadecimal.
    pub fingerprint: String,
}

/// Reads the configured certificate, or the development one under `state_dir`, which is made when there is none.
///
/// # Errors
/// One sentence naming the file and what is wrong with it.
pub fn load(config: &FanoutConfig, state_dir: &Path) -> Result<ServerTls, String> {
    let (certificate, key) = if config.certificate.as_os_str().is_empty() {
        let folder = state_dir.join("tls");
        let (certificate, key) = (folder.join("development.pem"), folder.join("development.key"));
        if !certificate.exists() || !key.exists() {
            make(&folder, &certificate, &key)?;
        }
        (certificate, key)
    } else {
        (config.certificate.clone(), config.key.clone())
    };
    let unreadable = |path: &Path, what: &str, error: String| format!("{what} {}: {error}", path.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect)
        .map_err(|e| unreadable(&certificate, "fanout.certificate", e.to_string()))?;
    let Some(leaf) = chain.first() else {
        return Err(unreadable(&certificate, "fanout.certificate", "holds no certificate in PEM".into()));
    };
    let fingerprint = Sha256::digest(leaf).iter().map(|b| format!("{b:02x}")).collect();
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|e| unreadable(&key, "fanout.key", e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| unreadable(&key, "fanout.key", format!("does not fit the certificate: {e}")))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(ServerTls { config, fingerprint })
}

fn make(folder: &Path, certificate: &Path, key: &Path) -> Result<(), String> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
    let made = rcgen::generate_simple_self_signed(names).map_err(|e| format!("development certificate: {e}"))?;
    let write = |path: &Path, text: &str| {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    fs::create_dir_all(folder)
        .and_then(|()| write(key, &made.signing_key.serialize_pem()))
        .and_then(|()| write(certificate, &made.cert.pem()))
        .map_err(|e| format!("development certificate in {}: {e}", folder.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_development_certificate_is_made_once_and_its_key_is_private() {
        let state = tempfile::tempdir().unwrap();
        let first = load(&FanoutConfig::default(), state.path()).unwrap().fingerprint;
        assert_eq!(first.len(), 64);
        assert_eq!(load(&FanoutConfig::default(), state.path()).unwrap().fingerprint, first);
        let key = fs::metadata(state.path().join("tls/development.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_unreadable_certificate_is_one_sentence_with_its_file() {
        let state = tempfile::tempdir().unwrap();
        let with = |certificate: &Path, key: &Path| FanoutConfig {
            certificate: certificate.into(),
            key: key.into(),
            ..FanoutConfig::default()
        };
        let missing = state.path().join("missing.pem");
        let error = load(&with(&missing, &missing), state.path()).err().unwrap();
        assert!(error.starts_with("fanout.certificate ") && error.contains("missing.pem"), "{error}");
        let garbage = state.path().join("garbage.pem");
        fs::write(&garbage, "cheese").unwrap();
        let error = load(&with(&garbage, &garbage), state.path()).err().unwrap();
        assert!(error.contains("garbage.pem: holds no certificate"), "{error}");
        load(&FanoutConfig::default(), state.path()).unwrap();
        let good = state.path().join("tls/development.pem");
        let error = load(&with(&good, &garbage), state.path()).err().unwrap();
        assert!(error.starts_with("fanout.key ") && error.contains("garbage.pem"), "{error}");
    }
}

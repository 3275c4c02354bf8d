use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use tickwire_schemas::ALPN;

use crate::TerminalError;

/// How the engine proves who it is.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Its certificate has this SHA-256, in hexadecimal (colons and capitals are allowed).
    Fingerprint(String),
    /// Its certificate is signed by one of these authorities for this name.
    Roots {
        /// The authorities.
        roots: Arc<RootCertStore>,
        /// The name in the certificate.
        server_name: String,
    },
}

impl Trust {
    /// The name to ask for in the handshake.
    #[must_use]
    pub fn server_name(&self) -> &str {
        match self {
            Trust::Fingerprint(_) => "localhost",
            Trust::Roots { server_name, .. } => server_name,
        }
    }

    /// The TLS side of a connection, for whoever drives QUIC themselves.
    ///
    /// # Errors
    /// [`TerminalError::Setup`]: a fingerprint that is none.
    pub fn client_config(&self) -> Result<rustls::ClientConfig, TerminalError> {
        let setup = |e: rustls::Error| TerminalError::Setup(e.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(setup)?;
        let mut config = match self {
            Trust::Fingerprint(text) => {
                let verifier = Arc::new(Pinned { fingerprint: parse(text)?, provider });
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            }
            Trust::Roots { roots, .. } => builder.with_root_certificates(roots.clone()).with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

fn parse(text: &str) -> Result<[u8; 32], TerminalError> {
    let digits: Vec<u8> = text.chars().filter(|c| *c != ':').map_while(|c| c.to_digit(16)).map(|d| d as u8).collect();
    let whole = digits.len() == 64 && text.chars().filter(|c| *c != ':').count() == 64;
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    let problem = || format!("the fingerprint {text:?} is not a SHA-256 in hexadecimal (64 digits)");
    whole.then_some(out).ok_or_else(|| TerminalError::Setup(problem()))
}

/// Accepts one certificate, whoever signed it; the handshake's signature is verified all the same.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found: [u8; 32] = Sha256::digest(certificate).into();
        if found == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        let hex: String = found.iter().map(|b| format!("{b:02x}")).collect();
        Err(rustls::Error::General(format!("the engine's certificate has another fingerprint: {hex}")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_fingerprint_is_64_hex_digits() {
        let plain = "0f".repeat(32);
        assert_eq!(parse(&plain).unwrap(), [15; 32]);
        assert_eq!(parse(&["0F"; 32].join(":")).unwrap(), [15; 32]);
        for bad in ["", "0f", &format!("{plain}0"), &format!("{}zz", &plain[2..])] {
            assert!(parse(bad).unwrap_err().to_string().contains("64 digits"), "{bad}");
        }
    }
}

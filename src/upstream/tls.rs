//! The one TLS configuration: the system's roots united with the bundled
//! ones, so that a company's own authority works and a machine without a
//! certificate store still starts.

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore};

/// Makes the process's choice of cryptography; must run before the first TLS
/// client is built. Calling it again does nothing.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The configuration, without ALPN names. Built on first use: a router whose
/// providers are all on this machine never pays for it.
pub(super) fn config() -> ClientConfig {
    static CONFIG: LazyLock<ClientConfig> = LazyLock::new(|| {
        install_crypto();
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let system = rustls_native_certs::load_native_certs();
        for problem in &system.errors {
            tracing::debug!("a system certificate could not be read: {problem}");
        }
        let (added, ignored) = roots.add_parsable_certificates(system.certs);
        tracing::debug!("{added} system certificates beside the bundled ones, {ignored} unusable");
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
            .unwrap_or_else(|_| unused())
    });
    CONFIG.clone()
}

/// A configuration that trusts nobody, for connections that use no TLS.
pub fn unused() -> ClientConfig {
    install_crypto();
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

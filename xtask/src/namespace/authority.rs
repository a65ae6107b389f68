//! A certificate authority of the run, and the certificates that a host may show: good ones, and each kind of bad one.

use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;

/// How a host shows who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Certificate {
    /// By a certificate for its name.
    #[default]
    Good,
    /// By one that nobody but itself has signed.
    SelfSigned,
    /// By one for another name.
    OtherName,
    /// By one for the names beneath its own.
    WildcardBelow,
    /// By one for another name of its domain's parent.
    WildcardTooHigh,
    /// By one that was good.
    Expired,
    /// By one that will be good.
    NotYetValid,
    /// By a protocol that is no longer spoken.
    Tls10,
}

/// The authority that the server under test trusts by its usual setting.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    leaf: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            leaf: KeyPair::generate()?,
        })
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// What a host of this name shows.
    pub(crate) fn config(&self, name: &str, how: Certificate) -> Result<Arc<ServerConfig>> {
        let shown = match how {
            Certificate::OtherName => "other.test".to_owned(),
            Certificate::WildcardBelow => format!("*.{name}"),
            Certificate::WildcardTooHigh => {
                let parent = name.splitn(3, '.').last().unwrap_or(name);
                format!("*.{parent}")
            }
            _ => name.to_owned(),
        };
        let mut params = CertificateParams::new(vec![shown])?;
        match how {
            Certificate::Expired => {
                params.not_before = rcgen::date_time_ymd(2020, 1, 1);
                params.not_after = rcgen::date_time_ymd(2021, 1, 1);
            }
            Certificate::NotYetValid => params.not_before = rcgen::date_time_ymd(4000, 1, 1),
            _ => {}
        }
        let certificate = if how == Certificate::SelfSigned {
            params.self_signed(&self.leaf)?
        } else {
            params.signed_by(&self.leaf, &self.issuer)?
        };
        let key = PrivateKeyDer::try_from(self.leaf.serialize_der())
            .map_err(|error| anyhow::anyhow!("a key of our own: {error}"))?;
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .context("a certificate of our own")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

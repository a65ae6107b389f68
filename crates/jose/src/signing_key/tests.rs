#![allow(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::{
    key_set::KeySet,
    verify::{JwsRules, UnverifiedJws},
};

/// RFC 8037 appendix A: the key of A.1, its public half of A.2, its thumbprint of A.3, its signature of A.4.
#[test]
fn rfc_8037() {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    der.append(&mut base64url::decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap());
    let key = SigningKey::from_pkcs8(Algorithm::EdDsa, &der).unwrap();
    assert_eq!(
        key.public_jwk()["x"],
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    );
    assert_eq!(key.key_id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(
        key.sign_as(&json!({"alg": "EdDSA"}), b"Example of Ed25519 signing")
            .unwrap(),
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

#[test]
fn a_key_survives_its_file() {
    for &algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let again = SigningKey::from_pkcs8(algorithm, &key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
        let token = again.sign("JWT", &json!({})).unwrap();
        let keys = KeySet::parse(json!({"keys": [key.public_jwk()]}).to_string().as_bytes()).unwrap();
        assert!(
            UnverifiedJws::parse(&token, &JwsRules::default())
                .unwrap()
                .verify(&keys)
                .is_ok()
        );
    }
}

#[test]
fn a_key_of_another_kind_is_refused_and_none_is_shown() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let der = key.to_pkcs8().unwrap();
    for other in [Algorithm::Es384, Algorithm::Rs256, Algorithm::EdDsa] {
        let refused = SigningKey::from_pkcs8(other, &der).map(drop);
        assert_eq!(refused, Err(SigningKeyError::Unfit(other)));
    }
    assert!(SigningKey::from_pkcs8(Algorithm::Es256, &der[1..]).is_err());
    assert_eq!(
        format!("{key:?}"),
        format!("SigningKey(ES256, {:?})", key.key_id())
    );
    assert!(key.public_jwk().get("d").is_none());
}

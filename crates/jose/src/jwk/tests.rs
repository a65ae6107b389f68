#![allow(clippy::unwrap_used, reason = "a test may panic")]
use serde_json::json;

use super::*;
use crate::{key_set::KeySet, signing_key::SigningKey};

fn public(algorithm: Algorithm) -> Value {
    SigningKey::generate(algorithm).unwrap().public_jwk()
}

fn refusal(change: impl FnOnce(&mut Value), of: Algorithm) -> JwkError {
    let mut jwk = public(of);
    Jwk::parse(&jwk).unwrap();
    change(&mut jwk);
    Jwk::parse(&jwk).unwrap_err()
}

/// An RSA modulus of so many bits, with nothing known of its factors.
fn modulus(bits: usize) -> String {
    let mut bytes = vec![0xff; bits / 8];
    bytes[0] = 0x80;
    base64url::encode(&bytes)
}

/// S-119, S-121
#[test]
fn what_a_key_says_of_its_use_is_honoured() {
    use JwkError as No;
    for (name, value, expected) in [
        ("use", json!("enc"), No::OtherUse),
        ("use", json!(5), No::Malformed("use")),
        ("key_ops", json!(["encrypt"]), No::OtherUse),
        ("key_ops", json!([]), No::OtherUse),
        ("key_ops", json!("verify"), No::Malformed("key_ops")),
        ("alg", json!("RSA-OAEP"), No::OtherUse),
        ("alg", json!("RS256"), No::OtherUse),
        ("alg", json!("ES384"), No::OtherUse),
        ("alg", json!("HS256"), No::OtherUse),
        ("alg", json!(["ES256"]), No::Malformed("alg")),
        ("kty", json!("EC2"), No::Unsupported),
        ("crv", json!("secp256k1"), No::Unsupported),
        ("crv", json!("P-384"), No::Malformed("x")),
        ("crv", json!("Ed25519"), No::Unsupported),
    ] {
        assert_eq!(
            refusal(|jwk| jwk[name] = value.clone(), Algorithm::Es256),
            expected,
            "{name}: {value}"
        );
    }
    let mut jwk = public(Algorithm::Es256);
    jwk["key_ops"] = json!(["sign", "verify"]);
    jwk["use"] = json!("");
    jwk["alg"] = json!("");
    jwk["kid"] = json!(7);
    let key = Jwk::parse(&jwk).unwrap();
    assert_eq!((key.key_id(), key.fits(Algorithm::Es256)), (None, true));
}

/// S-121: whoever reads a published private key can sign with it.
#[test]
fn private_and_symmetric_keys_are_never_used() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for of in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
            assert_eq!(
                refusal(|jwk| jwk[name] = json!(null), of),
                JwkError::NotPublic,
                "{name}"
            );
        }
    }
    let symmetric = json!({"kty": "oct", "k": "c2VjcmV0"});
    assert_eq!(Jwk::parse(&symmetric).unwrap_err(), JwkError::NotPublic);
}

/// S-117, JA-31, P12: a stranger's keys are no larger than a verification may cost.
#[test]
fn weak_and_oversized_rsa_keys_are_refused() {
    let key = |n: String, e: &str| json!({"kty": "RSA", "n": n, "e": e});
    for bits in [2048, 3072, 4096] {
        assert!(Jwk::parse(&key(modulus(bits), "AQAB")).is_ok(), "{bits}");
    }
    for bits in [512, 1024, 2040, 4104, 8192, 16384] {
        assert_eq!(
            Jwk::parse(&key(modulus(bits), "AQAB")).unwrap_err(),
            JwkError::RsaSize(bits)
        );
    }
    // 2047 bits in 256 bytes.
    let mut short = vec![0xff; 256];
    short[0] = 0x7f;
    assert_eq!(
        Jwk::parse(&key(base64url::encode(&short), "AQAB")).unwrap_err(),
        JwkError::RsaSize(2047)
    );
    // 4097 bits in 513 bytes.
    let mut long = vec![0xff; 513];
    long[0] = 0x01;
    assert_eq!(
        Jwk::parse(&key(base64url::encode(&long), "AQAB")).unwrap_err(),
        JwkError::RsaSize(4097)
    );
    // An exponent of 1, an even one, one of 2^64 + 1; an even modulus.
    for exponent in ["AQ", "Ag", "AQAC", "AQAAAAAAAAAB"] {
        assert_eq!(
            Jwk::parse(&key(modulus(2048), exponent)).unwrap_err(),
            JwkError::RsaSize(2048),
            "{exponent}"
        );
    }
    let even = base64url::encode(&[0xfe; 256]);
    assert_eq!(
        Jwk::parse(&key(even, "AQAB")).unwrap_err(),
        JwkError::RsaSize(2048)
    );
    for (n, e) in [
        ("", "AQAB"),
        ("AA", "AQAB"),
        (modulus(2048).as_str(), "AAEAAQ"),
        (modulus(2048).as_str(), "AQAB="),
    ] {
        assert!(
            matches!(Jwk::parse(&key(n.to_owned(), e)), Err(JwkError::Malformed(_))),
            "{n} {e}"
        );
    }
}

/// JA-31
#[test]
fn a_point_off_its_curve_or_of_another_length_is_refused() {
    assert_eq!(
        refusal(
            |jwk| jwk["y"] = json!(base64url::encode(&[7; 32])),
            Algorithm::Es256
        ),
        JwkError::NotOnCurve
    );
    for (algorithm, name) in [
        (Algorithm::Es256, "x"),
        (Algorithm::Es384, "y"),
        (Algorithm::Es512, "x"),
        (Algorithm::EdDsa, "x"),
    ] {
        for length in [0, 31, 33, 65, 67] {
            let wrong = json!(base64url::encode(&vec![1; length]));
            assert_eq!(
                refusal(|jwk| jwk[name] = wrong, algorithm),
                JwkError::Malformed(name)
            );
        }
        let missing = |jwk: &mut Value| {
            jwk.as_object_mut().unwrap().remove(name);
        };
        assert_eq!(refusal(missing, algorithm), JwkError::Malformed(name));
    }
    assert_eq!(Jwk::parse(&json!([])).unwrap_err(), JwkError::NotAnObject);
    assert_eq!(Jwk::parse(&json!({})).unwrap_err(), JwkError::Malformed("kty"));
}

/// S-115, S-116: which algorithm a key is used with is the key's, not the caller's to choose.
#[test]
fn a_key_verifies_with_an_algorithm_of_its_kind_and_with_no_other() {
    let message = b"message";
    for &made in Algorithm::ALL {
        let signing = SigningKey::generate(made).unwrap();
        let token = signing.sign_as(&json!({}), message).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = base64url::decode(signature).unwrap();
        let mut jwk = signing.public_jwk();
        let pinned = Jwk::parse(&jwk).unwrap();
        jwk.as_object_mut().unwrap().remove("alg");
        let open = Jwk::parse(&jwk).unwrap();
        for &tried in Algorithm::ALL {
            let expected = tried == made;
            assert_eq!(
                pinned.verifies(tried, signed.as_bytes(), &signature),
                expected,
                "{made} {tried}"
            );
            assert_eq!(
                open.verifies(tried, signed.as_bytes(), &signature),
                expected,
                "{made} {tried}"
            );
            assert_eq!(open.fits(tried), tried.key_kind() == made.key_kind());
        }
    }
}

/// S-121: one bad member spoils nothing beside it.
#[test]
fn bad_members_are_skipped_and_counted() {
    let good = public(Algorithm::Es256);
    let set = json!({"keys": ["x", null, 5, {}, {"kty": "oct", "k": "AA"}, good, {"kty": "RSA", "n": "AQ", "e": "AQAB"}]});
    let keys = KeySet::parse(set.to_string().as_bytes()).unwrap();
    assert_eq!((keys.len(), keys.skipped()), (1, 6));
    assert_eq!(keys.candidates(Algorithm::Es256, None).count(), 1);
}

/// S-119, S-120: by name, `alg`, type and curve; every one that fits, in their order, up to ten.
#[test]
fn candidates_are_all_keys_that_fit() {
    let named = |algorithm, id: &str| {
        Jwk::parse(
            &SigningKey::generate(algorithm)
                .unwrap()
                .with_key_id(id)
                .public_jwk(),
        )
        .unwrap()
    };
    let keys: KeySet = [
        named(Algorithm::Es384, "a"),
        named(Algorithm::Es256, "a"),
        named(Algorithm::Es256, "b"),
        named(Algorithm::Es256, "a"),
        named(Algorithm::Rs256, "a"),
    ]
    .into_iter()
    .collect();
    let count = |algorithm, id| keys.candidates(algorithm, id).count();
    assert_eq!(count(Algorithm::Es256, None), 3);
    assert_eq!(count(Algorithm::Es256, Some("a")), 2);
    assert_eq!(count(Algorithm::Es256, Some("A")), 0);
    assert_eq!(count(Algorithm::Es384, None), 1);
    assert_eq!(count(Algorithm::Rs256, None), 1);
    assert_eq!(count(Algorithm::Ps256, None), 0);
    assert_eq!(count(Algorithm::Rs512, Some("a")), 0);
    let many: KeySet = (0..20).map(|_| named(Algorithm::EdDsa, "a")).collect();
    assert_eq!(many.candidates(Algorithm::EdDsa, Some("a")).count(), 10);
}

/// S-122, JA-31
#[test]
fn a_set_is_bounded_in_bytes_and_keys() {
    use crate::key_set::{KeySetError as No, KeySetLimits};
    let set = |count: usize| json!({"keys": vec![public(Algorithm::EdDsa); count]}).to_string();
    assert_eq!(KeySet::parse(set(32).as_bytes()).unwrap().len(), 32);
    assert_eq!(
        KeySet::parse(set(33).as_bytes()).unwrap_err(),
        No::TooManyKeys(32)
    );
    let limits = KeySetLimits {
        max_bytes: 100,
        ..KeySetLimits::default()
    };
    assert_eq!(
        KeySet::parse_within(set(1).as_bytes(), limits).unwrap_err(),
        No::TooManyBytes(100)
    );
    for (text, expected) in [
        ("{}", No::NotAKeySet),
        ("[]", No::NotAKeySet),
        (r#"{"keys": 5}"#, No::NotAKeySet),
        (r#"{"keys": {}}"#, No::NotAKeySet),
        ("\"text\"", No::NotAKeySet),
        ("", No::NotJson),
        (r#"{"keys": [], "keys": []}"#, No::NotJson),
    ] {
        assert_eq!(KeySet::parse(text.as_bytes()).unwrap_err(), expected, "{text}");
    }
    for nothing in [r#"{"keys": []}"#, r#"{"keys": null}"#, r#"{"other": 1}"#] {
        assert!(KeySet::parse(nothing.as_bytes()).unwrap().is_empty(), "{nothing}");
    }
}

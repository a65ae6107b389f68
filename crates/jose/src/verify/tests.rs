#![allow(clippy::unwrap_used, reason = "a test may panic")]
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{jwk::Jwk, signing_key::SigningKey};

fn rules() -> JwsRules {
    JwsRules::default()
}

fn keys(jwk: &Value) -> KeySet {
    KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap()
}

fn proves(token: &str, jwk: &Value) -> bool {
    UnverifiedJws::parse(token, &rules())
        .unwrap()
        .verify(&keys(jwk))
        .is_ok()
}

/// RFC 7515 appendix A.2
#[test]
fn rfc_7515_rs256() {
    let jwk = json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"});
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    assert!(proves(token, &jwk));
    let jws = UnverifiedJws::parse(token, &rules()).unwrap();
    assert_eq!(jws.unverified_claims().unwrap().text("iss"), Ok(Some("joe")));
}

/// RFC 7515 appendix A.3
#[test]
fn rfc_7515_es256() {
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert!(proves(token, &jwk));
}

/// RFC 7515 appendix A.4, whose payload is no JSON
#[test]
fn rfc_7515_es512() {
    let jwk = json!({"kty": "EC", "crv": "P-521", "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk", "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"});
    let token = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    let jws = UnverifiedJws::parse(token, &rules()).unwrap();
    let keys = keys(&jwk);
    let verified = jws.verify(&keys).unwrap();
    assert_eq!(verified.claims(), Err(JwsError::Payload));
}

/// RFC 8037 appendix A.4
#[test]
fn rfc_8037_ed25519() {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert!(proves(token, &jwk));
}

/// S-113: the signature of one algorithm is the signature of no other; all are accepted.
#[test]
fn every_algorithm_proves_what_it_signed() {
    for &algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let token = key.sign("JWT", &json!({"sub": "a"})).unwrap();
        assert!(proves(&token, &key.public_jwk()), "{algorithm}");
        let other = SigningKey::generate(algorithm).unwrap().with_key_id(key.key_id());
        let jws = UnverifiedJws::parse(&token, &rules()).unwrap();
        assert_eq!(
            jws.verify(&keys(&other.public_jwk())).unwrap_err(),
            VerifyError::Signature
        );
        let stranger = SigningKey::generate(algorithm).unwrap();
        assert_eq!(
            jws.verify(&keys(&stranger.public_jwk())).unwrap_err(),
            VerifyError::NoKey
        );
    }
}

/// S-120: a token signed by the second of two keys without names, as during a rotation.
#[test]
fn every_key_that_fits_is_tried() {
    let [old, new] = [(); 2].map(|()| SigningKey::generate(Algorithm::Es256).unwrap());
    let set: KeySet = [&old, &new]
        .iter()
        .map(|key| Jwk::parse(&key.public_jwk()).unwrap())
        .collect();
    let token = new.sign_as(&json!({"alg": "ES256"}), b"{}").unwrap();
    assert!(
        UnverifiedJws::parse(&token, &rules())
            .unwrap()
            .verify(&set)
            .is_ok()
    );
}

/// `jsonwebtoken` proves what we sign.
#[test]
fn an_independent_library_agrees_with_our_signatures() {
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ] {
        let key = SigningKey::generate(algorithm).unwrap();
        let token = key
            .sign("JWT", &json!({"sub": "alice", "exp": 99_999_999_999_u64}))
            .unwrap();
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.public_jwk()).unwrap();
        let their_key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let validation = jsonwebtoken::Validation::new(algorithm.as_str().parse().unwrap());
        let claims = jsonwebtoken::decode::<Value>(&token, &their_key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], "alice", "{algorithm}");
    }
}

/// We prove what `jsonwebtoken` signs.
#[test]
fn we_agree_with_the_signatures_of_an_independent_library() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
        let key = SigningKey::generate(algorithm).unwrap();
        let der = key.to_pkcs8().unwrap();
        let their_key = match algorithm {
            Algorithm::EdDsa => jsonwebtoken::EncodingKey::from_ed_der(&der),
            _ => jsonwebtoken::EncodingKey::from_ec_der(&der),
        };
        let header = jsonwebtoken::Header::new(algorithm.as_str().parse().unwrap());
        let token = jsonwebtoken::encode(&header, &json!({"sub": "alice"}), &their_key).unwrap();
        assert!(proves(&token, &key.public_jwk()), "{algorithm}");
    }
}

fn with_header(header: &Value) -> Result<(), JwsError> {
    let token = format!("{}.e30.AA", base64url::encode(header.to_string().as_bytes()));
    UnverifiedJws::parse(&token, &rules()).map(drop)
}

/// S-113, S-114, JA-01: CVE-2015-9235 and its many heirs.
#[test]
fn the_algorithm_is_one_of_the_accepted_and_is_text() {
    use JwsError as No;
    for (alg, expected) in [
        (json!("none"), No::AlgorithmBlocked),
        (json!("HS256"), No::AlgorithmBlocked),
        (json!("HS384"), No::AlgorithmBlocked),
        (json!("HS512"), No::AlgorithmBlocked),
        (json!("None"), No::AlgorithmNotAllowed),
        (json!("NONE"), No::AlgorithmNotAllowed),
        (json!("hs256"), No::AlgorithmNotAllowed),
        (json!("es256"), No::AlgorithmNotAllowed),
        (json!("ES256 "), No::AlgorithmNotAllowed),
        (json!("ES256K"), No::AlgorithmNotAllowed),
        (json!(""), No::AlgorithmNotAllowed),
        (json!(5), No::AlgorithmNotAllowed),
        (json!(true), No::AlgorithmNotAllowed),
        (json!(null), No::AlgorithmNotAllowed),
        (json!(["ES256"]), No::HeaderMember("alg")),
        (json!({"a": 1}), No::HeaderMember("alg")),
    ] {
        assert_eq!(with_header(&json!({"alg": alg})), Err(expected), "{alg}");
    }
    assert_eq!(with_header(&json!({})), Err(No::HeaderMember("alg")));
    assert_eq!(with_header(&json!({"alg": "ES256"})), Ok(()));
    assert_eq!(with_header(&json!({"alg": "Ed25519"})), Ok(()));
    let narrow = JwsRules {
        algorithms: vec![Algorithm::Es256],
        ..rules()
    };
    let token = format!("{}.e30.AA", base64url::encode(br#"{"alg":"RS256"}"#));
    assert_eq!(
        UnverifiedJws::parse(&token, &narrow).unwrap_err(),
        No::AlgorithmNotAllowed
    );
}

/// S-111, JA-07
#[test]
fn extensions_that_are_not_understood_are_refused() {
    for (crit, extra) in [
        (json!(["bork"]), json!(1)),
        (json!(["alg"]), json!(1)),
        (json!([]), json!(true)),
        (json!(null), json!(true)),
        (json!("b64"), json!(true)),
        (json!([1]), json!(true)),
        (json!(["b64"]), json!(false)),
        (json!(["b64"]), json!(null)),
        (json!(["b64", "exp"]), json!(true)),
    ] {
        let header = json!({"alg": "ES256", "crit": crit, "b64": extra, "bork": 1});
        assert_eq!(with_header(&header), Err(JwsError::Critical), "{header}");
    }
    let absent = json!({"alg": "ES256", "crit": ["b64"]});
    assert_eq!(with_header(&absent), Err(JwsError::Critical));
    assert_eq!(
        with_header(&json!({"alg": "ES256", "b64": false})),
        Err(JwsError::Critical)
    );
    assert_eq!(
        with_header(&json!({"alg": "ES256", "crit": ["b64"], "b64": true})),
        Ok(())
    );
}

/// S-112, RFC 8725 §3.11
#[test]
fn another_kind_of_token_is_refused() {
    for good in ["JWT", "jwt", "application/jwt", "Application/JWT"] {
        assert_eq!(
            with_header(&json!({"alg": "ES256", "typ": good})),
            Ok(()),
            "{good}"
        );
    }
    for bad in ["at+jwt", "dpop+jwt", "", "application/", "JWT "] {
        assert_eq!(
            with_header(&json!({"alg": "ES256", "typ": bad})),
            Err(JwsError::Type),
            "{bad}"
        );
    }
    assert_eq!(
        with_header(&json!({"alg": "ES256", "typ": 5})),
        Err(JwsError::HeaderMember("typ"))
    );
    let any = JwsRules {
        types: None,
        ..rules()
    };
    let token = format!("{}.e30.AA", base64url::encode(br#"{"alg":"RS256","typ":5}"#));
    assert!(UnverifiedJws::parse(&token, &any).is_ok());
}

/// JT-03, RFC 9068 §4: a kind that always has its `typ` is not one without.
#[test]
fn a_token_without_a_type_is_refused_where_one_is_required() {
    let rules = JwsRules {
        types: Some(&["at+jwt"]),
        requires_type: true,
        ..rules()
    };
    let parse = |header: &str| {
        let token = format!("{}.e30.AA", base64url::encode(header.as_bytes()));
        UnverifiedJws::parse(&token, &rules).map(|_| ())
    };
    assert_eq!(parse(r#"{"alg":"RS256"}"#), Err(JwsError::Type));
    assert_eq!(parse(r#"{"alg":"RS256","typ":"application/at+JWT"}"#), Ok(()));
}

/// S-111, JA-04: a name is text, and nothing but a name.
#[test]
fn a_key_id_is_text() {
    for bad in [json!(5), json!(null), json!({}), json!(["k"])] {
        let header = json!({"alg": "ES256", "kid": bad});
        assert_eq!(
            with_header(&header),
            Err(JwsError::HeaderMember("kid")),
            "{header}"
        );
    }
    for odd in ["../../../../dev/null", "' UNION SELECT 'x", "|id", "a\u{0}b"] {
        assert_eq!(with_header(&json!({"alg": "ES256", "kid": odd})), Ok(()), "{odd}");
    }
}

/// S-112, JA-05, JA-06: a key in the header, or an address of one, is not looked at.
#[test]
fn no_key_comes_from_the_header() {
    let (registered, attacker) = (
        SigningKey::generate(Algorithm::Es256).unwrap(),
        SigningKey::generate(Algorithm::Es256).unwrap(),
    );
    let header = json!({
        "alg": "ES256", "kid": registered.key_id(), "jwk": attacker.public_jwk(),
        "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/x", "x5c": ["MII="],
    });
    let token = attacker.sign_as(&header, b"{}").unwrap();
    assert!(!proves(&token, &registered.public_jwk()));
    let token = registered.sign_as(&header, b"{}").unwrap();
    assert!(proves(&token, &registered.public_jwk()));
}

/// S-109, S-110, JA-26
#[test]
fn there_is_one_spelling_of_a_token() {
    use JwsError as No;
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let token = key.sign("JWT", &json!({"sub": "a"})).unwrap();
    let parse = |text: &str| UnverifiedJws::parse(text, &rules()).map(drop);
    assert_eq!(parse(&token), Ok(()));
    for (bad, expected) in [
        (format!("{token}="), No::Encoding),
        (format!("{token}=="), No::Encoding),
        (format!("{token} "), No::Encoding),
        (format!("{token}\n"), No::Encoding),
        (format!(" {token}"), No::Encoding),
        (format!("Bearer {token}"), No::Encoding),
        (format!("{token}.x"), No::Parts),
        (format!("{token}."), No::Parts),
        (token.rsplit_once('.').unwrap().0.to_owned(), No::Parts),
        ("x".to_owned(), No::Parts),
        (String::new(), No::Parts),
        ("..".to_owned(), No::Header),
        ("é.é.é".to_owned(), No::Encoding),
        (r#"{"payload":"e30","signatures":[]}"#.to_owned(), No::Parts),
        (format!("{}.{token}", "e30".repeat(6000)), No::TooLong),
    ] {
        assert_eq!(parse(&bad), Err(expected), "{bad}");
    }
    let headers: [&[u8]; 6] = [
        br#"["a"]"#,
        b"\"a\"",
        b"\xef\xbb\xbf{\"alg\":\"ES256\"}",
        br#"{"alg":"ES256","alg":"ES256"}"#,
        br#"{"alg":"ES256"}x"#,
        b"{\"alg\":\"ES256\",\"a\":\"\xff\"}",
    ];
    for header in headers {
        let text = format!("{}.e30.AA", base64url::encode(header));
        assert_eq!(parse(&text), Err(No::Header), "{text}");
    }
    let text = format!("{}.e30.AA", base64url::encode(br#"{"alg":"ES256","alg":"none"}"#));
    assert_eq!(parse(&text), Err(No::AlgorithmBlocked));
    let deep = format!(r#"{{"alg":"ES256","a":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    assert_eq!(
        parse(&format!("{}.e30.AA", base64url::encode(deep.as_bytes()))),
        Err(No::Header)
    );
    let payloads: [&[u8]; 7] = [
        b"",
        b"[]",
        b"\"text\"",
        b"not json",
        br#"{"a":1,"a":2}"#,
        br#"{"exp":NaN}"#,
        b"\xef\xbb\xbf{}",
    ];
    for payload in payloads {
        let text = format!(
            "{}.{}.AA",
            base64url::encode(br#"{"alg":"ES256"}"#),
            base64url::encode(payload)
        );
        let jws = UnverifiedJws::parse(&text, &rules()).unwrap();
        assert_eq!(jws.unverified_claims(), Err(No::Payload), "{payload:?}");
    }
}

#[test]
fn what_the_python_package_reads_is_read_where_asked_for() {
    let rules = JwsRules {
        reads_padding_and_mark: true,
        ..rules()
    };
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let set: KeySet = [Jwk::parse(&key.public_jwk()).unwrap()].into_iter().collect();
    let token = key
        .sign_as(&json!({"alg": "ES256"}), b"\xef\xbb\xbf{\"sub\":\"a\"}")
        .unwrap();
    let padded = format!("{token}==");
    let jws = UnverifiedJws::parse(&padded, &rules).unwrap();
    assert_eq!(
        jws.verify(&set).unwrap().claims().unwrap().text("sub"),
        Ok(Some("a"))
    );
    for bad in [format!("{token}="), format!("{token}==="), format!("{token}\n")] {
        assert_eq!(
            UnverifiedJws::parse(&bad, &rules).unwrap_err(),
            JwsError::Encoding,
            "{bad}"
        );
    }
}

/// S-118, JA-27: CVE-2022-21449 and others.
#[test]
fn only_a_signature_of_the_fixed_length_and_a_real_one_is_right() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let token = key.sign("JWT", &json!({"sub": "a"})).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let right = base64url::decode(signature).unwrap();
    // SEC 2 §2.4.2: the order of P-256.
    let order: Vec<u8> = ["ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"]
        .iter()
        .flat_map(|hex| (0..32).map(move |at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()))
        .collect();
    let mut der = vec![0x30, 0x44, 0x02, 0x20];
    der.extend_from_slice(&right[..32]);
    der.extend_from_slice(&[0x02, 0x20]);
    der.extend_from_slice(&right[32..]);
    let wrong: [Vec<u8>; 7] = [
        vec![0; 64],
        [order.clone(), order].concat(),
        der,
        right[..63].to_vec(),
        [right.clone(), vec![0]].concat(),
        [vec![0], right.clone()].concat(),
        vec![],
    ];
    let proves = |signature: &[u8]| {
        proves(
            &format!("{signed}.{}", base64url::encode(signature)),
            &key.public_jwk(),
        )
    };
    assert!(proves(&right));
    for signature in wrong {
        assert!(!proves(&signature), "{signature:?}");
    }
}

#[test]
fn no_single_changed_character_leaves_a_token_right() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let key = SigningKey::generate(algorithm).unwrap();
        let token = key.sign("JWT", &json!({"sub": "a"})).unwrap();
        let set = keys(&key.public_jwk());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let proven = UnverifiedJws::parse(&changed, &rules()).is_ok_and(|jws| jws.verify(&set).is_ok());
            assert!(!proven, "{algorithm} at {at}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,200}", header in "\\PC{0,60}", payload in "\\PC{0,60}") {
        let built = format!("{}.{}.AA", base64url::encode(header.as_bytes()), base64url::encode(payload.as_bytes()));
        for text in [text, built] {
            if let Ok(jws) = UnverifiedJws::parse(&text, &rules()) {
                let _ = jws.unverified_claims();
            }
        }
    }

    #[test]
    fn claims_survive_signing_and_proving(subject in "\\PC{0,40}", number in any::<i32>()) {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let token = key.sign("JWT", &json!({"sub": subject, "n": number})).unwrap();
        let jws = UnverifiedJws::parse(&token, &rules()).unwrap();
        let set = keys(&key.public_jwk());
        let claims = jws.verify(&set).unwrap().claims().unwrap();
        prop_assert_eq!(claims.text("sub"), Ok(Some(subject.as_str())));
        prop_assert_eq!(claims.value("n"), Some(&json!(number)));
    }
}

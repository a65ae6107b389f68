//! Tokens that nobody issued.

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    hmac,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::*;

/// An issuer with a key of each kind.
async fn issuer_of_all_kinds() -> (KeyIssuer, Vec<SigningKey>) {
    let keys: Vec<SigningKey> = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256]
        .into_iter()
        .map(|algorithm| SigningKey::generate(algorithm).unwrap())
        .collect();
    let issuer = KeyIssuer::start(&keys.iter().collect::<Vec<_>>()).await;
    (issuer, keys)
}

/// What everybody knows of a key: its SubjectPublicKeyInfo, and the bare key in it.
fn public(key: &SigningKey) -> [Vec<u8>; 2] {
    fn both(der: &PublicKeyX509Der<'_>, bare: &[u8]) -> [Vec<u8>; 2] {
        [der.as_ref().to_vec(), bare.to_vec()]
    }
    let pkcs8 = key.to_pkcs8().unwrap();
    match key.algorithm() {
        Algorithm::Rs256 => {
            let key = RsaKeyPair::from_pkcs8(&pkcs8).unwrap();
            both(&key.public_key().as_der().unwrap(), key.public_key().as_ref())
        }
        Algorithm::EdDsa => {
            let key = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap();
            both(&key.public_key().as_der().unwrap(), key.public_key().as_ref())
        }
        _ => {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
            both(&key.public_key().as_der().unwrap(), key.public_key().as_ref())
        }
    }
}

fn pem(der: &[u8], line: &str) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----{line}{}{line}-----END PUBLIC KEY-----",
        lines.join(line)
    )
}

/// A real HMAC, with whatever bytes as its key.
fn mac(algorithm: &str, secret: &[u8], header: &Value, claims: &Value) -> String {
    let algorithm = match algorithm {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// JT-02: what everybody knows is no secret, in whatever form it is taken for one; nor is a shared key that stands
/// among the issuer's.
#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let (issuer, keys) = issuer_of_all_kinds().await;
    let published: Vec<Value> = keys.iter().map(SigningKey::public_jwk).collect();
    let house = issuer.house();
    for key in &keys {
        assert_eq!(house.call_with(&issuer.token(key)).await.status, 200);
    }
    let claims = issuer.claims();
    let mut tried = 0;
    for key in &keys {
        let [der, bare] = public(key);
        let (jwk, set) = (key.public_jwk(), json!({ "keys": published }));
        let secrets: [Vec<u8>; 13] = [
            pem(&der, "\n").into(),
            format!("{}\n", pem(&der, "\n")).into(),
            format!("{}\r\n", pem(&der, "\r\n")).into(),
            STANDARD.encode(&der).into(),
            der,
            bare,
            jwk.to_string().into(),
            serde_json::to_vec_pretty(&jwk).unwrap(),
            set.to_string().into(),
            serde_json::to_vec_pretty(&set).unwrap(),
            key.key_id().into(),
            Vec::new(),
            vec![0; 32],
        ];
        for algorithm in ["HS256", "HS384", "HS512"] {
            for header in [
                json!({"alg": algorithm, "typ": "at+jwt"}),
                json!({"alg": algorithm, "typ": "at+jwt", "kid": key.key_id()}),
                json!({"alg": key.algorithm().as_str(), "typ": "at+jwt", "kid": key.key_id()}),
            ] {
                for secret in &secrets {
                    assert_is_invalid(&house.call_with(&mac(algorithm, secret, &header, &claims)).await);
                    tried += 1;
                }
            }
        }
    }
    assert_eq!((tried, house.runs()), (3 * 3 * 3 * 13, 3));

    // Whatever is said of the issuer's own set: a shared key in it proves nothing, and the others stay what they are.
    let oct = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32]), "kid": "shared", "alg": "HS256"});
    let mut rsa = keys[2].public_jwk();
    rsa["alg"] = json!("HS256");
    issuer.answer(200, json!({"keys": [oct, rsa, keys[0].public_jwk()]}).to_string());
    let house = issuer.house();
    assert_eq!(house.call_with(&issuer.token(&keys[0])).await.status, 200);
    for (kid, secret) in [
        ("shared", vec![7; 32]),
        (keys[2].key_id(), public(&keys[2])[0].clone()),
    ] {
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": kid});
        assert_is_invalid(&house.call_with(&mac("HS256", &secret, &header, &claims)).await);
    }
    assert_eq!(house.runs(), 1);
}

/// JT-02: an algorithm is one that was allowed, and the one of its key.
#[tokio::test]
async fn a_token_does_not_choose_how_it_is_proven() {
    let (issuer, keys) = issuer_of_all_kinds().await;
    let house = issuer.house();
    let claims = issuer.claims().to_string();
    for key in &keys {
        for algorithm in [
            "none", "None", "nOnE", "", "HS256", "ES256", "RS256", "EdDSA", "PS256", "ES384", "es256",
        ] {
            if algorithm == key.algorithm().as_str() {
                continue;
            }
            for header in [
                json!({"alg": algorithm, "typ": "at+jwt"}),
                json!({"alg": algorithm, "typ": "at+jwt", "kid": key.key_id()}),
            ] {
                let token = key.sign_as(&header, claims.as_bytes()).unwrap();
                assert_is_invalid(&house.call_with(&token).await);
                let unsigned = token.rsplit_once('.').unwrap().0;
                assert_is_invalid(&house.call_with(&format!("{unsigned}.")).await);
                assert_is_invalid(&house.call_with(unsigned).await);
            }
        }
    }
    assert_eq!(house.runs(), 0);
    let narrow = house_with(&issuer, |builder| builder.algorithms([Algorithm::EdDsa]));
    assert_is_invalid(&narrow.call_with(&issuer.token(&keys[0])).await);
    assert_eq!(narrow.call_with(&issuer.token(&keys[1])).await.status, 200);
}

/// JT-05: no key comes from a token, none is fetched from where a token says, and a name is only a name.
#[tokio::test]
async fn a_token_brings_no_key_along() {
    let (key, stranger) = (es256(), es256());
    let issuer = KeyIssuer::start(&[&key]).await;
    let elsewhere = KeyIssuer::start(&[&stranger]).await;
    let house = issuer.house();
    let jwks = format!("{}/jwks", elsewhere.url);
    let certified = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["auth.test".to_owned()])
        .unwrap()
        .self_signed(&certified)
        .unwrap();
    let certified = SigningKey::from_pkcs8(Algorithm::Es256, &certified.serialize_der()).unwrap();
    let chain = json!([STANDARD.encode(certificate.der())]);
    let lures = [
        (&stranger, json!({"jku": jwks})),
        (&stranger, json!({"jwk": stranger.public_jwk()})),
        (
            &stranger,
            json!({"jku": jwks, "jwk": stranger.public_jwk(), "kid": stranger.key_id()}),
        ),
        (&certified, json!({"x5u": format!("{}/x", elsewhere.url)})),
        (&certified, json!({"x5c": chain})),
        (&certified, json!({"x5c": chain, "x5t#S256": "AA", "jku": jwks})),
        (&stranger, json!({"kid": jwks})),
        (&stranger, json!({"kid": format!("{jwks}#{}", stranger.key_id())})),
        (&stranger, json!({"kid": "../../../../../../dev/null"})),
        (&stranger, json!({"kid": "..\\..\\keys.json"})),
        (&stranger, json!({"kid": "' UNION SELECT 'x"})),
        (&stranger, json!({"kid": "key\u{0}"})),
    ];
    for (signer, lure) in lures {
        for own_name in [false, true] {
            let mut header = json!({"alg": "ES256", "typ": "at+jwt"});
            if own_name {
                header["kid"] = json!(key.key_id());
            }
            for (name, value) in lure.as_object().unwrap() {
                if !(own_name && name == "kid") {
                    header[name] = value.clone();
                }
            }
            let token = signer.sign_as(&header, issuer.claims().to_string().as_bytes());
            assert_is_invalid(&house.call_with(&token.unwrap()).await);
        }
    }
    assert_eq!((house.runs(), elsewhere.asked()), (0, 0));
    assert_eq!(house.call_with(&issuer.token(&key)).await.status, 200);
}

/// JT-07: by the right key, and good but for the extension.
#[tokio::test]
async fn an_extension_that_is_not_understood_is_refused() {
    let key = es256();
    let issuer = KeyIssuer::start(&[&key]).await;
    let house = issuer.house();
    let call = async |extra: &Value| {
        let mut header = json!({"alg": "ES256", "typ": "at+jwt", "kid": key.key_id()});
        let members = extra.as_object().unwrap().clone();
        header.as_object_mut().unwrap().extend(members);
        let token = key.sign_as(&header, issuer.claims().to_string().as_bytes());
        house.call_with(&token.unwrap()).await
    };
    // Without `crit`, what is not understood is passed over (RFC 7515 §4).
    for good in [json!({}), json!({"x": 1}), json!({"exp": 1})] {
        assert_eq!(call(&good).await.status, 200, "{good}");
    }
    for bad in [
        json!({"crit": ["x"], "x": 1}),
        json!({"crit": ["x"]}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"b64": false}),
        json!({"crit": ["exp"], "exp": 1}),
        json!({"crit": ["alg"]}),
        json!({"crit": []}),
        json!({"crit": "exp", "exp": 1}),
        json!({"crit": null}),
        json!({"crit": {"x": 1}, "x": 1}),
        json!({"crit": [1]}),
        json!({"crit": ["http://openid.net/specs/x"], "http://openid.net/specs/x": true}),
    ] {
        assert_is_invalid(&call(&bad).await);
    }
    assert_eq!(house.runs(), 3);
}

/// JT-08, of every kind of key; each time right after the right token was let in.
#[tokio::test]
async fn a_signature_has_one_form_and_no_bit_to_spare() {
    let (issuer, keys) = issuer_of_all_kinds().await;
    let house = issuer.house();
    for key in &keys {
        let token = issuer.token(key);
        assert_eq!(house.call_with(&token).await.status, 200);
        let runs = house.runs();
        let (signed, text) = token.rsplit_once('.').unwrap();
        let right = URL_SAFE_NO_PAD.decode(text).unwrap();
        let length = right.len();
        let mut forged: Vec<Vec<u8>> = vec![
            vec![0; length],
            vec![0xff; length],
            [&right[..length / 2], &vec![0; length / 2][..]].concat(),
            [&vec![0; length / 2][..], &right[length / 2..]].concat(),
            right[..length - 1].to_vec(),
            right[1..].to_vec(),
            [&right[..], &[0]].concat(),
            [&[0], &right[..]].concat(),
            right.iter().rev().copied().collect(),
            Vec::new(),
        ];
        if length == 64 {
            // RFC 3279 §2.2.3: SEQUENCE { INTEGER r, INTEGER s }, with and without the zero in front of a high bit.
            let integer = |half: &[u8], pads: bool| {
                let zero: &[u8] = if pads && half[0] >= 0x80 { &[0] } else { &[] };
                let number = [zero, half].concat();
                [&[2, u8::try_from(number.len()).unwrap()][..], &number].concat()
            };
            for pads in [true, false] {
                let both = [integer(&right[..32], pads), integer(&right[32..], pads)].concat();
                forged.push([&[0x30, u8::try_from(both.len()).unwrap()][..], &both].concat());
            }
        }
        for at in 0..length {
            let mut flipped = right.clone();
            flipped[at] ^= 1 << (at % 8);
            forged.push(flipped);
        }
        for signature in forged {
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
            assert_is_invalid(&house.call_with(&token).await);
        }

        // The last character of 64 bytes, and of 256, carries four bits that mean nothing.
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let (front, last) = text.split_at(text.len() - 1);
        let at = alphabet.find(last).unwrap();
        for slack in 1..4 {
            let other = &alphabet[at + slack..=at + slack];
            assert_eq!(URL_SAFE_NO_PAD.decode(format!("{front}{other}")).ok(), None);
            assert_is_invalid(&house.call_with(&format!("{signed}.{front}{other}")).await);
        }
        let mut claims = issuer.claims();
        claims["sub"] = json!("u2");
        let other = key.sign("at+jwt", &claims).unwrap();
        let (other_signed, other_text) = other.rsplit_once('.').unwrap();
        for token in [
            format!("{signed}.{other_text}"),
            format!("{other_signed}.{text}"),
            format!("{signed}.{text}="),
            format!("{signed}.{text}=="),
            format!("{signed}..{text}"),
        ] {
            assert_is_invalid(&house.call_with(&token).await);
        }
        assert_eq!(house.runs(), runs);
        assert_eq!(house.call_with(&other).await.status, 200);
    }
}

//! Assertions (RFC 7523) that are wrong in one way each, at the running server.
//!
//! Nothing is issued for them, and none of them uses up the identifier of the honest one.

use std::net::IpAddr;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD, Engine as _};
use mcp_authflow_jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

use crate::house::{House, R1, answer, builder, text};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// SEC 2 §2.4.2: the order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

pub(crate) fn now() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's clock is the system's, and an assertion has to fit it"
    )]
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// The lines of a bootstrap file for a machine with this key.
pub(crate) fn machine(id: &str, key: &SigningKey) -> String {
    format!(
        "[[client]]\nclient_id = \"{id}\"\nname = \"{id}\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\n\
         jwks = '{}'\ngrant_types = [\"client_credentials\"]\nscope = \"mcp:read\"\n",
        json!({ "keys": [key.public_jwk()] })
    )
}

pub(crate) fn claims(id: &str, issuer: &str, jti: &str) -> Value {
    json!({ "iss": id, "sub": id, "aud": issuer, "iat": now(), "exp": now() + 60, "jti": jti })
}

/// A server that knows one machine, and its key.
struct Machine {
    house: House,
    key: SigningKey,
}

impl Machine {
    fn with_key(algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm).unwrap();
        let bootstrap = format!("{}{}", crate::house::BOOTSTRAP, machine("robot", &key));
        let house = House::of(builder().bootstrap(bootstrap).start().unwrap());
        Self { house, key }
    }

    fn claims(&self, jti: &str) -> Value {
        claims("robot", self.house.server.issuer(), jti)
    }

    /// The honest claims with one changed; `None` takes it away.
    fn changed(&self, name: &str, value: Option<Value>) -> String {
        let mut claims = self.claims("honest");
        match value {
            Some(value) => claims[name] = value,
            None => drop(claims.as_object_mut().unwrap().remove(name)),
        }
        self.sign(&claims)
    }

    fn sign(&self, claims: &Value) -> String {
        self.key.sign("JWT", claims).unwrap()
    }

    /// The honest claims, signed by `signer` under the honest key's name, with more in the header.
    fn under_header(&self, signer: &SigningKey, more: &Value) -> String {
        let mut header = json!({"alg": signer.algorithm().as_str(), "kid": self.key.key_id(), "typ": "JWT"});
        for (name, value) in more.as_object().unwrap() {
            header[name] = value.clone();
        }
        if header["alg"].is_null() {
            header.as_object_mut().unwrap().remove("alg");
        }
        signer
            .sign_as(&header, self.claims("honest").to_string().as_bytes())
            .unwrap()
    }

    /// Presents it from an address of its own, so that no limit for one caller is met.
    async fn present(&self, number: usize, assertion: &str) -> (u16, Value) {
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        let http = reqwest::Client::builder()
            .no_proxy()
            .local_address(IpAddr::from([127, 2, high, low]))
            .build()
            .unwrap();
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", R1),
            ("client_assertion_type", TYPE),
            ("client_assertion", assertion),
        ];
        answer(http.post(self.house.server.url("/token")).form(&form)).await
    }

    /// Every one of them is refused; then the honest one enters, once.
    async fn refuses(&self, wrong: &[(String, String)]) {
        for (number, (case, assertion)) in wrong.iter().enumerate() {
            let (status, said) = self.present(number + 1, assertion).await;
            assert!([400, 401].contains(&status), "{case}: {status} {said}");
            let error = text(&said, "error");
            assert!(
                ["invalid_client", "invalid_request"].contains(&error),
                "{case}: {said}"
            );
            assert_eq!(said.get("access_token"), None, "{case}");
        }
        let honest = self.sign(&self.claims("honest"));
        let (status, said) = self.present(0, &honest).await;
        assert_eq!(status, 200, "{said}");
        let (status, said) = self.present(0, &honest).await;
        assert_eq!((status, text(&said, "error")), (401, "invalid_client"));
        let health = self.house.http.get(self.house.server.url("/healthz"));
        assert_eq!(health.send().await.unwrap().status(), 200);
    }
}

fn named(case: &str, assertion: String) -> (String, String) {
    (case.to_owned(), assertion)
}

/// JA-01, JA-03, JA-04, JA-05, JA-06, JA-07: nothing in a header chooses a key or an algorithm, and what is critical is understood
/// or refused. That no address in a header is asked is watched from outside, in a network of its own.
#[tokio::test]
async fn a_header_chooses_nothing() {
    let machine = Machine::with_key(Algorithm::Es256);
    let own = &machine.key;
    let attacker = SigningKey::generate(Algorithm::Es256).unwrap();
    let mut wrong = Vec::new();
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!(null),
        json!(["ES256"]),
        json!(""),
        json!("HS256"),
    ] {
        let whole = machine.under_header(own, &json!({ "alg": alg }));
        let (head, _) = whole.rsplit_once('.').unwrap();
        wrong.push(named(&format!("alg {alg}, unsigned"), format!("{head}.")));
        wrong.push(named(&format!("alg {alg}, signed"), whole));
    }
    for alg in [
        "RS256", "PS256", "ES384", "EdDSA", "ES256K", "RS1", "RSA1_5", "dir",
    ] {
        wrong.push(named(alg, machine.under_header(own, &json!({ "alg": alg }))));
    }
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ] {
        let other = SigningKey::generate(algorithm).unwrap();
        wrong.push(named(
            &format!("a key of {algorithm}"),
            machine.under_header(&other, &json!({})),
        ));
    }
    for kid in [
        json!("../../../../dev/null"),
        json!("' UNION SELECT 'x"),
        json!("|id"),
        json!({"kid": "x"}),
        json!("a\u{0}b"),
        json!(7),
    ] {
        wrong.push(named(
            &format!("kid {kid}"),
            machine.under_header(own, &json!({ "kid": kid })),
        ));
    }
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("jku", json!("http://169.254.169.254/")),
        (
            "jku",
            json!(machine.house.server.url("/authorize?next=https://evil.example")),
        ),
        ("x5u", json!("https://evil.example/x5u")),
        ("jwk", attacker.public_jwk()),
        ("x5c", json!([BASE64_STANDARD.encode("a certificate")])),
        ("x5t", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAA")),
    ] {
        wrong.push(named(
            &format!("a forger's {name}"),
            machine.under_header(&attacker, &json!({ name: value })),
        ));
    }
    let theirs = json!({"jwk": attacker.public_jwk(), "kid": attacker.key_id()});
    wrong.push(named(
        "a forger's jwk and kid",
        machine.under_header(&attacker, &theirs),
    ));
    for crit in [
        json!(["bork"]),
        json!(["b64"]),
        json!("exp"),
        json!(["alg"]),
        json!([1]),
        json!([]),
        json!({}),
    ] {
        let more = json!({"crit": crit, "bork": 1, "b64": false});
        wrong.push(named(&format!("crit {crit}"), machine.under_header(own, &more)));
    }
    machine.refuses(&wrong).await;

    // A name as long as a book is refused for its length, whatever stands in it.
    let book = machine.under_header(own, &json!({"kid": "k".repeat(1 << 20)}));
    let (status, said) = machine.present(0, &book).await;
    assert!([400, 401, 413].contains(&status), "{status} {said}");
}

/// JA-03: the same for a client whose key is of another kind.
#[tokio::test]
async fn a_key_signs_by_its_own_algorithm_alone() {
    for registered in [Algorithm::Rs256, Algorithm::EdDsa] {
        let machine = Machine::with_key(registered);
        let mut wrong = Vec::new();
        for &other in Algorithm::ALL.iter().filter(|one| **one != registered) {
            // The very key where it can sign so, else another under its name.
            let signer = SigningKey::from_pkcs8(other, &machine.key.to_pkcs8().unwrap())
                .or_else(|_| SigningKey::generate(other))
                .unwrap();
            wrong.push(named(
                &format!("{other} for {registered}"),
                machine.under_header(&signer, &json!({})),
            ));
            let said = json!({"alg": registered.as_str()});
            wrong.push(named(
                &format!("{other} as {registered}"),
                machine.under_header(&signer, &said),
            ));
        }
        machine.refuses(&wrong).await;
    }
}

/// JA-15, JA-16, JA-17, JA-20, JA-21, JA-22: each claim is there, of its type, and in its bounds.
#[tokio::test]
async fn a_claim_is_there_and_of_its_type_and_in_its_bounds() {
    let machine = Machine::with_key(Algorithm::Es256);
    let issuer = machine.house.server.issuer();
    let now = now();
    let mut wrong = Vec::new();
    let mut change = |name: &str, value: Option<Value>| {
        let case = format!("{name} {value:?}");
        wrong.push((case, machine.changed(name, value)));
    };
    for name in ["iss", "sub", "aud", "exp", "iat", "jti"] {
        change(name, None);
        change(name, Some(json!(null)));
    }
    for exp in [
        json!(now - 301),
        json!(now + 315_360_000),
        json!(now + 601),
        json!(now),
        json!("1999999999"),
        json!((now + 60).to_string()),
        json!(true),
        json!({}),
        json!(1_999_999_999.5),
        json!(1e20),
    ] {
        change("exp", Some(exp));
    }
    for (name, value) in [
        ("iat", json!(now + 120)),
        ("iat", json!(now - 3600)),
        ("iat", json!(now.to_string())),
        ("nbf", json!(now + 120)),
        ("nbf", json!("9999999999")),
        ("nbf", json!(null)),
        ("sub", json!(["robot"])),
        ("sub", json!({})),
        ("sub", json!(true)),
        ("sub", json!("svc")),
        ("iss", json!("svc")),
        ("aud", json!("https://other-as.test")),
        ("aud", json!(issuer.to_uppercase())),
        ("aud", json!(format!("{issuer}/tenant"))),
        ("aud", json!("")),
        ("aud", json!(5)),
        ("aud", json!([])),
        ("aud", json!([issuer, "https://evil.example"])),
        ("aud", json!(["https://evil.example", issuer])),
        ("aud", json!([issuer, issuer])),
        ("aud", json!(format!("{issuer}/token"))),
        ("aud", json!(format!("{issuer}/par"))),
        ("jti", json!("")),
        ("jti", json!(7)),
    ] {
        change(name, Some(value));
    }
    let mut both = machine.claims("honest");
    both["exp"] = json!(now + 900);
    both.as_object_mut().unwrap().remove("iat");
    wrong.push(named("no iat and a long exp", machine.sign(&both)));
    let header = json!({"alg": "ES256", "kid": machine.key.key_id(), "typ": "JWT"});
    let raw = |payload: &str| machine.key.sign_as(&header, payload.as_bytes()).unwrap();
    let text = machine.claims("honest").to_string();
    let exp = format!("\"exp\":{}", machine.claims("honest")["exp"]);
    assert!(text.contains(&exp), "{text}");
    for (case, payload) in [
        ("exp 1e400", text.replace(&exp, "\"exp\":1e400")),
        (
            "exp of 20 digits",
            text.replace(&exp, "\"exp\":99999999999999999999"),
        ),
        ("exp NaN", text.replace(&exp, "\"exp\":NaN")),
        ("a text", "\"text\"".to_owned()),
        ("nothing", String::new()),
        ("a list", format!("[{text}]")),
        ("iss twice", text.replacen('{', "{\"iss\":\"svc\",", 1)),
    ] {
        wrong.push(named(case, raw(&payload)));
    }
    machine.refuses(&wrong).await;
}

/// JA-26, JA-27: there is one spelling of an assertion, and a used one in other letters is a used one.
#[tokio::test]
async fn an_assertion_has_one_spelling() {
    let machine = Machine::with_key(Algorithm::Es256);
    let good = machine.sign(&machine.claims("honest"));
    let [header, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let with = |signature: &[u8]| format!("{header}.{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
    let mut der = vec![0x30, 0x46, 0x02, 0x21, 0];
    der.extend_from_slice(&bytes[..32]);
    der.extend_from_slice(&[0x02, 0x21, 0]);
    der.extend_from_slice(&bytes[32..]);
    // 64 bytes leave four slack bits in the last letter.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = signature.bytes().last().unwrap();
    let place = letters.iter().position(|letter| *letter == last).unwrap();
    let slack = char::from(letters[place ^ 1]);
    let slack = format!("{header}.{payload}.{}{slack}", &signature[..signature.len() - 1]);
    let respelled = vec![
        named("padding", format!("{good}==")),
        named("one =", format!("{good}=")),
        named(
            "padding in the payload",
            format!(
                "{header}.{}.{signature}",
                BASE64_URL_SAFE.encode(machine.claims("honest").to_string() + " ")
            ),
        ),
        named("a space behind", format!("{good} ")),
        named("a line break behind", format!("{good}\n")),
        named("a space before", format!(" {good}")),
        named("slack bits", slack),
        named("four parts", format!("{good}.x")),
        named("two parts", format!("{header}.{payload}")),
        named("Bearer", format!("Bearer {good}")),
        named(
            "JSON serialisation",
            json!({"protected": header, "payload": payload, "signature": signature}).to_string(),
        ),
        named(
            "+ and /",
            format!(
                "{header}.{payload}.{}",
                signature.replace('-', "+").replace('_', "/") + "+"
            ),
        ),
        named("zeroes", with(&[0; 64])),
        named("the order twice", with(&[ORDER, ORDER].concat())),
        named("DER", with(&der)),
        named("63 bytes", with(&bytes[..63])),
        named("65 bytes", with(&[&bytes[..], &[0]].concat())),
        named("no signature", format!("{header}.{payload}.")),
    ];
    machine.refuses(&respelled).await;
    // The other signature of the same words (s → n - s) is right by the curve, and their identifier was used.
    let mirrored = with(&[&bytes[..32], &order_minus(&bytes[32..])].concat());
    for (number, (case, assertion)) in respelled.iter().chain([&named("mirrored", mirrored)]).enumerate() {
        let (status, said) = machine.present(1000 + number, assertion).await;
        assert!([400, 401].contains(&status), "{case}: {status} {said}");
    }
}

/// n - s, for 32 bytes with the most significant first.
fn order_minus(s: &[u8]) -> Vec<u8> {
    let mut difference = vec![0; 32];
    let mut borrow = 0;
    for at in (0..32).rev() {
        let value = i16::from(ORDER[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(value < 0);
        difference[at] = u8::try_from(value.rem_euclid(256)).unwrap();
    }
    difference
}

/// JA-27: an unused assertion with the mirrored signature is good at most once, and so is its twin.
#[tokio::test]
async fn two_signatures_of_the_same_words_are_one_assertion() {
    let machine = Machine::with_key(Algorithm::Es256);
    let good = machine.sign(&machine.claims("honest"));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mirrored = [&bytes[..32], &order_minus(&bytes[32..])].concat();
    let mirrored = format!("{head}.{}", BASE64_URL_SAFE_NO_PAD.encode(mirrored));
    let (first, _) = machine.present(1, &mirrored).await;
    let (second, _) = machine.present(2, &good).await;
    let entered = [first, second].iter().filter(|status| **status == 200).count();
    assert_eq!(entered, 1, "{first} and {second}");
}

/// JA-31: keys that cost much or prove nothing are no keys, whoever registers them.
#[tokio::test]
async fn keys_are_few_and_sound() {
    let config = "[registration]\nper_address_per_hour = 1000\n";
    let house = House::of(builder().config(config).start().unwrap());
    let key = SigningKey::generate(Algorithm::Es256).unwrap().public_jwk();
    let ed25519 = SigningKey::generate(Algorithm::EdDsa).unwrap().public_jwk();
    let rsa = SigningKey::generate(Algorithm::Rs256).unwrap().public_jwk();
    let with = |jwk: &Value, name: &str, value: &str| {
        let mut jwk = jwk.clone();
        jwk[name] = json!(value);
        jwk
    };
    let mut nameless = key.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    let short = BASE64_URL_SAFE_NO_PAD.encode([0xff; 128]);
    let elsewhere = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
    for (case, keys) in [
        ("10,000 keys", vec![json!({"kty": "OKP"}); 10_000]),
        ("33 keys", vec![nameless; 33]),
        ("64 keys of one name", vec![key.clone(); 64]),
        (
            "an exponent of 2^64 and one",
            vec![with(&rsa, "e", "AQAAAAAAAAAB")],
        ),
        ("an exponent of one", vec![with(&rsa, "e", "AQ")]),
        ("1024 bits", vec![with(&rsa, "n", &short)]),
        ("a point off its curve", vec![with(&key, "y", &elsewhere)]),
        ("a short key", vec![with(&ed25519, "x", "AAAA")]),
        ("no key", vec![]),
    ] {
        let body = json!({
            "redirect_uris": ["https://client.example/cb"], "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": keys},
        });
        let (status, said) = answer(house.http.post(house.server.url("/register")).json(&body)).await;
        assert!([400, 413].contains(&status), "{case}: {status} {said}");
    }
    let body = json!({
        "redirect_uris": ["https://client.example/cb"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key, rsa, ed25519]},
    });
    let (status, said) = answer(house.http.post(house.server.url("/register")).json(&body)).await;
    assert_eq!(status, 201, "{said}");
}

/// JA-35: the issuer's own string, and its twin with one slash; with a path the string alone.
#[tokio::test]
async fn the_audience_is_the_issuer() {
    for (path, twin_enters) in [("", true), ("/tenant", false)] {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let bootstrap = format!("{}{}", crate::house::BOOTSTRAP, machine("robot", &key));
        let server = builder().bootstrap(bootstrap).issuer_path(path).start().unwrap();
        let machine = Machine {
            house: House::of(server),
            key,
        };
        let issuer = machine.house.server.issuer().to_owned();
        for (number, (audience, enters)) in [
            (issuer.clone(), true),
            (format!("{issuer}/"), twin_enters),
            (format!("{issuer}//"), false),
            (format!("{issuer}?"), false),
            (issuer.replace("127.0.0.1", "localhost"), false),
        ]
        .into_iter()
        .enumerate()
        {
            let assertion = machine.sign(&claims("robot", &audience, &number.to_string()));
            let (status, said) = machine.present(number + 1, &assertion).await;
            assert_eq!(status, if enters { 200 } else { 401 }, "{audience}: {said}");
        }
    }
}

//! Calls of the area `introspection`: the verifier that asks the authorization server, its memory, and which audiences
//! are the resource.
//!
//! The questions go over HTTP to a server on loopback that answers as the case says, or is not there, hangs, or talks
//! nonsense. The case's own address is judged by the verifier before; what is asked on loopback is shown under it. The
//! clocks are the case's. Audiences follow the rule of the Python package, which is an option of ours, and plain http
//! inside a cluster is allowed, as it was there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_authflow_resource::audience::resource_address;
use mcp_authflow_resource::verify::{Cached, Caching, ClientAuthentication, Introspection};
use mcp_authflow_resource::{
    AudienceRule, Outbound, OutboundSettings, Timestamp, TokenVerifier, VerifiedToken, VerifyError,
};
use mcp_authflow_types::uri::Uri;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::case::Case;
use super::rig::Rig;

/// How long a question may take here: only those that are never answered take so long.
const TIME_LIMIT: Duration = Duration::from_millis(250);

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    match case.call.as_str() {
        "verifier_new" => made(case.arg("config")).await,
        "verify_trace" => trace(case).await,
        "resource_matches" => Some(json!({"value": matches(case)})),
        _ => None,
    }
}

async fn made(config: &Value) -> Option<Value> {
    let server = Server::reserve().await?;
    Some(match Verifier::new(config, &server, &Clocks::default()) {
        Ok(verifier) => json!({"value": {"resource_url": verifier.resource}}),
        Err(error) => error,
    })
}

fn matches(case: &Case) -> bool {
    let own = [resource_address(case.text("server_url").unwrap_or_default())];
    texts(case.arg("aud")).is_some_and(|audience| {
        AudienceRule::HierarchicalLikeThePythonPackage
            .matched(&own, &audience)
            .is_some()
    })
}

/// One text, or a list of texts.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(members) => members
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect(),
        one => Some(vec![one.as_str()?.to_owned()]),
    }
}

async fn trace(case: &Case) -> Option<Value> {
    let server = Server::reserve().await?;
    let clocks = Clocks::default();
    let verifier = match Verifier::new(case.arg("config"), &server, &clocks) {
        Ok(verifier) => verifier,
        Err(error) => return Some(error),
    };
    let is_shown = case.arg("show_request") == true;
    let mut steps = Vec::new();
    for step in case.arg("steps").as_array()? {
        clocks.set(step)?;
        if step["op"] == "cache_size" {
            steps.push(json!({"value": verifier.kept()}));
        } else {
            let behaviour = Behaviour::read(&step["answer"])?;
            let token = step["token"].as_str()?;
            steps.push(verifier.step(token, behaviour, &server, is_shown).await?);
        }
    }
    Some(json!({ "steps": steps }))
}

/// The case's clocks, in seconds as they stand there.
#[derive(Clone, Default)]
struct Clocks {
    wall: Arc<AtomicU64>,
    monotonic: Arc<AtomicU64>,
}

impl Clocks {
    fn set(&self, step: &Value) -> Option<()> {
        let wall = step["at"].as_f64()?;
        let monotonic = step["mono"].as_f64().unwrap_or(wall);
        self.wall.store(wall.to_bits(), Ordering::SeqCst);
        self.monotonic.store(monotonic.to_bits(), Ordering::SeqCst);
        Some(())
    }

    fn wall(&self) -> Timestamp {
        let seconds = f64::from_bits(self.wall.load(Ordering::SeqCst)).floor();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a time of a case, with its fraction cut off"
        )]
        Timestamp::from_seconds(seconds as i64)
    }

    fn monotonic(&self) -> Duration {
        Duration::try_from_secs_f64(f64::from_bits(self.monotonic.load(Ordering::SeqCst))).unwrap_or_default()
    }
}

/// What the Python package's one object was: a verifier, a memory if asked for, and the rule about audiences.
struct Verifier {
    asks: Arc<Watched>,
    memory: Option<Cached<Arc<Watched>>>,
    /// The address of the case, of which the server on loopback is the stand-in.
    endpoint: String,
    resource: String,
    is_audience_checked: bool,
    clocks: Clocks,
}

impl Verifier {
    fn new(config: &Value, server: &Server, clocks: &Clocks) -> Result<Self, Value> {
        let authentication = ClientAuthentication::named(
            config["client_auth_method"].as_str(),
            config["client_id"].as_str(),
            config["client_secret"].as_str(),
        )
        .map_err(invalid)?;
        let endpoint = config["introspection_endpoint"].as_str().unwrap_or_default();
        let outbound = || {
            Outbound::new(OutboundSettings {
                time_limit: TIME_LIMIT,
                dangerous_allow_cluster_http: true,
                ..OutboundSettings::default()
            })
        };
        Introspection::through(outbound(), endpoint, authentication.clone()).map_err(invalid)?;
        let asks = Introspection::through(outbound(), &server.in_place_of(endpoint), authentication);
        let asks = Arc::new(Watched {
            asks: asks.map_err(invalid)?,
            failed: AtomicUsize::new(0),
        });
        Ok(Self {
            memory: memory(config, &asks, clocks)?,
            asks,
            endpoint: endpoint.to_owned(),
            resource: resource_address(config["server_url"].as_str().unwrap_or_default()),
            is_audience_checked: config["validate_resource"] != false,
            clocks: clocks.clone(),
        })
    }

    fn kept(&self) -> usize {
        self.memory.as_ref().map_or(0, Cached::len)
    }

    async fn step(
        &self,
        token: &str,
        behaviour: Behaviour,
        server: &Server,
        is_shown: bool,
    ) -> Option<Value> {
        let may_not_be_reached = matches!(behaviour, Behaviour::Absent | Behaviour::Deaf);
        let failed = self.asks.failed.load(Ordering::SeqCst);
        let open = server.behave(behaviour).await?;
        let outcome = match &self.memory {
            Some(memory) => memory.verify(token).await,
            None => self.asks.verify(token).await,
        };
        let questions = open.close().await;
        // Who is not there sees no question; that one was tried is seen by its failure.
        let was_tried = may_not_be_reached && self.asks.failed.load(Ordering::SeqCst) > failed;
        let mut step = json!({
            "value": outcome.ok().and_then(|said| self.record(token, &said)),
            "asked": was_tried || !questions.is_empty(),
        });
        if let Some(question) = questions.first().filter(|_| is_shown) {
            step["request"] = question.shown(&self.endpoint);
            step["client"] = json!({"tls_verify": true, "time_limit": TIME_LIMIT.as_secs_f64(), "follow_redirects": false});
        }
        Some(step)
    }

    /// The record of the Python package, if the token is good here and now.
    fn record(&self, token: &str, said: &VerifiedToken) -> Option<Value> {
        let now = self.clocks.wall();
        if said.has_expired(now) || said.is_not_yet_valid(now) {
            return None;
        }
        let resource = if self.is_audience_checked {
            let own = [self.resource.clone()];
            Some(AudienceRule::HierarchicalLikeThePythonPackage.matched(&own, &said.audience)?)
        } else {
            said.audience.first().map(String::as_str)
        };
        Some(json!({
            "token": token,
            "client_id": said.claims.get("client_id"),
            "scopes": said.scope_as_said(),
            "expires_at": said.expires_at.map(Timestamp::seconds),
            "resource": resource,
        }))
    }
}

fn invalid(error: impl std::fmt::Display) -> Value {
    json!({"error": {"kind": "invalid_argument", "message": error.to_string()}})
}

/// The memory that was asked for. Its room is judged even when nothing is to be kept.
fn memory(
    config: &Value,
    asks: &Arc<Watched>,
    clocks: &Clocks,
) -> Result<Option<Cached<Arc<Watched>>>, Value> {
    let seconds = config["introspection_cache_ttl"].as_f64().unwrap_or(0.0);
    let is_on = seconds > 0.0;
    let time_to_live = Duration::try_from_secs_f64(if is_on { seconds } else { 1.0 }).map_err(invalid)?;
    let most = config["introspection_cache_max_size"].as_i64().unwrap_or(1_024);
    // The package kept no refusals.
    let caching = Caching::for_at_most(time_to_live)
        .tokens(usize::try_from(most).map_err(invalid)?)
        .refusals_for(Duration::ZERO);
    let memory = Cached::new(Arc::clone(asks), caching).map_err(invalid)?;
    let (wall, monotonic) = (clocks.clone(), clocks.clone());
    let memory = memory.with_clocks(move || wall.wall(), move || monotonic.monotonic());
    Ok(is_on.then_some(memory))
}

/// The verifier that asks; counts the questions that nobody answered.
struct Watched {
    asks: Introspection,
    failed: AtomicUsize,
}

#[async_trait::async_trait]
impl TokenVerifier for Watched {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let outcome = self.asks.verify(token).await;
        if let Err(VerifyError::CannotCheck(_)) = &outcome {
            self.failed.fetch_add(1, Ordering::SeqCst);
        }
        outcome
    }
}

/// What the authorization server does at a step.
enum Behaviour {
    Answer(String),
    /// Nobody listens: connections are refused.
    Absent,
    /// Somebody listens and takes no connection.
    Deaf,
    /// Takes the question and says nothing.
    Silent,
    /// Says something that is no HTTP.
    Babbling,
}

impl Behaviour {
    fn read(answer: &Value) -> Option<Self> {
        match answer["raise"].as_str() {
            None => Self::answer(answer),
            Some("connect") => Some(Self::Absent),
            Some("connect_timeout") => Some(Self::Deaf),
            Some("read_timeout") => Some(Self::Silent),
            Some("protocol") => Some(Self::Babbling),
            Some(_) => None,
        }
    }

    fn answer(answer: &Value) -> Option<Self> {
        let status = answer["status"].as_u64().unwrap_or(200);
        let body = match (answer["text"].as_str(), &answer["json"]) {
            (Some(text), _) => text.to_owned(),
            (None, json) => json.to_string(),
        };
        let headers = answer["headers"].as_object();
        let headers: Vec<(&str, &str)> = headers
            .into_iter()
            .flatten()
            .map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect::<Option<_>>()?;
        let mut lines = vec![format!("HTTP/1.1 {status} -")];
        // A case that names no media type is about something else.
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            lines.push("content-type: application/json".to_owned());
        }
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let text = if status == 204 {
            format!("{}\r\n\r\n", lines.join("\r\n"))
        } else {
            lines.push(format!("content-length: {}", body.len()));
            format!("{}\r\n\r\n{body}", lines.join("\r\n"))
        };
        Some(Self::Answer(text))
    }
}

/// A question as it arrived.
#[derive(Clone, Default)]
struct Question {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Question {
    /// As it is written down, under the address of the case.
    fn shown(&self, endpoint: &str) -> Value {
        let header = |name: &str| {
            let found = self.headers.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| value.as_str())
        };
        let origin = Uri::parse(endpoint).and_then(|uri| {
            let authority = uri.authority?;
            let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
            Some(format!("{}://{}{port}", uri.scheme, authority.host).to_ascii_lowercase())
        });
        json!({
            "method": self.method,
            "url": format!("{}{}", origin.unwrap_or_default(), self.target),
            "content_type": header("content-type"),
            "authorization": header("authorization"),
            "body": self.body,
        })
    }
}

/// A port on loopback that is the authorization server's for as long as a case lasts.
struct Server {
    address: SocketAddr,
}

/// The server while it does one thing.
struct Open {
    serves: Option<JoinHandle<()>>,
    questions: Arc<Mutex<Vec<Question>>>,
    /// What keeps a deaf server busy.
    _crowd: Vec<TcpStream>,
}

impl Server {
    async fn reserve() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.ok()?;
        Some(Self {
            address: listener.local_addr().ok()?,
        })
    }

    /// The address of the case with this server in its place.
    fn in_place_of(&self, endpoint: &str) -> String {
        let uri = Uri::parse(endpoint);
        let path = uri.map_or("/", |uri| uri.path);
        let query = uri.and_then(|uri| uri.query).map(|query| format!("?{query}"));
        format!("http://{}{path}{}", self.address, query.unwrap_or_default())
    }

    async fn behave(&self, behaviour: Behaviour) -> Option<Open> {
        let questions = Arc::default();
        let mut crowd = Vec::new();
        let serves = match behaviour {
            Behaviour::Absent => None,
            Behaviour::Deaf => {
                let listener = self.listen(1)?;
                // Linux lets one more wait than was asked for; whoever comes later is not heard.
                for _ in 0..2 {
                    crowd.push(TcpStream::connect(self.address).await.ok()?);
                }
                Some(tokio::spawn(async move {
                    let _listener = listener;
                    std::future::pending::<()>().await;
                }))
            }
            answers => {
                let listener = self.listen(64)?;
                Some(tokio::spawn(serve(
                    listener,
                    answers.into(),
                    Arc::clone(&questions),
                )))
            }
        };
        Some(Open {
            serves,
            questions,
            _crowd: crowd,
        })
    }

    fn listen(&self, waiting: u32) -> Option<TcpListener> {
        let socket = TcpSocket::new_v4().ok()?;
        // The port was just used.
        socket.set_reuseaddr(true).ok()?;
        socket.bind(self.address).ok()?;
        socket.listen(waiting).ok()
    }
}

impl Open {
    /// Stops, and says what was asked.
    async fn close(self) -> Vec<Question> {
        if let Some(serves) = self.serves {
            serves.abort();
            // Once the task is gone, so are its listener and its connections.
            let _cancelled = serves.await;
        }
        lock(&self.questions).clone()
    }
}

fn lock(questions: &Mutex<Vec<Question>>) -> MutexGuard<'_, Vec<Question>> {
    questions.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, behaviour: Arc<Behaviour>, questions: Arc<Mutex<Vec<Question>>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        connections.spawn(converse(
            connection,
            Arc::clone(&behaviour),
            Arc::clone(&questions),
        ));
    }
}

async fn converse(
    mut connection: TcpStream,
    behaviour: Arc<Behaviour>,
    questions: Arc<Mutex<Vec<Question>>>,
) {
    while let Some(question) = read_question(&mut connection).await {
        lock(&questions).push(question);
        let said = match &*behaviour {
            Behaviour::Answer(text) => text.as_str(),
            Behaviour::Babbling => "SSH-2.0-OpenSSH_9.9\r\n\r\n",
            Behaviour::Silent | Behaviour::Absent | Behaviour::Deaf => std::future::pending().await,
        };
        if connection.write_all(said.as_bytes()).await.is_err() || !said.starts_with("HTTP") {
            return;
        }
    }
}

/// Reads one question; `None` when the connection ends.
async fn read_question(connection: &mut TcpStream) -> Option<Question> {
    let mut read = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        if let Some(question) = whole_question(&read) {
            return Some(question);
        }
        match connection.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
}

fn whole_question(read: &[u8]) -> Option<Question> {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(Some(0), |(_, length)| length.parse().ok())?;
    let body = read.get(end + 4..end + 4 + length)?;
    Some(Question {
        method: first.next()?.to_owned(),
        target: first.next()?.to_owned(),
        headers,
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

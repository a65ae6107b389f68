//! One request over one connection, dialled to exactly an address that was vetted.
//!
//! No connection pool, no client library above the protocol: those follow redirects, read proxies from the environment,
//! and skip the resolver for addresses in URLs. A document is fetched once in minutes; a connection of its own is cheap.

use std::{
    io,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    cache::Limits,
    error::{BadDocument, FetchError, Unavailable},
    media::Media,
    target::Target,
};

/// The most addresses of a name that are tried, one after the other.
const MAX_ADDRESSES_TRIED: usize = 3;
/// The most bytes of an answer's head, and of anything else that is buffered; servers send less than 2 KiB.
const MAX_HEAD_BYTES: usize = 16 * 1_024;
/// The most headers of an answer.
const MAX_HEADERS: usize = 64;

/// The most interim answers (RFC 9110 §15.2); servers send one or two, and whoever sends them without end has no other.
const MAX_INTERIM: usize = 16;

/// The most characters that an error quotes.
const MAX_QUOTED: usize = 200;

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("mcp-authflow-fetch/", env!("CARGO_PKG_VERSION")));

/// What came back, and passed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Opens a connection to one of the addresses. Each gets `limit` to answer, so that a silent one leaves time for the next.
pub(crate) async fn dial(addresses: &[IpAddr], port: u16, limit: Duration) -> Result<TcpStream, Unavailable> {
    let mut failure = Unavailable::NoAddress("none".to_owned());
    for address in addresses.iter().take(MAX_ADDRESSES_TRIED) {
        failure = match timeout(limit, TcpStream::connect((*address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Unavailable::NotConnected(error.to_string()),
            Err(_) => Unavailable::NotConnected(format!("{address} does not answer")),
        };
    }
    Err(failure)
}

/// Lets the other side show that it is the host.
pub(crate) async fn secure(
    stream: TcpStream,
    tls: Arc<ClientConfig>,
    target: &Target,
) -> Result<TlsStream<TcpStream>, FetchError> {
    let stream = TlsConnector::from(tls)
        .connect(target.server_name()?, stream)
        .await;
    stream.map_err(|error| tls_failure(&error))
}

/// A certificate that does not fit is the other side's fault; a connection that breaks may be anybody's.
fn tls_failure(error: &io::Error) -> FetchError {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        // The text can quote the certificate, which is as long as its maker likes.
        Some(error) => BadDocument::Tls(error.to_string().chars().take(MAX_QUOTED).collect()).into(),
        None => Unavailable::Broken(error.to_string()).into(),
    }
}

/// Asks for the document and reads it, over whatever the connection is.
pub(crate) async fn ask<S>(stream: S, target: &Target, limits: Limits) -> Result<Answer, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| http_failure(&error))?;
    let interim = Arc::new(Interim::default());
    let exchange = pin!(async {
        let mut request = request(target, limits.media);
        interim.count_those_of(&mut request);
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| http_failure(&error))?;
        interim.judge()?;
        let (headers, body) = judge(response, limits)?;
        let body = read(body, limits.max_bytes).await?;
        limits.media.check_body(&headers, &body)?;
        Ok(Answer { headers, body })
    });
    // The connection is driven here and nowhere else: whoever stops waiting for the answer closes it.
    let mut exchange = exchange;
    let connection = pin!(connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        () = interim.too_many.notified() => Err(Interim::refusal()),
        // It has ended, well or badly: what it read is with the exchange, which ends too.
        _ = connection => exchange.await,
    }
}

/// What is said before the answer: read over, up to a point.
#[derive(Default)]
struct Interim {
    answers: AtomicUsize,
    too_many: Notify,
}

impl Interim {
    fn count_those_of<B>(self: &Arc<Self>, request: &mut Request<B>) {
        let interim = Arc::clone(self);
        hyper::ext::on_informational(request, move |_| {
            if interim.answers.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM {
                interim.too_many.notify_one();
            }
        });
    }

    /// Whether the answer may be used; it may have come in one piece with everything before it.
    fn judge(&self) -> Result<(), FetchError> {
        if self.answers.load(Ordering::Relaxed) > MAX_INTERIM {
            return Err(Self::refusal());
        }
        Ok(())
    }

    fn refusal() -> FetchError {
        BadDocument::NotHttp(format!("more than {MAX_INTERIM} interim answers")).into()
    }
}

/// Nothing of ours goes out: no cookie, no credentials, no referrer.
fn request(target: &Target, media: Media) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = Uri::from(target.path_and_query.clone());
    let headers = request.headers_mut();
    headers.insert(header::HOST, target.authority.clone());
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT, media.accept());
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    request
}

/// Whether the head promises a document.
fn judge(response: Response<Incoming>, limits: Limits) -> Result<(HeaderMap, Incoming), FetchError> {
    let max_bytes = limits.max_bytes;
    let (head, body) = response.into_parts();
    let status = head.status;
    let number = status.as_u16();
    match status {
        StatusCode::OK => {}
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            return Err(Unavailable::Status(number).into());
        }
        _ if number >= 500 => return Err(Unavailable::Status(number).into()),
        _ if status.is_redirection() => return Err(BadDocument::Redirect(number).into()),
        _ => return Err(BadDocument::Status(number).into()),
    }
    limits.media.check_head(&head.headers)?;
    let is_identity = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !head
        .headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(is_identity)
    {
        return Err(BadDocument::ContentEncoding.into());
    }
    if usize::try_from(body.size_hint().lower()).is_ok_and(|bytes| bytes <= max_bytes) {
        Ok((head.headers, body))
    } else {
        Err(BadDocument::TooLarge(max_bytes).into())
    }
}

/// Reads the body and stops as soon as it is too large.
async fn read(mut body: Incoming, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| http_failure(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > max_bytes {
            return Err(BadDocument::TooLarge(max_bytes).into());
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

fn http_failure(error: &hyper::Error) -> FetchError {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    if error.is_parse() {
        BadDocument::NotHttp(error.to_string()).into()
    } else {
        Unavailable::Broken(cause).into()
    }
}

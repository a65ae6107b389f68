//! Registration, and what a registered client does with its own (RFC 7591, RFC 7592).

use std::net::IpAddr;

use axum::{
    body::{Body, Bytes},
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use http::{Request, StatusCode};
use mcp_authflow::ManageRegistration;
use mcp_authflow_types::ErrorResponse;

use super::Edge;
use crate::{
    cors, reply,
    request::{authorization, client_address, is_json, read_body},
    to_its_end::to_its_end,
};

/// RFC 7591 §3: 201 with everything that was stored.
pub(super) async fn register(State(edge): State<Edge>, request: Request<Body>) -> Response {
    let registered = async {
        let sent = JsonRequest::read(request).await?;
        to_its_end(async move {
            let registered = edge
                .server
                .register(&sent.body, sent.authorization.as_deref(), sent.address);
            Ok::<_, ErrorResponse>(registered.await?.body())
        })
        .await
    };
    cors::open(match registered.await {
        Ok(body) => reply::json(StatusCode::CREATED, body),
        Err(error) => reply::error(&error),
    })
}

/// RFC 7592 §2.1: 200 with everything that is stored.
pub(super) async fn read_registration(
    State(edge): State<Edge>,
    client_id: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let read = async {
        let authorization = authorization(&parts.headers)?;
        let request = ManageRegistration {
            client_id: &client_of(client_id),
            authorization: authorization.as_deref(),
            address: client_address(&parts),
        };
        edge.server.read_registration(request).await
    };
    cors::open(match read.await {
        Ok(registration) => reply::json(StatusCode::OK, registration.body()),
        Err(error) => reply::error(&error),
    })
}

/// RFC 7592 §2.2: 200 with everything that is stored now.
pub(super) async fn update_registration(
    State(edge): State<Edge>,
    client_id: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let client_id = client_of(client_id);
    let updated = async {
        let sent = JsonRequest::read(request).await?;
        to_its_end(async move {
            let request = ManageRegistration {
                client_id: &client_id,
                authorization: sent.authorization.as_deref(),
                address: sent.address,
            };
            let updated = edge.server.update_registration(request, &sent.body);
            Ok::<_, ErrorResponse>(updated.await?.body())
        })
        .await
    };
    cors::open(match updated.await {
        Ok(body) => reply::json(StatusCode::OK, body),
        Err(error) => reply::error(&error),
    })
}

/// RFC 7592 §2.3: 204.
pub(super) async fn remove_registration(
    State(edge): State<Edge>,
    client_id: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let (client_id, address) = (client_of(client_id), client_address(&parts));
    let removed = async {
        let authorization = authorization(&parts.headers)?;
        to_its_end(async move {
            let request = ManageRegistration {
                client_id: &client_id,
                authorization: authorization.as_deref(),
                address,
            };
            edge.server.remove_registration(request).await
        })
        .await
    };
    cors::open(match removed.await {
        Ok(()) => reply::no_content(),
        Err(error) => reply::error(&error),
    })
}

/// What a client sends of itself, and as whom.
struct JsonRequest {
    authorization: Option<String>,
    address: Option<IpAddr>,
    body: Bytes,
}

impl JsonRequest {
    async fn read(request: Request<Body>) -> Result<Self, ErrorResponse> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(ErrorResponse {
                status: Some(415),
                ..ErrorResponse::invalid_request("the content type is not application/json")
            });
        }
        Ok(Self {
            authorization: authorization(&parts.headers)?,
            address: client_address(&parts),
            body: read_body(body).await?,
        })
    }
}

/// The client of the address; what cannot be read is nobody's identifier.
fn client_of(client_id: Result<Path<String>, PathRejection>) -> String {
    client_id.map(|Path(id)| id).unwrap_or_default()
}

//! The HTTP edge of mcp-authflow: bytes to words and back, as one axum [`Router`](axum::Router).
//!
//! ```no_run
//! # use mcp_authflow::AuthorizationServer;
//! # use mcp_authflow_axum::{Interact, router};
//! # fn embed(app: axum::Router, server: AuthorizationServer, my_sign_in: impl Interact) -> axum::Router {
//! app.merge(router(server, my_sign_in))
//! # }
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`router`](mod@router) | all routes on one screen |
//! | [`interact`] | the hook for login and consent |
//! | `request` | HTTP to words: form bodies, the `Authorization` header, who is calling |
//! | [`AsResponse`] | answers of endpoints of your own |
//! | `reply` | words to HTTP: JSON, errors, redirects, with the headers that each must carry |
//! | [`registration()`] | the registration part as a handler |
//! | [`browser_cookie`] | the cookie that ties a request to the browser that began it |
//! | `to_its_end` | what changes things is not cut short by a caller who hangs up |
//! | `cors` | which endpoints scripts on other sites may call |

mod as_response;
pub mod browser_cookie;
mod cors;
pub mod interact;
mod registration;
mod reply;
mod request;
pub mod router;
mod to_its_end;

pub use as_response::AsResponse;
pub use browser_cookie::{BrowserCookie, BrowserSecret};
pub use interact::{DeviceOutcome, DeviceVisit, Interact, Outcome, Visit};
pub use registration::registration;
pub use reply::see_other;
pub use request::{ClientAddress, client_address, is_form, read_body};
pub use router::{is_same_origin, router};

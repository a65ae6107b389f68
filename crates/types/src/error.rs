//! What goes wrong, as seen from outside.
//!
//! [`ErrorCode`] is the server's one table of codes with their status, text and headers, and [`ErrorResponse`] what is
//! answered: each endpoint has a *reason* enum for us and the log; its `code()` maps every reason to an [`ErrorCode`], and
//! the code alone decides what leaves the server. Descriptions are fixed ASCII texts, so nothing a caller sent is ever
//! echoed, and all reasons behind one code look alike.
//!
//! [`ErrorReply`] is the part for endpoints of your own: any code and any words, checked.

mod code;
mod reply;
mod response;

pub use code::ErrorCode;
pub use reply::{ErrorReply, InvalidReply};
pub use response::ErrorResponse;

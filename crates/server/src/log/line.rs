//! How an event reads as a line of text: when, how grave, in which request, by whom, what.
//!
//! ```text
//! 2026-01-31T12:00:00.123456Z  INFO request{id=5f1e09ab-2c} audit: action="refresh" outcome="allowed" …
//! ```
//!
//! Values are written as `Debug` writes them, quoted and escaped, so that no text from outside can begin a line.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// Writes a line of text for each event.
pub(super) struct TextLine;

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let facts = event.metadata();
        SystemTime.format_time(&mut to)?;
        write!(to, " {:>5} ", facts.level().as_str())?;
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            to.write_str(span.name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                write!(to, "{{{}}}", fields.fields)?;
            }
            to.write_char(' ')?;
        }
        to.write_str(facts.target())?;
        to.write_str(": ")?;
        context.format_fields(to.by_ref(), event)?;
        to.write_char('\n')
    }
}

/// Writes fields as `name=value`, and the message as it is.
pub(super) fn fields() -> impl for<'a> FormatFields<'a> + Send + Sync + 'static {
    use tracing_subscriber::field::MakeExt as _;
    tracing_subscriber::fmt::format::debug_fn(|to, field, value| match field.name() {
        "message" => write!(to, "{value:?}"),
        name => write!(to, "{name}={value:?}"),
    })
    .delimited(" ")
}

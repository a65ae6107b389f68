//! README.md as a list of steps: `sh` blocks and the comments that belong to them.

use anyhow::{Context, Result, bail, ensure};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A person creates this account at the set-up link.
    SetUp { line: usize, name: String },
    /// A block of commands.
    Run(Block),
}

/// A fenced `sh` block with what its comments say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) background_until: Option<String>,
    pub(super) sign_in: Option<String>,
    pub(super) device: Option<String>,
    pub(super) expect: Option<String>,
    pub(super) skip: Option<String>,
}

impl Step {
    pub(super) fn line(&self) -> usize {
        match self {
            Self::SetUp { line, .. } | Self::Run(Block { line, .. }) => *line,
        }
    }

    pub(super) fn title(&self) -> &'static str {
        match self {
            Self::SetUp { .. } => "a person creates an account",
            Self::Run(Block { skip: Some(_), .. }) => "a block that is not run",
            Self::Run(Block {
                background_until: Some(_),
                ..
            }) => "a server",
            Self::Run(Block { sign_in: Some(_), .. }) => "a block, with a person who signs in",
            Self::Run(Block { device: Some(_), .. }) => "a device, with a person who types its code",
            Self::Run(_) => "a block",
        }
    }

    /// Why the block is not run, if it is not.
    pub(super) fn skipped_because(&self) -> Option<&str> {
        match self {
            Self::Run(block) => block.skip.as_deref(),
            Self::SetUp { .. } => None,
        }
    }

    /// The address that the block clones from.
    pub(super) fn cloned_url(&self) -> Option<&str> {
        let Self::Run(block) = self else { return None };
        block.text.lines().find_map(|line| {
            let words = line.trim().strip_prefix("git clone ")?;
            words.split_whitespace().find(|word| word.contains("://"))
        })
    }
}

/// Reads the text; an unknown comment or one without its block is an error.
pub(super) fn parse(text: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut next = Block::default();
    let mut fence: Option<Fence> = None;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(open) = &mut fence {
            if line.trim() == "```" {
                if open.is_shell {
                    next.text = std::mem::take(&mut open.text);
                    next.line = open.line;
                    steps.push(Step::Run(std::mem::take(&mut next)));
                }
                fence = None;
            } else {
                open.text
                    .push_str(line.strip_prefix(&open.indent).unwrap_or(line));
                open.text.push('\n');
            }
        } else if let Some(language) = line.trim_start().strip_prefix("```") {
            let indent = line[..line.len() - line.trim_start().len()].to_owned();
            fence = Some(Fence {
                line: number,
                is_shell: language.trim() == "sh",
                indent,
                text: String::new(),
            });
        } else if let Some(comment) = comment(line) {
            let comment = comment.with_context(|| format!("README.md:{number}"))?;
            if let Some(name) = comment.strip_prefix("set-up ") {
                steps.push(Step::SetUp {
                    line: number,
                    name: name.trim().to_owned(),
                });
            } else {
                next.obey(comment)
                    .with_context(|| format!("README.md:{number}"))?;
            }
        }
    }
    ensure!(fence.is_none(), "README.md ends inside a block");
    ensure!(
        next == Block::default(),
        "the last comment for a block in README.md has no block"
    );
    Ok(steps)
}

struct Fence {
    line: usize,
    is_shell: bool,
    indent: String,
    text: String,
}

/// What a line says to us: `<!-- readme: … -->`.
fn comment(line: &str) -> Option<Result<&str>> {
    let rest = line.trim().strip_prefix("<!-- readme:")?;
    Some(
        rest.strip_suffix("-->")
            .map(str::trim)
            .context("the comment does not end on its line"),
    )
}

impl Block {
    fn obey(&mut self, comment: &str) -> Result<()> {
        if let Some(text) = comment.strip_prefix("background until ") {
            self.background_until = Some(quoted(text)?);
        } else if let Some(name) = comment.strip_prefix("sign-in ") {
            self.sign_in = Some(name.trim().to_owned());
        } else if let Some(name) = comment.strip_prefix("device ") {
            self.device = Some(name.trim().to_owned());
        } else if let Some(text) = comment.strip_prefix("expect ") {
            self.expect = Some(quoted(text)?);
        } else if let Some(reason) = comment.strip_prefix("skip,") {
            self.skip = Some(reason.trim().to_owned());
        } else {
            bail!("`{comment}` is none of the comments that xtask/src/readme.rs lists");
        }
        Ok(())
    }
}

fn quoted(text: &str) -> Result<String> {
    let inner = text
        .trim()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner
        .map(str::to_owned)
        .with_context(|| format!("`{text}` must stand in double quotes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# Title

<!-- readme: background until "listening on" -->
```sh
cargo run -- serve
```
<!-- readme: set-up alice -->

```toml
not = "run"
```

1. Then:
   <!-- readme: sign-in alice -->
   <!-- readme: expect "Hello" -->
   ```sh
   one
     two
   ```
"#;

    #[test]
    fn blocks_comes_with_their_comments_and_without_their_indentation() {
        let steps = parse(TEXT).unwrap();
        let server = Block {
            line: 4,
            text: "cargo run -- serve\n".into(),
            background_until: Some("listening on".into()),
            ..Block::default()
        };
        let client = Block {
            line: 16,
            text: "one\n  two\n".into(),
            sign_in: Some("alice".into()),
            expect: Some("Hello".into()),
            ..Block::default()
        };
        let set_up = Step::SetUp {
            line: 7,
            name: "alice".into(),
        };
        assert_eq!(steps, [Step::Run(server), set_up, Step::Run(client)]);
    }

    #[test]
    fn a_comment_that_nobody_understands_is_an_error() {
        assert!(parse("<!-- readme: dance -->\n```sh\nx\n```\n").is_err());
        assert!(parse("<!-- readme: expect \"x\" -->\n").is_err());
        assert!(parse("```sh\nx\n").is_err());
        assert!(parse("<!-- another comment -->\n").unwrap().is_empty());
    }

    #[test]
    fn the_address_of_a_clone_is_found() {
        let steps = parse("```sh\ngit clone https://example.org/a/b\ncd b\n```\n").unwrap();
        assert_eq!(steps[0].cloned_url(), Some("https://example.org/a/b"));
    }
}

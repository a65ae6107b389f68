//! `cargo xtask readme`: runs the commands of README.md word for word, as a newcomer would.
//!
//! Every fenced `sh` block is run, from top to bottom, in one terminal (a bash that stops
//! at the first error), so that what a block exports is there in the next. The home
//! folder is a fresh one below `target/readme`. When the first block has a `git clone`,
//! the address it names is served from this repository's last commit, and the terminal
//! starts beside it in an empty folder; else it starts in the workspace.
//!
//! What a shell cannot do is said in a comment that the reader does not see, on a line of
//! its own. All but the last belong to the block that follows:
//!
//! | comment | meaning |
//! |---|---|
//! | `<!-- readme: background until "listening on" -->` | the block runs on in a terminal of its own; go on when it has printed this |
//! | `<!-- readme: sign-in alice -->` | the block prints an authorization URL; a browser opens it, signs in, allows, and follows the redirect back |
//! | `<!-- readme: device alice -->` | the block prints the address of a device's code; a browser opens it, signs in, compares the code, and allows |
//! | `<!-- readme: expect "Hello" -->` | the block's output contains this |
//! | `<!-- readme: skip, needs a desktop -->` | the block is not run, for this reason, which the result names |
//! | `<!-- readme: set-up alice -->` | a browser opens the set-up link that the server has printed and creates this account |
//!
//! A block that cannot be run like this is a block that a newcomer cannot run either.

mod person;
mod script;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::script::{Block, Step};
use self::terminal::Terminal;
use crate::command::capture;
use crate::tally::Tally;
use crate::{provide, workspace};

/// A first release build on a small machine is the longest that a block may take.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// The places that the README names.
const PORTS: [u16; 3] = [8000, 8001, 8003];

/// Runs the README; each block and each step of the person counts as one test.
pub(crate) fn run() -> Result<Tally> {
    let root = workspace::root();
    let text = std::fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    let steps = script::parse(&text)?;
    ensure!(!steps.is_empty(), "README.md has no `sh` block to run");
    for port in PORTS {
        ensure!(
            std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(),
            "port {port} is in use, and README.md needs it: end what listens there"
        );
    }
    let place = Place::prepare(&root, &steps)?;
    let mut reader = Reader {
        main: place.terminal()?,
        background: Vec::new(),
        place,
    };
    let mut tally = Tally::default();
    for (number, step) in steps.iter().enumerate() {
        let start = Instant::now();
        eprintln!("--- README.md:{} {}", step.line(), step.title());
        if let Some(reason) = step.skipped_because() {
            eprintln!("left out: {reason}");
            continue;
        }
        let result = reader.follow(number, step);
        tally += Tally::one(result.is_ok());
        if let Err(error) = result {
            eprintln!("FAILED: {error:#}");
            // What follows builds on this step, so it would only fail for the same reason.
            break;
        }
        eprintln!("ok after {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(tally)
}

/// Where the README is followed.
struct Place {
    folder: PathBuf,
    start: PathBuf,
    /// An empty folder outside the workspace, where nothing of ours is found by accident.
    _empty: tempfile::TempDir,
}

impl Place {
    fn prepare(root: &Path, steps: &[Step]) -> Result<Self> {
        let folder = workspace::target()?.join("readme");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(folder.join("home"))?;
        let empty = tempfile::Builder::new().prefix("authflow-readme-").tempdir()?;
        let start = match steps.iter().find_map(Step::cloned_url) {
            Some(url) => {
                let rule = format!("[url \"{}\"]\n\tinsteadOf = {url}\n", root.display());
                // The clone is made by us from ourselves, whoever owns the folder.
                let trust = "[safe]\n\tdirectory = *\n[protocol \"file\"]\n\tallow = always\n";
                std::fs::write(folder.join("home/.gitconfig"), rule + trust)?;
                let changes = capture(
                    Command::new("git")
                        .args(["status", "--porcelain"])
                        .current_dir(root),
                )?;
                if !changes.is_empty() {
                    eprintln!("note: the README is run on the last commit, without what is uncommitted");
                }
                empty.path().to_owned()
            }
            None => root.to_owned(),
        };
        Ok(Self {
            folder,
            start,
            _empty: empty,
        })
    }

    fn terminal(&self) -> Result<Terminal> {
        self.terminal_in(&self.start)
    }

    fn terminal_in(&self, start: &Path) -> Result<Terminal> {
        let home = self.folder.join("home");
        let node = provide::node::provide()?;
        Terminal::open(&self.folder, start, |command| {
            for (name, _) in std::env::vars_os() {
                if name
                    .to_str()
                    .is_some_and(|name| name.starts_with("AUTHFLOW_") || name.starts_with("XDG_"))
                {
                    command.env_remove(name);
                }
            }
            // The toolchain lives in the real home folder, and the dependencies are built there once.
            if let Some(real) = std::env::var_os("HOME").map(PathBuf::from) {
                for (name, inside) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
                    command.env(
                        name,
                        std::env::var_os(name).unwrap_or_else(|| real.join(inside).into()),
                    );
                }
            }
            if let Ok(target) = workspace::target() {
                command.env("CARGO_TARGET_DIR", target);
            }
            command
                .env_remove("DATABASE_URL")
                .env_remove("GIT_DIR")
                .env("HOME", &home)
                .env("XDG_DATA_HOME", home.join(".local/share"))
                .env("PATH", node.search_path());
        })
    }
}

/// Somebody who follows the README.
struct Reader {
    // Dropped in this order: a server is ended before its terminal's folder goes.
    background: Vec<Terminal>,
    main: Terminal,
    place: Place,
}

impl Reader {
    fn follow(&mut self, number: usize, step: &Step) -> Result<()> {
        match step {
            Step::SetUp { name, .. } => {
                let link = self.set_up_link()?;
                person::create_account(&link, name)
            }
            Step::Run(block) => self.run(number, block),
        }
    }

    fn run(&mut self, number: usize, block: &Block) -> Result<()> {
        eprintln!("{}", block.text.trim_end());
        if let Some(ready) = &block.background_until {
            let here = PathBuf::from(self.main.ask("pwd")?);
            let mut terminal = self.place.terminal_in(&here)?;
            terminal.begin(number, &block.text)?;
            let found = terminal.output().wait_for(ready, PATIENCE);
            let tail = terminal.output().tail(30);
            // The reader opens the other terminals in the same folder.
            let here = terminal.folder();
            self.background.push(terminal);
            ensure!(
                found.is_some(),
                "\"{ready}\" never appeared; the last lines:\n{tail}"
            );
            return match here {
                Some(here) => self.main.change_folder(&here),
                None => Ok(()),
            };
        }
        self.main.begin(number, &block.text)?;
        if let Some(name) = &block.sign_in {
            let line = self.main.output().wait_for("/authorize?", PATIENCE);
            let Some(line) = line else {
                bail!(
                    "no authorization URL appeared; the last lines:\n{}",
                    self.main.output().tail(30)
                );
            };
            person::sign_in(&line, name)?;
        }
        if let Some(name) = &block.device {
            let line = self.main.output().wait_for("?user_code=", PATIENCE);
            let Some(line) = line else {
                bail!(
                    "no code of a device appeared; the last lines:\n{}",
                    self.main.output().tail(30)
                );
            };
            person::allow_device(&line, name)?;
        }
        let output = self.main.finish(number, PATIENCE)?;
        if let Some(expected) = &block.expect {
            ensure!(
                output.contains(expected.as_str()),
                "\"{expected}\" is not in the output:\n{output}"
            );
        }
        Ok(())
    }

    fn set_up_link(&self) -> Result<String> {
        self.background
            .iter()
            .rev()
            .find_map(|terminal| person::url_in(&terminal.output().text(), "/ui/setup?"))
            .context("no server has printed a set-up link")
    }
}

//! `cargo xtask screens`: every page in a real browser, on a phone and a desktop, light and dark.
//!
//! Each picture is taken only of a page without faults: nothing sticks out, every text can be read, every
//! control has a name and is reached by keyboard in order, and the browser has no complaint. At the end a person disconnects
//! a client, at both sizes.

mod in_charge;
mod picture;
mod scenes;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use mcp_authflow_testkit::chromium::{Chromium, Scheme, View};

use self::scenes::{Scene, Stage};
use super::block_on;
use crate::provide;
use crate::tally::Tally;
use crate::workspace::{Profile, build_server, root, target};

/// The flags of `cargo xtask screens`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Checks the pages only; pictures go to the target folder instead of `docs/screens`
    #[arg(long)]
    check: bool,
    /// Only pages whose name contains this
    filter: Option<String>,
}

/// The layer of `cargo xtask test`: checks only.
pub(crate) fn run_check() -> Result<Tally> {
    run(&Arguments {
        check: true,
        filter: None,
    })
}

/// Visits every page, checks it, and writes its pictures.
pub(crate) fn run(arguments: &Arguments) -> Result<Tally> {
    let folder = if arguments.check {
        target()?.join("screens")
    } else {
        root().join("docs/screens")
    };
    std::fs::create_dir_all(&folder)?;
    let programs = provide::chromium::provide()?;
    let binary = build_server(Profile::Dev)?;
    block_on(async {
        let chromium = Chromium::start(&programs.chromium, &programs.chromedriver).await?;
        prove_the_check(&chromium).await?;
        let stage = Stage::build(binary)?;
        let mut tally = Tally::default();
        for scene in Scene::ALL {
            let name = scene.name();
            if arguments
                .filter
                .as_ref()
                .is_some_and(|filter| !name.contains(filter))
            {
                continue;
            }
            let start = Instant::now();
            let result = visit(&chromium, &stage, *scene, &folder).await;
            let seconds = start.elapsed().as_secs_f64();
            tally += Tally::one(result.is_ok());
            match result {
                Ok(()) => eprintln!("passed  {name}  {seconds:.1} s"),
                Err(error) => eprintln!("FAILED  {name}  {seconds:.1} s\n{error:#}"),
            }
        }
        for view in [View::PHONE, View::DESKTOP] {
            let name = format!("in-charge, {}", view.name);
            if arguments
                .filter
                .as_ref()
                .is_some_and(|filter| !name.contains(filter))
            {
                continue;
            }
            let result = in_charge::walk(&chromium, &stage, view).await;
            tally += Tally::one(result.is_ok());
            match result {
                Ok(()) => eprintln!("passed  {name}"),
                Err(error) => eprintln!("FAILED  {name}\n{error:#}"),
            }
        }
        if !arguments.check {
            std::fs::write(folder.join("README.md"), index())?;
        }
        eprintln!("\nthe pictures are in {}", folder.display());
        Ok(tally)
    })?
}

async fn visit(chromium: &Chromium, stage: &Stage, scene: Scene, folder: &Path) -> Result<()> {
    chromium.set_view(View::DESKTOP, Scheme::Light).await?;
    chromium.forget_cookies().await?;
    scene.go(chromium, stage).await?;
    // The port is another one in each run; pictures show the usual one.
    for port in stage.ports() {
        chromium
            .reword(&format!("127.0.0.1:{port}"), "127.0.0.1:8000")
            .await?;
    }
    chromium.reword(&stage.document_host(), "127.0.0.1:8443").await?;
    let mut faults = Vec::new();
    for view in [View::PHONE, View::DESKTOP] {
        for scheme in [Scheme::Light, Scheme::Dark] {
            chromium.set_view(view, scheme).await?;
            let file = file_name(folder, scene, view, scheme);
            let png = picture::shrink(&chromium.picture().await?).context("the picture")?;
            std::fs::write(&file, png).with_context(|| format!("cannot write {}", file.display()))?;
            let found = chromium.faults().await?;
            faults.extend(
                found
                    .into_iter()
                    .map(|fault| format!("{} {}: {fault}", view.name, scheme.as_str())),
            );
        }
    }
    if !faults.is_empty() {
        bail!("{}\n{}", chromium.describe().await?, faults.join("\n"));
    }
    Ok(())
}

fn file_name(folder: &Path, scene: Scene, view: View, scheme: Scheme) -> PathBuf {
    folder.join(format!("{}-{}-{}.png", scene.name(), view.name, scheme.as_str()))
}

/// The page that shows all pictures beside each other.
fn index() -> String {
    let mut lines = vec![
        "# Every page".to_owned(),
        String::new(),
        "Written by `cargo xtask screens`.".to_owned(),
    ];
    for scene in Scene::ALL {
        let name = scene.name();
        lines.extend([String::new(), format!("## {name}"), String::new()]);
        for (view, width) in [(View::PHONE, 195), (View::DESKTOP, 640)] {
            for scheme in [Scheme::Light, Scheme::Dark] {
                let (view, scheme) = (view.name, scheme.as_str());
                let file = format!("{name}-{view}-{scheme}.png");
                lines.push(format!(
                    "<img src=\"{file}\" width=\"{width}\" alt=\"{name}, {view}, {scheme}\">"
                ));
            }
        }
    }
    lines.join("\n") + "\n"
}

/// A page on which everything is wrong that the check looks for; if one is overlooked, no page can be trusted.
async fn prove_the_check(chromium: &Chromium) -> Result<()> {
    let page = "data:text/html,<html><meta http-equiv=Content-Security-Policy content=\"script-src 'none'\">\
        <script>1</script><body style='background:%23fff'><p style='color:%23aaa'>faint</p>\
        <div style='width:3000px'>wide</div><form><input name=q><button tabindex=2>b</button>\
        <button tabindex=1 style='outline:0'>a</button></form><img src='data:,'></body></html>";
    chromium.set_view(View::PHONE, Scheme::Light).await?;
    chromium.open(page).await?;
    let faults = chromium.faults().await?.join("\n");
    for expected in [
        "contrast 2.32",
        "px wide in a window of 390 px",
        "sticks out",
        "has no label",
        "no alt text",
        "positive tabindex",
        "instead of",
        "its language",
        "no title",
        "0 main headings",
        "no <main>",
        "the browser says: ",
    ] {
        ensure!(
            faults.contains(expected),
            "the check overlooks `{expected}`; it found:\n{faults}"
        );
    }
    Ok(())
}

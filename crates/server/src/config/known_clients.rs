//! `[known_clients]`: the table of known clients, and how far each is met.

use std::path::Path;

use super::{ConfigError, Reader};
use crate::known_clients::{Switch, Switches, Table};

/// The table and what is in force of it.
#[derive(Debug)]
pub(crate) struct KnownClientsConfig {
    /// Every entry.
    pub(crate) table: Table,
    /// Which leniencies are in force.
    pub(crate) switches: Switches,
}

impl KnownClientsConfig {
    /// What is let pass that gives something up, client by client.
    pub(super) fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
        for entry in self.table.entries() {
            for leniency in entry.leniencies() {
                if !leniency.is_on_by_default() && self.switches.are_on(&entry.name, leniency) {
                    dangers.push(format!(
                        "known_clients.on has \"{leniency}\" for {}: {}; leave it out when that client needs it no more",
                        entry.title,
                        leniency.gives_up()
                    ));
                }
            }
        }
        dangers
    }

    /// `known_clients.file` (none): entries in the place of the built-in ones, or beside them. `known_clients.on`,
    /// `known_clients.off` (none): leniencies, each for all or as `client/leniency`.
    pub(super) fn read(read: &mut Reader) -> Result<Self, ConfigError> {
        let mut table = Table::built_in()?;
        if let Some(file) = read.optional("known_clients.file")? {
            table = table.extended_by(Path::new(&file))?;
        }
        let mut list = |key| {
            read.with(key, "", |text| {
                let switches = Switch::parse_list(text)?;
                for Switch { client, leniency } in &switches {
                    let Some(name) = client else { continue };
                    let entry = table.entry(name).ok_or_else(|| {
                        format!("{name} is no known client; authflow known-clients list shows them")
                    })?;
                    if !entry.leniencies().any(|one| one == *leniency) {
                        return Err(format!(
                            "{name} is not known to need {leniency}, so this changes nothing; authflow known-clients show \
                             {name} says what it needs, and an entry of that name in known_clients.file can say more"
                        ));
                    }
                }
                Ok(switches)
            })
        };
        let switches = Switches {
            on: list("known_clients.on")?,
            off: list("known_clients.off")?,
        };
        Ok(Self { table, switches })
    }
}

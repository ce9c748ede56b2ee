//! `domicile selftest leaks`: plants canaries in a real center with real traffic, and looks for them on every by-path that data
//! could take out of it. `docs/leaks.md` says which by-paths there are.

mod center;
mod refusals;

use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;

use super::Format;
use crate::world::World;

/// Try the center's promises on a center made for it
#[derive(clap::Args)]
pub(crate) struct Selftest {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Plant canaries, send real traffic, and look for them on every way out
    Leaks {
        /// Where the center is made; it is deleted afterwards
        #[arg(long, default_value = ".")]
        under: PathBuf,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// One by-path that was tried.
struct Check {
    /// What was tried.
    by_path: &'static str,
    /// How it went: what was looked at, or what was found.
    result: Result<String, String>,
}

/// What belongs to the checklist and can't be tried by a single center.
const NOT_YET: [&str; 3] = [
    "copies of objects at other centers: there are none yet",
    "looks from abroad and exports: the gate is not there yet",
    "file metadata inside of camera clips: clips are not taken yet",
];

impl Selftest {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let Verb::Leaks { under, format } = self.verb;
        let mut checks = center::checks(&under, world)?;
        checks.extend(refusals::checks(&under, world)?);
        let failed = checks.iter().filter(|check| check.result.is_err()).count();
        match format {
            Format::Json => {
                let view = |check: &Check| {
                    json!({
                        "by_path": check.by_path,
                        "passed": check.result.is_ok(),
                        "detail": check.result.as_ref().map_or_else(Clone::clone, Clone::clone),
                    })
                };
                say!("{}", serde_json::to_string_pretty(&checks.iter().map(view).collect::<Vec<_>>())?);
            }
            Format::Table => {
                for Check { by_path, result } in &checks {
                    match result {
                        Ok(detail) => say!("pass  {by_path:<58}  {detail}"),
                        Err(detail) => say!("FAIL  {by_path:<58}  {detail}"),
                    }
                }
                NOT_YET.iter().for_each(|item| say!("      not yet: {item}"));
                say!("{} passed, {failed} failed", checks.len() - failed);
            }
        }
        if failed > 0 {
            bail!("{failed} by-paths are open");
        }
        Ok(())
    }
}

/// Texts that must not be where they are looked for.
struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    /// Which of them stand in these bytes, as they are or as hex digits.
    fn found_in(&self, bytes: &[u8]) -> Vec<&'static str> {
        // The journal's segments are zeros, once they are sealed, and a canary has none.
        let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        let holds = |needle: &[u8]| {
            !needle.is_empty()
                && bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
        };
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let is_there = |text: &str| holds(text.as_bytes()) || holds(hex(text).as_bytes());
        self.0.iter().filter(|(_, text)| is_there(text)).map(|(what, _)| *what).collect()
    }

    /// A check that none of them stands in any of these contents, each with its name.
    fn check(&self, by_path: &'static str, contents: &[(String, Vec<u8>)]) -> Check {
        let bytes: usize = contents.iter().map(|(_, content)| content.len()).sum();
        let found: Vec<String> = contents
            .iter()
            .map(|(name, content)| (name, self.found_in(content)))
            .filter(|(_, found)| !found.is_empty())
            .map(|(name, found)| format!("{} in {name}", found.join(", ")))
            .collect();
        let result = match (found.is_empty(), bytes) {
            (false, _) => Err(found.join("; ")),
            // Nothing looked at is nothing shown.
            (true, 0) => Err("there was nothing to look at".to_owned()),
            (true, _) => Ok(format!("{} with {bytes} bytes looked at", contents.len())),
        };
        Check { by_path, result }
    }
}

#[cfg(test)]
mod tests {
    use super::Canaries;

    #[test]
    fn a_planted_canary_is_found_and_nothing_to_look_at_is_no_pass() {
        let canaries = Canaries(vec![("a VIN", "LDMS1M0000T000000".to_owned())]);
        assert_eq!(canaries.found_in(b"vehicle ldms1m0000t000000 came"), ["a VIN"]);
        assert_eq!(canaries.found_in(b"4c444d53314d3030303054303030303030"), ["a VIN"]);
        assert!(canaries.found_in(b"LDMS1M0000T00000").is_empty());
        assert!(canaries.check("logs", &[("log".to_owned(), Vec::new())]).result.is_err());
        assert!(canaries.check("logs", &[("log".to_owned(), b"c1 came".to_vec())]).result.is_ok());
        assert!(canaries.check("logs", &[("log".to_owned(), b"LDMS1M0000T000000".to_vec())]).result.is_err());
    }
}

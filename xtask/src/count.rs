//! Adds up the closing lines of `cargo test`.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

/// Prints `N passed, N failed, N skipped` of a log of `cargo test`; an error where a test failed or none ran.
pub(crate) fn run(log: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    let Totals { passed, failed, ignored } = totals(&text);
    println!("{passed} passed, {failed} failed, {ignored} skipped");
    if failed > 0 {
        bail!("{failed} tests failed");
    }
    if passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Default)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

fn totals(text: &str) -> Totals {
    let mut totals = Totals::default();
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        for part in line.split([';', '.']) {
            let mut words = part.trim().split(' ');
            let (Some(number), Some(word)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "passed" => totals.passed += number,
                "failed" => totals.failed += number,
                "ignored" => totals.ignored += number,
                _ => {}
            }
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::{Totals, totals};

    #[test]
    fn adds_up_several_binaries() {
        let log = "running 2 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        assert_eq!(totals(log), Totals { passed: 5, failed: 4, ignored: 1 });
    }
}

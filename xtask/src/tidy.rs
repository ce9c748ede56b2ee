//! The rules that no compiler knows, each with the file and line that breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// Lines of code that a file may have; longer ones hide a second idea.
const FILE_LINES_MAX: usize = 600;
/// Lines that a file of tests may have.
const TEST_FILE_LINES_MAX: usize = 1_000;
/// Columns that a line may have; rustfmt holds code to fewer, this is for comments.
const COLUMNS_MAX: usize = 180;
/// The largest file that may be tracked, in bytes: binaries and data sets belong elsewhere.
const FILE_BYTES_MAX: u64 = 512 * 1024;

/// Words that must not stand in a tracked source file, and why. Each is written in two parts so that this file passes.
const BANNED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it or leave it out"),
    (concat!("FIX", "ME"), "finish it or leave it out"),
    (concat!("XX", "X"), "finish it or leave it out"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("crates", ".io/api"), "the name of a registry's host"),
];

/// Runs every rule and lists every breach.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut breaches = Vec::new();
    let files = tracked_files(root)?;
    rooms(root, &mut breaches)?;
    crates_are_documented(root, &mut breaches)?;
    for file in &files {
        text_rules(root, file, &mut breaches)?;
    }
    verify_lists_every_demonstration(root, &mut breaches)?;
    crate::exit::run(root, &files, &mut breaches)?;
    for breach in &breaches {
        eprintln!("tidy: {breach}");
    }
    ensure!(breaches.is_empty(), "{} breaches", breaches.len());
    println!("tidy: {} files, {} rooms, all as they should be", files.len(), room_table(root)?.len());
    Ok(())
}

/// Files that git tracks or would track.
fn tracked_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("running git ls-files")?;
    ensure!(output.status.success(), "git ls-files failed: is this a checkout?");
    let listing = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(listing.lines().map(PathBuf::from).filter(|file| root.join(file).is_file()).collect())
}

/// ARCHITECTURE.md's table of rooms: room -> rooms that it may import.
fn room_table(root: &Path) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("reading ARCHITECTURE.md")?;
    let mut rooms = BTreeMap::new();
    let lines = text.lines().skip_while(|line| !line.starts_with("| room "));
    for line in lines.skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[name, _owns, imports, ..] = cells.as_slice() else {
            bail!("ARCHITECTURE.md: a row of the table of rooms has too few cells: {line}");
        };
        let imports = imports
            .split([',', ' '])
            .map(|word| word.trim_matches('`'))
            .filter(|word| !word.is_empty() && *word != "–")
            .map(str::to_owned)
            .collect();
        rooms.insert(name.trim_matches('`').to_owned(), imports);
    }
    ensure!(!rooms.is_empty(), "ARCHITECTURE.md has no table of rooms");
    Ok(rooms)
}

/// Holds the table of rooms against what `cargo metadata` says.
fn rooms(root: &Path, breaches: &mut Vec<String>) -> anyhow::Result<()> {
    let table = room_table(root)?;
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("running cargo metadata")?;
    let members: BTreeSet<String> =
        metadata.packages.iter().map(|package| package.name.to_string()).collect();
    for room in table.keys().filter(|room| !members.contains(*room)) {
        breaches.push(format!("ARCHITECTURE.md: the room `{room}` is no crate"));
    }
    for package in &metadata.packages {
        let name = package.name.to_string();
        let Some(allowed) = table.get(&name) else {
            breaches.push(format!("ARCHITECTURE.md: the crate `{name}` is missing in the table of rooms"));
            continue;
        };
        let normal = package.dependencies.iter().filter(|dependency| {
            dependency.kind == cargo_metadata::DependencyKind::Normal && members.contains(&dependency.name)
        });
        for dependency in normal.filter(|dependency| !allowed.contains(&dependency.name)) {
            breaches.push(format!(
                "{name}/Cargo.toml: the room `{name}` imports `{}`, which ARCHITECTURE.md doesn't allow",
                dependency.name
            ));
        }
        let engine = package.dependencies.iter().any(|dependency| dependency.name == "datafusion");
        if engine && name != "lake" {
            breaches.push(format!("{name}/Cargo.toml: only the room `lake` knows DataFusion"));
        }
    }
    Ok(())
}

/// Every crate opens with what it owns.
fn crates_are_documented(root: &Path, breaches: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(root.join("crates")).context("reading crates/")? {
        let folder = entry.context("reading crates/")?.path();
        let opening =
            ["src/lib.rs", "src/main.rs"].iter().find_map(|file| fs::read_to_string(folder.join(file)).ok());
        match opening {
            Some(text) if text.starts_with("//!") => {}
            Some(_) => {
                breaches.push(format!("{}: the crate doesn't open with a `//!` text", folder.display()))
            }
            None => breaches.push(format!("{}: neither src/lib.rs nor src/main.rs", folder.display())),
        }
    }
    Ok(())
}

fn text_rules(root: &Path, file: &Path, breaches: &mut Vec<String>) -> anyhow::Result<()> {
    let path = root.join(file);
    let bytes = fs::metadata(&path).with_context(|| format!("reading {}", file.display()))?.len();
    if bytes > FILE_BYTES_MAX && file != Path::new("Cargo.lock") {
        breaches.push(format!("{}: {bytes} bytes, the most is {FILE_BYTES_MAX}", file.display()));
    }
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let source = matches!(extension, "rs" | "py" | "ts" | "sh" | "toml" | "md" | "yml" | "yaml");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    if !source || file == Path::new("Cargo.lock") {
        return Ok(());
    }
    for (number, line) in text.lines().enumerate() {
        for (word, reason) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
            breaches.push(format!("{}:{}: `{word}`: {reason}", file.display(), number + 1));
        }
        if extension == "rs" && line.chars().count() > COLUMNS_MAX {
            breaches.push(format!("{}:{}: over {COLUMNS_MAX} columns", file.display(), number + 1));
        }
    }
    if extension == "rs" {
        file_length(file, &text, breaches);
    }
    Ok(())
}

/// Counts lines up to the tests at the end of a file, or all lines of a file of tests.
fn file_length(file: &Path, text: &str, breaches: &mut Vec<String>) {
    let name = file.to_string_lossy();
    let of_tests = name.contains("/tests/") || name.ends_with("tests.rs") || name.ends_with("_tests.rs");
    let lines = if of_tests {
        text.lines().count()
    } else {
        text.lines().take_while(|line| *line != "#[cfg(test)]").count()
    };
    let most = if of_tests { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    if lines > most {
        breaches.push(format!("{name}: {lines} lines, the most is {most}: take an idea out of it"));
    }
}

/// docs/verify.md names every demonstration, and no other.
fn verify_lists_every_demonstration(root: &Path, breaches: &mut Vec<String>) -> anyhow::Result<()> {
    let text = fs::read_to_string(root.join("docs/verify.md")).context("reading docs/verify.md")?;
    for demonstration in crate::show::DEMONSTRATIONS {
        if !text.contains(&format!("`cargo xtask show {}`", demonstration.name)) {
            breaches.push(format!("docs/verify.md doesn't list `cargo xtask show {}`", demonstration.name));
        }
    }
    Ok(())
}

//! `completions/` and `man/` are made from the command line's own definition.
//! This fails when they are stale; `UPDATE=1 cargo test --test generated`
//! writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use routor::cli::Args;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What should be there: path to content.
fn wanted() -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "routor", &mut text);
        let name = clap_complete::generate_to(shell, &mut Args::command(), "routor", tempfile::tempdir().unwrap().path()).unwrap();
        files.insert(Path::new("completions").join(name.file_name().unwrap()), text);
    }
    let mut command = Args::command();
    command.build();
    page(&command, "routor", &mut files);
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        page(sub, &format!("routor-{}", sub.get_name()), &mut files);
    }
    files
}

fn page(command: &clap::Command, name: &str, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone().name(title)).date("").render(&mut text).unwrap();
    files.insert(Path::new("man").join(format!("{name}.1")), text);
}

fn there(folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return Vec::new() };
    entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name())).collect()
}

#[test]
fn completions_and_man_pages_are_up_to_date() {
    let wanted = wanted();
    if std::env::var_os("UPDATE").is_some() {
        for (path, content) in &wanted {
            fs::create_dir_all(root().join(path).parent().unwrap()).unwrap();
            fs::write(root().join(path), content).unwrap();
        }
    }
    let refresh = "run: UPDATE=1 cargo test --test generated";
    for (path, content) in &wanted {
        let found = fs::read(root().join(path)).unwrap_or_else(|problem| panic!("{}: {problem}; {refresh}", path.display()));
        assert!(found == *content, "{} is stale; {refresh}", path.display());
    }
    for path in there("completions").into_iter().chain(there("man")) {
        assert!(wanted.contains_key(&path), "{} belongs to nothing; remove it", path.display());
    }
}

#[test]
fn every_flag_has_a_sentence_and_the_definition_is_sound() {
    let command = Args::command();
    command.clone().debug_assert();
    for sub in command.get_subcommands() {
        assert!(sub.get_about().is_some(), "{} has no sentence", sub.get_name());
        for arg in sub.get_arguments() {
            assert!(arg.get_help().is_some(), "{} of {} has no sentence", arg.get_id(), sub.get_name());
        }
    }
}

//! The house keeps its shape: a module uses only modules that stand above it
//! in `lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules in the order of `lib.rs`.
fn order() -> Vec<String> {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The module that a file belongs to.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(source()).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn no_module_reaches_up() {
    let order = order();
    assert!(order.len() > 10, "lib.rs lists {order:?}");
    let mut files = Vec::new();
    files_below(&source(), &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let module = module_of(&path);
        let Some(floor) = order.iter().position(|name| *name == module) else { continue };
        let text = fs::read_to_string(&path).unwrap();
        // Tests of a rule may build what they need from anywhere.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        if path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        for used in code.split("crate::").skip(1) {
            let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let target = order.iter().position(|other| *other == name);
            if target.is_some_and(|target| target > floor) {
                wrong.push(format!("{} uses {name}, which stands below {module} in lib.rs", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_is_listed() {
    let order = order();
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !matches!(name.as_str(), "lib" | "main") {
            assert!(order.contains(&name), "src/{name} is not in lib.rs");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut files = Vec::new();
    files_below(&source(), &mut files);
    for path in files.iter().filter(|path| path.file_name().is_some_and(|name| name != "tests.rs")) {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.starts_with("//!"), "{} does not open with its purpose", path.display());
    }
}

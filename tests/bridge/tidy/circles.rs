//! No circles among the files of a folder: whoever reads one of them can begin with what it imports,
//! and come to an end. `mod.rs` counts as a file: it declares and re-exports, and what its files need
//! lies in one of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, files};

/// Of each file of a folder, by its name, those beside it that it names.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The paths that a tree of `use` stands for.
fn expand(tree: &str, prefix: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((before, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return paths.push(format!("{prefix}{path}"));
    };
    let group = group.strip_suffix('}').unwrap_or(group);
    let mut depth = 0;
    let items = group.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for item in items.filter(|item| !item.trim().is_empty()) {
        expand(item, &format!("{prefix}{before}"), paths);
    }
}

/// Every path in the code: those that are imported, and those that are spelt out.
fn paths(code: &str) -> Vec<String> {
    let (mut paths, mut body) = (Vec::new(), String::new());
    for statement in code.split(';') {
        let at = statement.rfind("use ").filter(|at| {
            let (before, tree) = statement.split_at(*at);
            before.is_empty() || before.ends_with(char::is_whitespace) && !tree.contains(['(', '"'])
        });
        let (before, tree) = statement.split_at(at.unwrap_or(statement.len()));
        body += before;
        if let Some(tree) = tree.strip_prefix("use ") {
            expand(tree, "", &mut paths);
        }
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = body.split(|c| !is_part(c));
    paths.extend(words.filter(|word| word.contains("::")).map(str::to_owned));
    paths
}

/// The file beside `name` that a path leads to; `module` is the path of their folder.
fn beside(path: &str, name: &str, module: &[&str], names: &BTreeSet<&str>) -> Option<String> {
    let is_facade = name == "mod";
    let parts: Vec<&str> = path.split("::").map(str::trim).collect();
    let rest = match parts[0] {
        "super" if !is_facade => &parts[1..],
        "self" if is_facade => &parts[1..],
        "crate" => parts[1..].strip_prefix(module)?,
        first if is_facade && names.contains(first) => &parts[..],
        _ => return None,
    };
    let first = *rest.first()?;
    let is_of_facade = !is_facade && first != "super" && names.contains("mod");
    let file = names
        .get(first)
        .copied()
        .or(is_of_facade.then_some("mod"))?;
    (file != name).then(|| file.to_owned())
}

/// What the files of each folder name beside them.
fn folders(files: &[File]) -> BTreeMap<&str, Imports> {
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        let (folder, name) = file.place();
        names.entry(folder).or_default().insert(name);
    }
    let mut found: BTreeMap<&str, Imports> = BTreeMap::new();
    for file in files {
        let (folder, name) = file.place();
        let module: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        let code: Vec<&str> = file.code().collect();
        let paths = paths(&code.join("\n"));
        let others = paths
            .iter()
            .filter_map(|path| beside(path, name, &module, &names[folder]));
        let imports = found.entry(folder).or_default();
        imports.insert(name.to_owned(), others.collect());
    }
    found
}

/// The files that lead back to themselves.
fn in_circles(imports: &Imports) -> Vec<&str> {
    let leads_back = |start: &&String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![*start]);
        while let Some(file) = next.pop() {
            for other in imports.get(file).into_iter().flatten() {
                if other == *start {
                    return true;
                }
                if seen.insert(other) {
                    next.push(other);
                }
            }
        }
        false
    };
    let found = imports.keys().filter(leads_back);
    found.map(String::as_str).collect()
}

#[test]
fn no_files_of_a_folder_import_each_other_in_a_circle() {
    let mut files = files("src");
    files.retain(|file| !["tests", "lib", "main"].contains(&file.place().1));
    let mut wrong = Vec::new();
    for (folder, imports) in folders(&files) {
        let circle = in_circles(&imports);
        for name in &circle {
            let others = imports[*name].iter().map(String::as_str);
            let others: Vec<&str> = others.filter(|other| circle.contains(other)).collect();
            wrong.push(format!("{folder}/{name} -> {}", others.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_circle_is_found_through_use_paths_and_the_facade() {
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let mut files = vec![
        file("a/mod.rs", "mod b;\nmod c;\npub use b::{B, Other as C};"),
        file(
            "a/b.rs",
            "use std::{fs, io};\nuse crate::{a::{c::C}, d::D};",
        ),
        file("a/c.rs", "fn f() -> super::Thing { g() }"),
        file("a/d.rs", "use super::b::B;\nuse super::super::other::X;"),
        file("e/f.rs", "use crate::a::b::B;"),
    ];
    let found = folders(&files);
    assert_eq!(in_circles(&found["a"]), ["b", "c", "mod"]);
    assert_eq!(in_circles(&found["e"]), [""; 0]);
    files[2] = file("a/c.rs", "// Not super::Thing.\nuse crate::d::Thing;");
    assert_eq!(in_circles(&folders(&files)["a"]), [""; 0]);
}

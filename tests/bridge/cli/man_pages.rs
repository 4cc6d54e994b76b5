//! The manual pages, as `man` formats them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::run;

/// The page as a terminal shows it, and what was wrong with it.
fn formatted(page: &Path) -> (String, String) {
    let mut groff = Command::new("groff");
    groff.args(["-K", "utf8", "-man", "-ww", "-T", "utf8", "-P", "-cbou"]);
    let output = groff.arg(page).output().expect("groff is there");
    let text = String::from_utf8(output.stdout).unwrap();
    (text, String::from_utf8(output.stderr).unwrap())
}

/// The pages that a command and all below it must have.
fn names(command: &clap::Command, name: &str, found: &mut BTreeSet<String>) {
    found.insert(format!("{name}.1"));
    for part in command.get_subcommands() {
        names(part, &format!("{name}-{}", part.get_name()), found);
    }
}

#[test]
fn every_command_has_a_page_that_formats_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man");
    let said = run(&["man-pages", pages.to_str().unwrap()]).with_code(0);
    assert_eq!((said.out, said.err), (String::new(), String::new()));
    let mut wanted = BTreeSet::new();
    names(&hookferry::cli::command(), "hookferry", &mut wanted);
    let found: BTreeSet<String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, wanted);
    for name in found {
        let (text, warnings) = formatted(&pages.join(&name));
        assert_eq!(warnings, "", "{name}");
        let command = name.trim_end_matches(".1");
        assert!(text.contains(&format!("NAME\n       {command} ")), "{text}");
    }
    let (text, _) = formatted(&pages.join("hookferry-send.1"));
    // An example keeps its lines, and the quotes that a shell wants.
    let example = "       hookferry send --provider github --url http://127.0.0.1:8080/webhooks/code --secret-file secret \\\n         \
        --body issue.json --header 'X-GitHub-Event: issues'";
    assert!(text.contains(example), "{text}");
    assert!(text.contains(concat!("hookferry ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn what_groff_warns_of_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("broken.1");
    std::fs::write(&page, ".TH broken 1\n.SH NAME\n.NOSUCH\n").unwrap();
    assert!(formatted(&page).1.contains("NOSUCH"));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let said = run(&["man-pages", file.to_str().unwrap()]).with_code(1);
    assert!(said.err.contains(file.to_str().unwrap()), "{}", said.err);
    assert!(said.err.contains("cannot be written"), "{}", said.err);
    run(&["man-pages"]).with_code(2);
}

//! The completions, as bash itself goes by them.

use std::process::Command;

use super::run;

/// What bash offers for the last of these words, and says of it.
fn offered(words: &[&str]) -> (Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("hookferry");
    let completions = run(&["completions", "bash"]).with_code(0);
    std::fs::write(&script, completions.out).unwrap();
    // What the shell does at a tab, as far as a completion function sees it.
    let tab = ". \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); \
        _hookferry hookferry \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; \
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", tab, "bash"]);
    let output = bash.arg(&script).args(words).output().expect("bash");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(str::to_owned).collect();
    (lines, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn bash_completes_commands_and_options() {
    let completed = |words: &[&str]| {
        let (lines, said) = offered(words);
        assert_eq!(said, "", "{words:?}");
        lines
    };
    assert_eq!(completed(&["hookferry", "ser"]), ["serve"]);
    assert_eq!(completed(&["hookferry", "spool", "dr"]), ["drop"]);
    assert_eq!(
        completed(&["hookferry", "send", "--secret-f"]),
        ["--secret-file"]
    );
    assert_eq!(completed(&["hookferry", "nothing-like-it"]), [""]);
    let all = completed(&["hookferry", ""]);
    let commands = hookferry::cli::command();
    for command in commands.get_subcommands() {
        assert!(all.iter().any(|word| word == command.get_name()), "{all:?}");
    }
}

#[test]
fn every_shell_that_is_named_has_completions_and_no_other() {
    for (shell, part) in [
        ("bash", "complete -F _hookferry"),
        ("elvish", "edit:completion:arg-completer[hookferry]"),
        ("fish", "complete -c hookferry"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef hookferry"),
    ] {
        let said = run(&["completions", shell]).with_code(0);
        assert!(said.out.contains(part) && said.err.is_empty(), "{shell}");
    }
    let said = run(&["completions", "tcsh"]).with_code(2);
    assert!(
        said.out.is_empty() && said.err.contains("zsh"),
        "{}",
        said.err
    );
    run(&["completions"]).with_code(2);
}

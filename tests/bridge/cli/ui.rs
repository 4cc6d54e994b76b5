//! `ui`: the address of the page, checked and opened where there is a browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Said, Served, Setup, hookferry, run};
use crate::eventually::eventually_blocking;
use crate::harness::free_port;

const TOKEN: &str = "a-token-of-the-tests";
const NO_BROWSER: &str = "no browser was found here";

/// A folder whose `xdg-open` writes what it was given to the file `opened`.
fn browser(setup: &Setup) -> PathBuf {
    let folder = setup.path("programs");
    std::fs::create_dir(&folder).unwrap();
    let opened = setup.path("opened").display().to_string();
    let script = setup.path("script");
    // Whole or not there: a test reads it as soon as it is.
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > '{opened}.part'\nmv '{opened}.part' '{opened}'\n"
    );
    std::fs::write(&script, text).unwrap();
    // By another process, so that none of this one's has it open for writing while it is run.
    let mut install = Command::new("install");
    install.args(["-m", "0755"]).arg(script);
    let installed = install.arg(folder.join("xdg-open")).status();
    assert!(installed.unwrap().success());
    folder
}

/// The command with the programs of this folder before all others, and with these variables of a
/// screen alone.
fn ui(arguments: &[&str], programs: &Path, screen: &[(&str, &str)]) -> Said {
    let mut command = hookferry(&[&["ui"], arguments].concat());
    let others = std::env::var("PATH").unwrap();
    command
        .env("PATH", format!("{}:{others}", programs.display()))
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .envs(screen.iter().copied());
    Said::of(command.output().unwrap())
}

fn page(served: &Served) -> String {
    format!("{}/", served.admin)
}

#[test]
fn ui_prints_the_address_and_opens_it_where_there_is_a_screen() {
    let setup = Setup::with_store();
    let served = setup.serve();
    let programs = browser(&setup);
    let opened = setup.path("opened");
    let page = page(&served);
    for screen in [("DISPLAY", ":99"), ("WAYLAND_DISPLAY", "wayland-9")] {
        let said = ui(&["--admin", &served.admin], &programs, &[screen]).with_code(0);
        assert_eq!((said.out, said.err), (format!("{page}\n"), String::new()));
        let given = eventually_blocking("the browser is opened", || {
            std::fs::read_to_string(&opened).ok()
        });
        assert_eq!(given, format!("{page}\n"));
        std::fs::remove_file(&opened).unwrap();
    }
    let only_printed = ["--no-open", "--admin", &page];
    let said = ui(&only_printed, &programs, &[("DISPLAY", ":99")]).with_code(0);
    assert_eq!((said.out, said.err), (format!("{page}\n"), String::new()));
    for screen in [&[][..], &[("DISPLAY", "")]] {
        let said = ui(&["--admin", &page], &programs, screen).with_code(0);
        assert_eq!(said.out, format!("{page}\n"));
        assert!(said.err.contains(NO_BROWSER), "{}", said.err);
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    }
    assert!(!opened.exists());
}

#[test]
fn ui_only_prints_where_nothing_can_open_it() {
    let setup = Setup::with_store();
    let served = setup.serve();
    let empty = setup.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut command = hookferry(&["ui", "--admin", &served.admin]);
    command.env("PATH", &empty).env("DISPLAY", ":99");
    let said = Said::of(command.output().unwrap()).with_code(0);
    assert_eq!(said.out, format!("{}\n", page(&served)));
    assert!(said.err.contains(NO_BROWSER), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
}

/// Whoever looks need not be one who may read the secrets, and the token is nowhere to be seen.
#[test]
fn ui_finds_the_page_by_the_configuration_and_needs_no_secret_of_it() {
    let setup = Setup::with_store();
    let programs = browser(&setup);
    let token = setup.path("token");
    std::fs::write(&token, TOKEN).unwrap();
    let port = free_port();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let named = text.replace(
        "admin.listen = \"127.0.0.1:0\"",
        &format!("admin.listen = \"0.0.0.0:{port}\"\nadmin.token = {{ file = {token:?} }}"),
    );
    assert_ne!(named, text);
    std::fs::write(setup.config(), &named).unwrap();
    let _served = setup.serve();
    std::fs::remove_file(&token).unwrap();
    let spoilt = named.replace(
        "[sink.store]",
        "no_such_key = \"${NOT_SET_HERE}\"\n[sink.store]",
    );
    std::fs::write(setup.config(), spoilt).unwrap();
    let screen = [("DISPLAY", ":99")];
    let said = ui(&["--config", &setup.config()], &programs, &screen).with_code(0);
    let page = format!("http://127.0.0.1:{port}/\n");
    assert_eq!(said.out, page);
    assert!(said.err.contains("asks for the token"), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    let given = eventually_blocking("the browser is opened", || {
        std::fs::read_to_string(setup.path("opened")).ok()
    });
    assert_eq!(given, page);
    assert!(!said.err.contains(TOKEN) && !said.out.contains(TOKEN));
}

#[test]
fn ui_says_what_is_there_instead_of_a_page() {
    let setup = Setup::with_store();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let metrics = free_port();
    let with_metrics = format!("metrics.listen = \"127.0.0.1:{metrics}\"\n{text}");
    std::fs::write(setup.config(), with_metrics).unwrap();
    let served = setup.serve();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let ingress = served.webhook.trim_end_matches("/webhooks/onecodex");
    let metrics = format!("http://127.0.0.1:{metrics}");
    for (arguments, code, expected) in [
        (["--admin", &nobody], 1, "no bridge answers at "),
        (["--admin", ingress], 1, "which is not a bridge's answer"),
        (["--admin", &metrics], 1, "the listener of [metrics]"),
        (["--admin", "127.0.0.1:8081"], 2, "scheme, host and port"),
        (
            ["--admin", "file:///etc/passwd"],
            2,
            "scheme, host and port",
        ),
        (["--config", "/no/such/file.toml"], 2, "cannot be read"),
        (["--config", &setup.config()], 2, "port 0"),
    ] {
        let said = run(&["ui", arguments[0], arguments[1]]).with_code(code);
        assert!(said.err.contains(expected), "{arguments:?}: {}", said.err);
        assert_eq!(said.out, "", "{arguments:?}");
    }
    run(&["ui"]).with_code(2);
}

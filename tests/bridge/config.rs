//! A configuration that is wrong: every problem at once, each with its key path, exit code 2. And one
//! that asks for what it must not get.

use crate::harness::delivery::now;
use crate::harness::{Bridge, Post, Program, Setup, amqp_url, event};

/// Runs the bridge on this text: what it said, having ended with 2.
async fn refused(setup: &Setup, text: &str) -> String {
    let config = setup.path("hookferry.toml");
    std::fs::write(&config, text).unwrap();
    let (code, said) = crate::harness::setup::ends(&config).await;
    assert_eq!(code, Some(2), "{said}");
    said
}

fn assert_named(said: &str, keys: &[&str]) {
    for key in keys {
        let named = said
            .lines()
            .any(|line| line.starts_with(&format!("{key}: ")) && line.contains("; "));
        assert!(named, "{key} is not named with a remedy in:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_said_at_once() {
    let setup = Setup::store();
    let folder = setup.path("");
    let folder = folder.display();
    std::fs::write(setup.path("empty"), "\n").unwrap();
    let text = format!(
        r#"
acknowlege = "spooled"
shutdown_timeout = 10

[ingress]
listen = "127.0.0.1:18080"
max_body = "${{HOOKFERRY_NO_SUCH_VARIABLE}}"

[admin]
listen = "127.0.0.1:18080"

[spool]
path = "{folder}/no/such/folder/spool"
max_events = 0

[log]
format = "yaml"

[source.one]
provider = "onecodex"
secrets = [{{ file = "{folder}/no-such-file" }}]

[source.two]
provider = "nobody"
secrets = [{{ file = "{folder}/empty" }}]
event_types = ["a/b"]

[source.Three]
provider = "onecodex"
secrets = []

[sink.store]
type = "store"
path = "{folder}/topics"
topic = "{{nothing}}"

[sink.mail]
type = "mail"

[[route]]
source = "one"
sinks = ["stoer"]

[[route]]
source = "nobody"
sinks = ["store", "mail"]
"#
    );
    let said = refused(&setup, &text).await;
    assert_named(
        &said,
        &[
            "acknowlege",
            "shutdown_timeout",
            "ingress.max_body",
            "admin.listen",
            "spool.path",
            "spool.max_events",
            "log.format",
            "source.one.secrets[0]",
            "source.two.provider",
            "source.two.secrets[0]",
            "source.two.event_types[0]",
            "source.Three",
            "source.Three.secrets",
            "sink.store.topic",
            "sink.mail.type",
            "route[0].sinks",
            "route[1].source",
            "source.two",
        ],
    );
    assert!(said.contains("HOOKFERRY_NO_SUCH_VARIABLE"), "{said}");
    assert!(said.contains("did you mean `acknowledge`?"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_is_named() {
    let setup = Setup::store();
    let (code, said) = crate::harness::setup::ends(&setup.path("no-such.toml")).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("no-such.toml") && said.contains("--config"),
        "{said}"
    );
}

/// As where a container engine has made a folder for a file that it was to mount.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_a_folder_or_no_text_is_named_with_a_remedy() {
    let setup = Setup::store();
    let (folder, binary) = (setup.path("folder.toml"), setup.path("binary.toml"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(&binary, [0xff, 0xfe, 0]).unwrap();
    for (path, parts) in [
        (&folder, ["it is a folder", "name the file in it"]),
        (&binary, ["UTF-8", "save it as UTF-8 text"]),
    ] {
        let (code, said) = crate::harness::setup::ends(path).await;
        assert_eq!(code, Some(2), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_is_named_from_its_first_part_on() {
    let mut setup = Setup::store();
    setup.spool_folder = setup.path("no/such/folder/spool");
    let said = refused(&setup, &setup.text()).await;
    assert_named(&said, &["spool.path"]);
    let first = setup.path("no").display().to_string();
    for part in [
        &format!("{first} does not exist"),
        "make the folder",
        "user ",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_toml_is_shown_with_its_line() {
    let setup = Setup::store();
    let said = refused(&setup, "[ingress\nlisten = 1\n").await;
    assert!(said.contains("line 1"), "{said}");
}

/// A 200 out of memory alone would be a broken promise.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_in_memory_needs_delivered() {
    let setup = Setup::store().in_memory();
    let table = "[spool]\npath = \"memory\"\n";
    let text = setup.text();
    assert!(text.contains(table), "{text}");
    let short = format!("spool = \"memory\"\n{}", text.replace(table, ""));
    for text in [&text, &short] {
        assert_named(&refused(&setup, text).await, &["spool"]);
    }
}

/// A spool was one file once. Its name may still stand in a configuration.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_names_an_old_spool_file_says_what_to_do() {
    let mut setup = Setup::store();
    setup.spool_folder = setup.path("spool.db");
    let old = [b"SQLite format 3\0".as_slice(), &[7; 4096]].concat();
    std::fs::write(&setup.spool_folder, &old).unwrap();
    let said = refused(&setup, &setup.text()).await;
    assert_named(&said, &["spool.path"]);
    for part in ["spool.db is a file", "name a folder", "earlier version"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(std::fs::read(&setup.spool_folder).unwrap(), old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_too_small_for_its_files_is_refused_with_the_least_size() {
    let setup = Setup::store().spool("max_size = \"8191KiB\"");
    let said = refused(&setup, &setup.text()).await;
    assert_named(&said, &["spool.max_size"]);
    assert!(said.contains("8MiB"), "{said}");
}

/// Each of these would switch a guard off, refuse everything, or make a dead letter of everything.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_disarm_are_refused_with_the_least_that_does_not() {
    let spans =
        |keys: &[&str]| -> String { keys.iter().map(|key| format!("{key} = \"0s\"\n")).collect() };
    let top = [
        "acknowledge_timeout",
        "duplicate_window",
        "shutdown_timeout",
        "reload_interval",
    ];
    let ingress = ["head_timeout", "body_timeout", "keep_alive"];
    let rabbit = ["publish_timeout", "retry_delay_max"];
    let mut setup = Setup::store()
        .top(&spans(&top))
        .ingress(&(spans(&ingress) + "max_body = \"0B\"\n"))
        .spool("max_size = \"0B\"\n")
        .source_keys("tolerance = \"0s\"\nuri = \"\"\nevent_types = [\"other\", \"quarantine\"]\n");
    setup.sinks[0].1 += &(spans(&["retention"]) + "max_size = \"0B\"\n");
    let keys = "type = \"rabbitmq\"\nurl = \"amqp://mq\"\nmax_message_size = \"0B\"\n";
    setup
        .sinks
        .push(("mq".to_owned(), keys.to_owned() + &spans(&rabbit)));
    let said = refused(&setup, &setup.text()).await;
    let of = |section: &str, keys: &[&str]| -> Vec<String> {
        keys.iter().map(|key| format!("{section}{key}")).collect()
    };
    let least = [
        of("", &top),
        of("ingress.", &ingress),
        of("sink.mq.", &rabbit),
        of("ingress.", &["max_body"]),
        of("spool.", &["max_size"]),
        of("sink.store.", &["retention", "max_size"]),
        of("sink.mq.", &["max_message_size"]),
        of(&format!("source.{}.", setup.source), &["tolerance"]),
    ]
    .concat();
    for key in &least {
        let line = said
            .lines()
            .find(|line| line.starts_with(&format!("{key}: ")));
        let line = line.unwrap_or_else(|| panic!("{key} is not named in:\n{said}"));
        assert!(line.contains("the least is \""), "{line}");
    }
    let source = format!("source.{}", setup.source);
    let others = ["uri", "event_types[0]", "event_types[1]"].map(|key| format!("{source}.{key}"));
    assert_named(&said, &others.each_ref().map(String::as_str));
}

/// Half of it would be a host, a port or a virtual host, and printed; the login would be `guest`'s.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_ends_the_url_is_refused_and_not_printed() {
    for password in ["4711/AbC", "4711#AbC", "4711?AbC"] {
        let setup = Setup::rabbitmq(&format!("amqp://somebody:{password}@mq:5672/events"));
        let said = refused(&setup, &setup.text()).await;
        assert_named(&said, &["sink.rabbitmq.url"]);
        assert!(
            said.contains("%2F") && said.contains("`password`"),
            "{said}"
        );
        for part in ["4711", "AbC", "somebody"] {
            assert!(!said.contains(part), "{part} is in {said}");
        }
    }
}

/// What would be refused or hold its sink up for ever is refused at the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_bound_that_the_largest_body_does_not_fit_into_is_refused_with_the_least_one() {
    let sink = |mut setup: Setup, line: &str| {
        setup.sinks[0].1.push_str(line);
        setup
    };
    let spool = Setup::store().spool("max_size = \"22015KiB\"");
    let store = sink(Setup::store(), "max_size = \"22015KiB\"\n");
    for (setup, section, key, least) in [
        (spool, "spool", "max_size", "22016KiB"),
        (store, "sink", "max_size", "22016KiB"),
    ] {
        let setup = setup.ingress("max_body = \"8MiB\"");
        let key = match section {
            "sink" => format!("sink.{}.{key}", setup.sinks[0].0),
            section => format!("{section}.{key}"),
        };
        let said = refused(&setup, &setup.text()).await;
        assert_named(&said, &[&key]);
        for part in ["ingress.max_body", least] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unset_secret_variable_is_named() {
    let setup = Setup::store();
    let text = setup.text();
    let secret = format!("{{ file = \"{}\" }}", setup.path("secret").display());
    let changed = text.replace(&secret, "{ env = \"HOOKFERRY_NO_SUCH_SECRET\" }");
    assert_ne!(text, changed);
    let said = refused(&setup, &changed).await;
    assert_named(&said, &[&format!("source.{}.secrets[0]", setup.source)]);
    assert!(said.contains("HOOKFERRY_NO_SUCH_SECRET"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_written_into_the_file_is_refused_and_not_repeated() {
    let setup = Setup::store();
    let secret = format!("{{ file = \"{}\" }}", setup.path("secret").display());
    let said = refused(
        &setup,
        &setup.text().replace(&secret, "\"whsec_in_the_clear\""),
    )
    .await;
    assert!(
        said.contains(&format!("source.{}.secrets", setup.source)),
        "{said}"
    );
    assert!(!said.contains("whsec_in_the_clear"), "{said}");
}

/// What an editor, a shell or a template has done to a secret would cost every delivery its proof.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_secret_is_refused_by_name_and_not_repeated() {
    let setup = Setup::store();
    let key = format!("source.{}.secrets[0]", setup.source);
    for (bytes, part) in [
        (&b"\xef\xbb\xbfwhsec_hush\r\n"[..], "byte-order mark"),
        (b"\xff\xfew\0h\0s\0e\0c\0", "UTF-16"),
        (b"whsec_hush\0", "NUL"),
        (b"whsec_hush\nwhsec_hush_too\n", "several lines"),
        (b"${WHSEC_HUSH}\n", "placeholder"),
        (b"\xf0\x9d\x84", "encoding"),
    ] {
        std::fs::write(setup.path("secret"), bytes).unwrap();
        let said = refused(&setup, &setup.text()).await;
        assert_named(&said, &[&key]);
        assert!(said.contains(part), "{part} is not in {said}");
        assert!(!said.to_lowercase().contains("whsec_hush"), "{said}");
    }
}

/// A password is a secret like another.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_password_is_refused_by_name() {
    let setup = Setup::rabbitmq("amqp://somebody@127.0.0.1:1/%2f");
    let file = setup.path("password");
    std::fs::write(&file, "\u{feff}hush\r\n").unwrap();
    let with_password = format!("type = \"rabbitmq\"\npassword = {{ file = {file:?} }}");
    let text = setup.text();
    let changed = text.replace("type = \"rabbitmq\"", &with_password);
    assert_ne!(text, changed);
    let said = refused(&setup, &changed).await;
    assert_named(&said, &["sink.rabbitmq.password"]);
    assert!(said.contains("byte-order mark"), "{said}");
}

/// A key that no text editor would keep.
const KEY: &str = "\n\u{0}\u{1}key of any bytes \u{7f}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_key_is_given_as_base64_or_hex() {
    let setup = Setup::store();
    let hex = hex::encode(KEY);
    let (first, rest) = hex.split_at(20);
    for (encoding, text) in [
        ("base64", "CgABa2V5IG9mIGFueSBieXRlcyB/Cg==\n".to_owned()),
        ("base64", "CgABa2V5IG9mIGFueSBieXRlcyB_Cg".to_owned()),
        ("hex", format!("{first}\n{rest}\n")),
    ] {
        let file = format!("{{ file = \"{}\" }}", setup.path("secret").display());
        let by_file = file.replace(" }", &format!(", encoding = \"{encoding}\" }}"));
        let by_variable = format!("{{ env = \"KEY\", encoding = \"{encoding}\" }}");
        std::fs::write(setup.path("secret"), &text).unwrap();
        for reference in [by_file, by_variable] {
            let changed = setup.text().replace(&file, &reference);
            assert_ne!(changed, setup.text());
            let config = setup.path("encoded.toml");
            std::fs::write(&config, changed).unwrap();
            let mut command = Program::Released.command();
            command.env("KEY", &text);
            let bridge = Bridge::start_by(command, &config).await;
            let body = event("sample.uploaded", "a");
            let post = Post::signed_with(&setup.source, body, KEY, now());
            assert_eq!(bridge.post(&post).await.status, 200, "{reference} {text}");
            bridge.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_another_encoding_is_refused_and_not_repeated() {
    let setup = Setup::store();
    let file = format!("{{ file = \"{}\" }}", setup.path("secret").display());
    for (encoding, text, part) in [
        ("base64", "\"whsec_hush\"", "no base64"),
        ("base64", "\u{feff}d2hzZWNfaHVzaA==", "byte-order mark"),
        ("hex", "hush", "no hex"),
        ("hex", "whsec_hush", "take `encoding` out"),
        ("base32", "whsec_hush", "`base64` or `hex`"),
    ] {
        std::fs::write(setup.path("secret"), text).unwrap();
        let with = file.replace(" }", &format!(", encoding = \"{encoding}\" }}"));
        let said = refused(&setup, &setup.text().replace(&file, &with)).await;
        assert!(
            said.contains(&format!("source.{}.secrets[0]", setup.source)),
            "{said}"
        );
        assert!(said.contains(part), "{part} is not in {said}");
        assert!(!said.contains("hush") && !said.contains("aHVz"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spool_and_the_store_have_a_folder_each() {
    let setup = Setup::store();
    for shared in ["/spool\"", "/spool/letters\"", "\""] {
        let said = refused(&setup, &setup.text().replace("/topics\"", shared)).await;
        assert_named(&said, &["sink.store.path"]);
    }
}

/// Every file in `deploy/config`, as it is, but for the addresses and secrets of its machine.
#[test]
fn the_example_files_are_understood() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/config");
    let mut found = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lookup = |_: &str| None;
        // What depends on the machine is its folders and secrets; all else must be right.
        if let Err(problems) = hookferry::config::parse(&text, &lookup) {
            for problem in problems.iter() {
                let of_the_machine = problem.found.contains("cannot read")
                    || problem.found.contains("is not set")
                    || problem.found.contains("cannot be written");
                assert!(of_the_machine, "{}: {problem}", path.display());
            }
        }
        found += 1;
    }
    assert!(found >= 3, "{found} files in {folder}");
}

/// The line that cannot be read may hold a password.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_toml_is_told_by_its_place_and_not_by_its_line() {
    let setup = Setup::store();
    let text = "# ä\n[sink.mq]\nurl = \"amqp://bob:of-bob@mq\" type = \"rabbitmq\"\n";
    let said = refused(&setup, text).await;
    assert!(said.contains("the file: line 3, column 30: "), "{said}");
    assert!(!said.contains("of-bob"), "{said}");
}

/// lapin logs what RabbitMQ returns, body and all, to whoever asks for that.
#[tokio::test(flavor = "multi_thread")]
async fn no_filter_brings_a_body_into_the_log() {
    let setup = Setup::rabbitmq(&amqp_url());
    let text = std::fs::read_to_string(setup.write()).unwrap();
    let filter = "[log]\nfilter = \"info,lapin::returned_messages=trace,hookferry=debug\"";
    let path = setup.path("filtered.toml");
    std::fs::write(&path, text.replace("[log]", filter)).unwrap();
    let bridge = Bridge::start(&path).await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    // Nothing is bound to the exchange.
    let returned = [("sink", "rabbitmq"), ("result", "unroutable")];
    bridge
        .counts("publish_attempts_total", &returned, 1.0)
        .await;
    let log = bridge.log();
    assert!(log.contains("the bridge is ready"), "{log}");
    for never in ["Server returned us a message", "triggered_at", "lapin"] {
        assert!(!log.contains(never), "{log}");
    }
}
